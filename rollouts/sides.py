"""Sides: the baseline and the candidate beside each other, on the same requests, as a review shows them.

Law: every number is a count, or follows from counts of one tally; what was not measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.comparators import scores
from paritygate.comparators.evidence import interval
from paritygate.comparators.latency import quantile_ms
from paritygate.comparators.tally import INDEX, Tally
from paritygate.gates.measures import QUANTILES, measure_named
from paritygate.gates.numbers import NumberCounts
from paritygate.gates.reasons import many
from paritygate.gates.spec import GateSpec

_SCORES: Final = "scores."
_EVENTS: Final = {
    "ooms": ("GPU out-of-memory events", "gpu_oom_events"),
    "restarts": ("restarts", "pod_restarts"),
    "dropped": ("events dropped unsent", ""),
}
#: What is compared, its measure, its count of bad ones, of how many, and the pairs in which one arm alone was bad.
_RATES: Final = (
    ("error rate", "error_rate", "errors", "requests", "only_errors"),
    ("timeout rate", "timeout_rate", "timeouts", "timeouts_counted", "only_timeouts"),
    ("invalid outputs", "schema_validation_pass_rate", "invalid", "checked", "only_invalid"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRow:
    """One measure of both arms.

    ``measure``: its name in a plan, empty where no gate can be declared on it. ``unit``: ``count``, ``ratio``,
    ``ms``, ``hours``, ``bytes``, ``score``, or that of a number of the events. ``difference``: candidate minus
    baseline in the same unit with ``low`` and ``high``, its 95 % time-uniform bounds, where pairs give them.
    ``note``: of how many.
    """

    name: str
    unit: str
    measure: str = ""
    baseline: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def sides(tally: Tally, gates: Sequence[GateSpec] = ()) -> tuple[SideRow, ...]:
    """Both arms over all that ``tally`` holds. ``gates``: those of the plan, which make the join count numbers."""
    counts = {name: int(tally.overall()[place]) for name, place in INDEX.items()}
    rows = [
        SideRow(
            name="requests that both answered or failed", unit="count", measure="join_completeness",
            baseline=counts["requests"], candidate=counts["requests"],
        ),
        SideRow(
            name="answers that users got", unit="count", measure="sample_ratio",
            baseline=counts["live_baseline"], candidate=counts["live_candidate"],
        ),
        *_latencies(tally),
        *_rates(counts),
        _live_errors(counts),
        *_changes(counts),
        *_scores(tally),
        *_numbers(tally, gates),
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
            name=f"latency {name.split('_')[1]}", unit="ms", measure=name, baseline=ours, candidate=theirs,
            difference=theirs - ours if known and theirs is not None and ours is not None else None,
            note="a candidate that failed took for ever" if theirs == float("inf") else "",
        )  # fmt: skip


def _rates(counts: dict[str, int]) -> Iterator[SideRow]:
    for name, measure, bad, total, only in _RATES:
        ours, theirs = (counts[f"{arm}_{bad}"] for arm in ("baseline", "candidate"))
        # Outputs are checked by arm; all other rates have one denominator.
        of = [
            counts[f"{arm}_{total}"] if total == "checked" else counts[total] for arm in ("baseline", "candidate")
        ]
        worse, better = counts[f"candidate_{only}"], counts[f"baseline_{only}"]
        low, high = interval.rate_difference(worse, better, of[1]) if of[1] else (None, None)
        yield SideRow(
            name=name, unit="ratio", measure=measure,
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
    for name, measure, bad, total in (
        ("pairs with another label", "label_change_rate", "label_changes", "labels_compared"),
        ("pairs with another output", "output_change_rate", "output_changes", "pairs"),
    ):
        share = counts[bad] / counts[total] if counts[total] else None
        low, high = interval.rate(counts[bad], counts[total]) if counts[total] else (None, None)
        note = f"{counts[bad]:,} of {many(counts[total], 'pair')}"
        yield SideRow(name=name, unit="ratio", measure=measure, difference=share, low=low, high=high, note=note)


def _scores(tally: Tally) -> Iterator[SideRow]:
    """Scores are kept as paired differences, so there is no mean of one arm."""
    values = scores.values()
    for name in sorted(n for n in tally.histograms if n.startswith(_SCORES)):
        counts = tally.histograms[name]
        total = int(counts.sum())
        if total:
            low, high = interval.mean(counts)
            yield SideRow(
                name=name.removeprefix(_SCORES).replace("_", " "), unit="score", measure=name.removeprefix(_SCORES),
                difference=float((counts * values).sum()) / total, low=low, high=high,
                note=many(total, "scored pair"),
            )  # fmt: skip


def _numbers(tally: Tally, gates: Sequence[GateSpec]) -> Iterator[SideRow]:
    """Means of the numbers that events carry (tokens, citations, abstentions, …), each measure once."""
    rules = {spec.measure: (spec, rule) for spec in gates if (rule := spec.number_rule()) is not None}
    for measure, (spec, rule) in rules.items():
        counts = NumberCounts.of(tally, rule)
        if not counts.pairs or counts.contradicts:
            continue
        low, high = (rule.off_buckets(end) for end in interval.mean(counts.told()))
        note, plain = many(counts.pairs, "pair"), rule.slope == 1.0
        # Where the limit is relative, what has bounds is the difference to a multiple of the baseline.
        note += "" if plain else f"; less {rule.slope:g} times stable's: {low:+.4g} to {high:+.4g}"
        yield SideRow(
            name=measure.replace("_", " "), unit=measure_named(measure, spec.source).unit, measure=measure,
            baseline=counts.baseline, candidate=counts.candidate, difference=counts.candidate - counts.baseline,
            low=low if plain else None, high=high if plain else None, note=note,
        )  # fmt: skip


def _events(tally: Tally) -> Iterator[SideRow]:
    arms = ("baseline", "candidate")
    running = {arm: tally.totals.get(f"running_ms.{arm}") for arm in arms}
    told = {arm: None if ms is None else ms / 3_600_000 for arm, ms in running.items()}
    yield SideRow(
        name="running time of instances", unit="hours", baseline=told["baseline"], candidate=told["candidate"]
    )
    yield _memory(tally)
    for key, (name, measure) in _EVENTS.items():
        # Without a report nobody knows; with one, no event is a 0.
        seen = {arm: None if running[arm] is None else tally.totals.get(f"{key}.{arm}", 0) for arm in arms}
        yield SideRow(
            name=name, unit="count", measure=measure, baseline=seen["baseline"], candidate=seen["candidate"]
        )


def _memory(tally: Tally) -> SideRow:
    """The mean over all reports of an arm's instances that gave it."""
    ours, theirs = (tally.totals.get(f"memory_reports.{arm}", 0) for arm in ("baseline", "candidate"))
    base = tally.totals.get("memory_bytes.baseline", 0) / ours if ours else None
    candidate = tally.totals.get("memory_bytes.candidate", 0) / theirs if theirs else None
    return SideRow(
        name="memory of an instance, mean", unit="bytes", baseline=base, candidate=candidate,
        difference=None if base is None or candidate is None else candidate - base,
        note=f"{ours:,} and {theirs:,} reports" if ours or theirs else "",
    )  # fmt: skip
