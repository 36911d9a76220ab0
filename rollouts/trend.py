"""Trend: what each arm did over time, for the charts that people look at. No decision rests on it.

Law: the content depends on the sum of the changes, not on their order; a change may take out what an earlier one
brought. Panes are aligned to the epoch and a power of two of windows long; 240 are kept at most, then neighbours
are merged. Latencies stand in buckets 4.4 % wide, eight of those of the gates in one, so that a whole trend is 2 MB
at most however long its rollout takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from paritygate.comparators.latency import LOWEST, NEVER, SCALE
from paritygate.comparators.tally import INDEX, Counts, Tally

#: Most panes; more are merged in pairs.
MAX_PANES: Final = 240
#: Buckets of the gates in one of ours. The first and the last of theirs, "under 1 µs" and "never", stay alone.
GROUP: Final = 8
ARMS: Final = ("baseline", "candidate")
_NAMES: Final = (
    "requests", "live_baseline", "live_candidate", "baseline_errors", "candidate_errors",
    "timeouts_counted", "baseline_timeouts", "candidate_timeouts",
)  # fmt: skip
_PLACES: Final = [INDEX[name] for name in _NAMES]
_AT: Final = {name: i for i, name in enumerate(_NAMES)}
_STARTS: Final = np.array([0, *range(1, NEVER, GROUP), NEVER])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """One pane, which begins at ``at_ms`` (event time).

    Rates by the second: ``compared_per_s`` requests that both arms answered or failed, ``…_live_per_s`` answers
    that users got. ``…_ms``: quantiles, inf where they lie with the failed. ``…_ratio``: 0..1. None where the pane
    holds none to tell it from.
    """

    at_ms: int
    compared_per_s: float
    baseline_live_per_s: float
    candidate_live_per_s: float
    baseline_p50_ms: float | None = None
    candidate_p50_ms: float | None = None
    baseline_p95_ms: float | None = None
    candidate_p95_ms: float | None = None
    baseline_error_ratio: float | None = None
    candidate_error_ratio: float | None = None
    baseline_timeout_ratio: float | None = None
    candidate_timeout_ratio: float | None = None


@dataclass(slots=True)
class _Pane:
    counts: Counts
    latencies: Counts

    def __iadd__(self, other: _Pane) -> _Pane:
        self.counts += other.counts
        self.latencies += other.latencies
        return self


class Trend:
    """Panes of one rollout; ``window_ms``: width of its windows."""

    def __init__(self, window_ms: int) -> None:
        self.pane_ms = window_ms
        self._panes: dict[int, _Pane] = {}

    def add(self, start_ms: int, change: Tally) -> None:
        """A window that begins at ``start_ms`` changed by so much."""
        latencies = [change.histograms.get(f"latency.{arm}") for arm in ARMS]
        brought = _Pane(
            change.overall()[_PLACES].astype(np.int64),
            np.stack([_coarse(counts) for counts in latencies]),
        )
        self._into(start_ms // self.pane_ms, brought)
        while max(self._panes) - min(self._panes) >= MAX_PANES:
            self.pane_ms *= 2
            before, self._panes = self._panes, {}
            for pane, held in before.items():
                self._into(pane // 2, held)

    def points(self, until_ms: int | None = None, newest: int = MAX_PANES) -> tuple[TrendPoint, ...]:
        """The ``newest`` panes that end at ``until_ms`` or before (None: all), oldest first, without a gap."""
        if not self._panes:
            return ()
        last = max(self._panes)
        if until_ms is not None:
            last = min(last, until_ms // self.pane_ms - 1)
        first = max(min(self._panes), last - newest + 1)
        return tuple(self._point(pane) for pane in range(first, last + 1))

    def _into(self, pane: int, brought: _Pane) -> None:
        held = self._panes.get(pane)
        if held is None:
            self._panes[pane] = brought
        else:
            held += brought

    def _point(self, pane: int) -> TrendPoint:
        held, seconds = self._panes.get(pane), self.pane_ms / 1000
        if held is None:
            return TrendPoint(
                at_ms=pane * self.pane_ms, compared_per_s=0.0, baseline_live_per_s=0.0, candidate_live_per_s=0.0
            )

        def count(name: str) -> int:
            return int(held.counts[_AT[name]])

        def share(bad: str, total: str) -> float | None:
            return count(bad) / count(total) if count(total) > 0 else None

        baseline, candidate = held.latencies
        return TrendPoint(
            at_ms=pane * self.pane_ms,
            compared_per_s=count("requests") / seconds,
            baseline_live_per_s=count("live_baseline") / seconds,
            candidate_live_per_s=count("live_candidate") / seconds,
            baseline_p50_ms=_quantile_ms(baseline, 0.5),
            candidate_p50_ms=_quantile_ms(candidate, 0.5),
            baseline_p95_ms=_quantile_ms(baseline, 0.95),
            candidate_p95_ms=_quantile_ms(candidate, 0.95),
            baseline_error_ratio=share("baseline_errors", "requests"),
            candidate_error_ratio=share("candidate_errors", "requests"),
            baseline_timeout_ratio=share("baseline_timeouts", "timeouts_counted"),
            candidate_timeout_ratio=share("candidate_timeouts", "timeouts_counted"),
        )


def _coarse(counts: Counts | None) -> Counts:
    if counts is None:
        return np.zeros(len(_STARTS), np.int64)
    found: Counts = np.add.reduceat(counts, _STARTS)
    return found


def _quantile_ms(coarse: Counts, p: float) -> float | None:
    """As :func:`paritygate.comparators.latency.quantile_ms`, the middle of one of our buckets."""
    total = int(coarse.sum())
    if total <= 0:
        return None
    place = int(np.searchsorted(np.cumsum(coarse), math.ceil(p * total - 1e-9), side="left"))
    if place >= len(_STARTS) - 1:
        return math.inf
    middle = 0.5 if place == 0 else GROUP / 2
    return float(2.0 ** ((_STARTS[place] + LOWEST - 1 + middle) / SCALE))
