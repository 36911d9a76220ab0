"""Minutes: what the windows of one rollout add up to per minute of event time.

Law: the content depends on the set of newest reports, not on their order. Minutes are aligned to the epoch and a
whole number of windows long; 1440 are kept at most, then neighbours are merged and each is twice as long. Latency
histograms are kept per minute only while one of its windows may still be replaced; then they join those of the
other calm minutes, or are dropped where an instance was slow or failing. Counts by instance are kept only where
the join counts them: some 6 kB a minute, and a few hundred for the newest minutes' latencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from paritygate.comparators import instances
from paritygate.comparators.evidence.two_channel import failing, slow
from paritygate.comparators.instances import InstanceMinutes
from paritygate.comparators.tally import COUNT_NAMES, Counts, Tally, zero_counts

#: Most minutes; more are merged in pairs, so each is two, four, … minutes long.
MAX_MINUTES: Final = 1440
MINUTE_MS: Final = 60_000
_TIMES: Final = ("latency", "exceed")

Histograms = dict[str, Counts]


class Minutes:
    """Counts of every minute, of the rollout's first 60 s, and of its calm minutes' latencies."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        #: A minute is a whole number of windows.
        self._shortest_ms = self._minute_ms = -(-MINUTE_MS // window_ms) * window_ms
        self._counts: dict[int, Counts] = {}
        self._instances: dict[int, Counts] = {}
        self._opening: dict[int, tuple[Counts, Counts | None]] = {}
        #: By the minutes that are never merged: counts by instance and latencies, while replaceable.
        self._recent: dict[int, tuple[Counts, Histograms]] = {}
        self._calm: Histograms = {}
        self._by_instance = False

    def add(self, start: int, change: Tally, counts: Counts, first_start_ms: int) -> None:
        """One window changed by so much. ``first_start_ms``: the earliest window that came so far."""
        by_instance = instances.matrix(change)
        minute = start // self._minute_ms
        self._counts[minute] = self._counts.get(minute, zero_counts()) + counts
        if by_instance is not None:
            self._by_instance = True
            self._instances[minute] = self._instances.get(minute, instances.no_counts()) + by_instance
            self._add_recent(start // self._shortest_ms, by_instance, change)
        while len(self._counts) > MAX_MINUTES:
            self._minute_ms *= 2
            self._counts = _halved(self._counts)
            self._instances = _halved(self._instances)
        # The opening follows the earliest window.
        end = first_start_ms + MINUTE_MS
        if start < end:
            had, had_instances = self._opening.get(start, (zero_counts(), None))
            both = [part for part in (had_instances, by_instance) if part is not None]
            self._opening[start] = had + counts, np.sum(both, axis=0) if both else None
        for late in [s for s in self._opening if s >= end]:
            del self._opening[late]

    def fold(self, edge_ms: int) -> None:
        """Windows that start before ``edge_ms`` can no longer be replaced."""
        for minute in sorted(self._recent):
            if (minute + 1) * self._shortest_ms - self._window_ms >= edge_ms:
                return
            by_instance, times = self._recent.pop(minute)
            if _is_calm(by_instance):
                _add(self._calm, times)

    def closed(self, passed_ms: int) -> Counts:
        """Counts of the minutes that end at ``passed_ms`` or before, oldest first."""
        found = [self._counts[m] for m in self._closed(passed_ms)]
        return np.array(found, np.int64).reshape(-1, len(COUNT_NAMES))

    def opening(self) -> Counts:
        """Counts of the rollout's first 60 s."""
        return np.sum([c for c, _ in self._opening.values()], axis=0) if self._opening else zero_counts()

    def by_instance(
        self, passed_ms: int, stage_from_ms: int | None, common_ms: int | None
    ) -> InstanceMinutes | None:
        """Counts by instance of the same minutes; None where the join does not count them.

        ``stage_from_ms``, ``common_ms``: the stage holds the windows between them.
        """
        if not self._by_instance:
            return None
        minutes = self._closed(passed_ms)
        found = [self._instances.get(m, instances.no_counts()) for m in minutes]
        begin = -np.inf if stage_from_ms is None else stage_from_ms
        end = -np.inf if common_ms is None else common_ms
        in_stage = [begin <= m * self._minute_ms and (m + 1) * self._minute_ms <= end for m in minutes]
        opening = [part for _, part in self._opening.values() if part is not None]
        return InstanceMinutes(
            minutes=np.array(found, np.int64).reshape(-1, *instances.no_counts().shape),
            opening=np.sum(opening, axis=0) if opening else instances.no_counts(),
            in_stage=np.array(in_stage, np.bool_),
            minute_ms=self._minute_ms,
            calm=self._calm_latencies(passed_ms),
        )

    def _closed(self, passed_ms: int) -> list[int]:
        passed = passed_ms // self._minute_ms
        return [m for m in sorted(self._counts) if m < passed]

    def _calm_latencies(self, passed_ms: int) -> Mapping[str, Counts]:
        calm = {name: counts.copy() for name, counts in self._calm.items()}
        passed = passed_ms // self._shortest_ms
        for minute, (by_instance, times) in self._recent.items():
            if minute < passed and _is_calm(by_instance):
                _add(calm, times)
        return calm

    def _add_recent(self, minute: int, by_instance: Counts, change: Tally) -> None:
        had, times = self._recent.get(minute, (instances.no_counts(), {}))
        _add(times, {n: c for n, c in change.histograms.items() if n.partition(".")[0] in _TIMES})
        self._recent[minute] = had + by_instance, times


def _is_calm(by_instance: Counts) -> bool:
    """Whether no instance of either arm was slow or failing in a minute."""
    part = {what: by_instance[:, i] for what, i in instances.PLACE.items()}
    struck = slow(part["latency_buckets"], part["answered"]) | failing(part["errors"], part["requests"])
    return not struck.any()


def _add(total: Histograms, more: Mapping[str, Counts]) -> None:
    for name, counts in more.items():
        have = total.get(name)
        total[name] = counts.copy() if have is None else have + counts


def _halved(minutes: dict[int, Counts]) -> dict[int, Counts]:
    """Every two neighbours as one."""
    found: dict[int, Counts] = {}
    for minute, counts in minutes.items():
        have = found.get(minute // 2)
        found[minute // 2] = counts if have is None else have + counts
    return found
