"""Estimate: how long the evidence that a verdict still lacks will take, at the rate at which it came so far.

Law: counts and event time of the stage alone, in whole numbers: the same evidence gives the same words. What
has not come at all has no rate, and its time is unknown, not zero. No verdict changes its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paritygate.gates.assess import Assessment
from paritygate.gates.reasons import at_present_rate
from paritygate.gates.verdict import Verdict, VerdictKind


def remaining_ms(more: float, seen: float, counted_ms: int) -> int | None:
    """Event time in ms for ``more`` observations when ``seen`` came in ``counted_ms``; None without a rate."""
    if seen <= 0 or counted_ms <= 0:
        return None
    return max(round(more * counted_ms / seen), 0)


def with_estimates(assessment: Assessment, counted_ms: int) -> Assessment:
    """The same assessment, with ``more_needed_ms`` and its words in every verdict that says what it lacks.

    ``counted_ms``: how much event time the counts of the stage cover; the newest windows are not in them yet.
    ``more_needed`` is measured against ``total`` (observations of that gate in the stage), and
    ``more_hours_needed`` against ``stage_hours`` (running time of the candidate in the stage).
    """
    return replace(assessment, verdicts=tuple(_with_estimate(v, counted_ms) for v in assessment.verdicts))


def _with_estimate(verdict: Verdict, counted_ms: int) -> Verdict:
    lacking = _lacking(verdict.numbers)
    if lacking is None or verdict.kind is not VerdictKind.INCONCLUSIVE:
        return verdict
    left_ms = remaining_ms(*lacking, counted_ms)
    return replace(
        verdict,
        reason=f"{verdict.reason}{at_present_rate(left_ms)}",
        numbers={**verdict.numbers, "more_needed_ms": left_ms},
    )


def _lacking(numbers: Mapping[str, float | int | None]) -> tuple[float, float] | None:
    """(still needed, seen in the stage) of whatever the gate counts."""
    for more, seen in (("more_needed", "total"), ("more_hours_needed", "stage_hours")):
        needed = numbers.get(more)
        if needed is not None:
            return needed, numbers.get(seen) or 0
    return None
