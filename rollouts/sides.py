"""Sides: the baseline and the candidate beside each other, on the same requests, as a review shows them.

Law: every number is a count, or follows from counts of one tally; what was not measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from paritygate.comparators import scores
from paritygate.comparators.evidence import interval
from paritygate.comparators.latency import quantile_ms
from paritygate.comparators.tally import INDEX, Tally
from paritygate.gates.measures import QUANTILES
from paritygate.gates.reasons import many

_SCORES: Final = "scores."
_EVENTS: Final = {"ooms": "GPU out-of-memory events", "restarts": "restarts", "dropped": "events dropped unsent"}
#: What is compared, its count of bad ones, of how many, and the pairs in which one arm alone was bad.
_RATES: Final = (
    ("error rate", "errors", "requests", "only_errors"),
    ("timeout rate", "timeouts", "timeouts_counted", "only_timeouts"),
    ("invalid outputs", "invalid", "checked", "only_invalid"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRow:
    """One measure of both arms.

    ``unit``: ``count``, ``ratio``, ``ms``, ``hours`` or ``score``. ``difference``: candidate minus baseline in the
    same unit with ``low`` and ``high``, its 95 % time-uniform bounds, where pairs give them. ``note``: of how many.
    """

    name: str
    unit: str
    baseline: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def sides(tally: Tally) -> tuple[SideRow, ...]:
    """Both arms over all that ``tally`` holds."""
    counts = {name: int(tally.overall()[place]) for name, place in INDEX.items()}
    rows = [
        SideRow(
            name="requests that both answered or failed", unit="count",
            baseline=counts["requests"], candidate=counts["requests"],
        ),
        SideRow(
            name="answers that users got", unit="count",
            baseline=counts["live_baseline"], candidate=counts["live_candidate"],
        ),
        *_latencies(tally),
        *_rates(counts),
        _live_errors(counts),
        *_changes(counts),
        *_scores(tally),
        *_events(tally),
    ]  # fmt: skip
    return tuple(rows)


def _latencies(tally: Tally) -> Iterator[SideRow]:
    base, candidate = (tally.histograms.get(f"latency.{arm}") for arm in ("baseline", "candidate"))
    for name, p in QUANTILES.items():
        ours = None if base is None else quantile_ms(base, p)
        theirs = None if candidate is None else quantile_ms(candidate, p)
        known = ours is not None and theirs is not None
        yield SideRow(
            name=f"latency {name.split('_')[1]}", unit="ms", baseline=ours, candidate=theirs,
            difference=theirs - ours if known and theirs is not None and ours is not None else None,
            note="a candidate that failed took for ever" if theirs == float("inf") else "",
        )  # fmt: skip


def _rates(counts: dict[str, int]) -> Iterator[SideRow]:
    for name, bad, total, only in _RATES:
        ours, theirs = (counts[f"{arm}_{bad}"] for arm in ("baseline", "candidate"))
        # Outputs are checked by arm; all other rates have one denominator.
        of = [
            counts[f"{arm}_{total}"] if total == "checked" else counts[total] for arm in ("baseline", "candidate")
        ]
        worse, better = counts[f"candidate_{only}"], counts[f"baseline_{only}"]
        low, high = interval.rate_difference(worse, better, of[1]) if of[1] else (None, None)
        yield SideRow(
            name=name, unit="ratio",
            baseline=ours / of[0] if of[0] else None, candidate=theirs / of[1] if of[1] else None,
            difference=(worse - better) / of[1] if of[1] else None, low=low, high=high,
            note=f"{ours:,} and {theirs:,} of {many(of[1], 'request')}",
        )  # fmt: skip


def _live_errors(counts: dict[str, int]) -> SideRow:
    shares = {
        arm: counts[f"live_{arm}_errors"] / counts[f"live_{arm}"] if counts[f"live_{arm}"] else None
        for arm in ("baseline", "candidate")
    }
    note = f"{counts['live_baseline_errors']:,} and {counts['live_candidate_errors']:,} answers"
    return SideRow(
        name="failures that users met", unit="ratio", note=note,
        baseline=shares["baseline"], candidate=shares["candidate"],
    )  # fmt: skip


def _changes(counts: dict[str, int]) -> Iterator[SideRow]:
    for name, bad, total in (
        ("pairs with another label", "label_changes", "labels_compared"),
        ("pairs with another output", "output_changes", "pairs"),
    ):
        share = counts[bad] / counts[total] if counts[total] else None
        low, high = interval.rate(counts[bad], counts[total]) if counts[total] else (None, None)
        note = f"{counts[bad]:,} of {many(counts[total], 'pair')}"
        yield SideRow(name=name, unit="ratio", difference=share, low=low, high=high, note=note)


def _scores(tally: Tally) -> Iterator[SideRow]:
    """Scores are kept as paired differences, so there is no mean of one arm."""
    values = scores.values()
    for name in sorted(n for n in tally.histograms if n.startswith(_SCORES)):
        counts = tally.histograms[name]
        total = int(counts.sum())
        if total:
            low, high = interval.mean(counts)
            yield SideRow(
                name=name.removeprefix(_SCORES), unit="score", difference=float((counts * values).sum()) / total,
                low=low, high=high, note=many(total, "scored pair"),
            )  # fmt: skip


def _events(tally: Tally) -> Iterator[SideRow]:
    arms = ("baseline", "candidate")
    running = {arm: tally.totals.get(f"running_ms.{arm}") for arm in arms}
    told = {arm: None if ms is None else ms / 3_600_000 for arm, ms in running.items()}
    yield SideRow(
        name="running time of instances", unit="hours", baseline=told["baseline"], candidate=told["candidate"]
    )
    for key, name in _EVENTS.items():
        # Without a report nobody knows; with one, no event is a 0.
        seen = {arm: None if running[arm] is None else tally.totals.get(f"{key}.{arm}", 0) for arm in arms}
        yield SideRow(name=name, unit="count", baseline=seen["baseline"], candidate=seen["candidate"])
