"""Histories: what each gate said over time, from the verdicts that the decisions carry.

Law: a point is what a decision recorded, never computed anew. Of many points a fixed number is shown: the first,
the last, every change of verdict or stage, and evenly spaced ones between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.gates.measures import Kind, Rule, measure_named
from paritygate.gates.spec import GateSpec
from paritygate.schemas.decision import GateDecision, VerdictRecord

#: Most points of one gate beside the changes.
MAX_POINTS: Final = 200
_Bounded = tuple[float | None, float | None, float | None]
_MAXIMA: Final = (Rule.MAXIMUM, Rule.MAXIMUM_DELTA, Rule.MAXIMUM_REGRESSION_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One verdict: ``value`` with its bounds in the history's unit, None where it had none."""

    at_ms: int
    sequence: int
    stage: str
    verdict: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateHistory:
    """One gate.

    ``measure``: what it is declared on; of a check that no plan declares, its name. ``unit``: of ``limit`` and of
    all points. ``at_most``: whether the value must stay below the limit; None for checks that no plan declares.
    ``declared``: the gate's rule in words. ``verdict``, ``reason``, ``segment``: the last ones. ``points``: oldest
    first.
    """

    gate: str
    measure: str
    required: bool
    declared: str
    unit: str
    limit: float | None
    at_most: bool | None
    verdict: str
    reason: str
    segment: str
    points: tuple[Point, ...]


def histories(gates: Sequence[GateSpec], decisions: Iterable[GateDecision]) -> tuple[GateHistory, ...]:
    """The history of each gate, declared ones first, then checks in the order in which they first spoke."""
    specs = {spec.name: spec for spec in gates}
    said: dict[str, list[tuple[GateDecision, VerdictRecord]]] = {name: [] for name in specs}
    for decision in decisions:
        for verdict in decision.verdicts:
            said.setdefault(verdict.gate, []).append((decision, verdict))
    return tuple(_history(name, specs.get(name), found) for name, found in said.items() if found)


def _history(name: str, spec: GateSpec | None, said: list[tuple[GateDecision, VerdictRecord]]) -> GateHistory:
    _, last = said[-1]
    limits = [verdict.numbers["limit"] for _, verdict in said if verdict.numbers.get("limit") is not None]
    relative = spec is not None and spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT
    # A rate is recorded as it is, its relative limit as percent of another rate: no line can stand for that.
    drawn = spec is not None and not (relative and spec.kind is Kind.RATE)
    unit = "" if spec is None else measure_named(spec.measure, spec.source).unit
    return GateHistory(
        gate=name,
        measure=name if spec is None else spec.measure,
        required=last.required,
        declared=f"{spec.rule.value} {spec.limit:g}" if spec else "always asked",
        unit="%" if relative and drawn else unit,
        limit=spec.limit if spec and drawn else limits[-1] if limits and spec is None else None,
        at_most=spec.rule in _MAXIMA if spec and drawn else None,
        verdict=last.verdict,
        reason=last.reason,
        segment=last.segment,
        points=_thinned([_point(spec, decision, verdict) for decision, verdict in said]),
    )


def _point(spec: GateSpec | None, decision: GateDecision, verdict: VerdictRecord) -> Point:
    value, low, high = _bounded(spec, verdict.numbers)
    return Point(
        at_ms=decision.at_ms, sequence=decision.sequence, stage=decision.from_stage, verdict=verdict.verdict,
        value=value, low=low, high=high,
    )  # fmt: skip


def _bounded(spec: GateSpec | None, numbers: Mapping[str, float | int | None]) -> _Bounded:
    """The value that the verdict speaks of, with its bounds: since the onset where it names one."""
    since = "onset_" if "onset_value" in numbers or "onset_ratio" in numbers else ""
    if f"{since}ratio" in numbers:
        ratios = [numbers.get(f"{since}{name}") for name in ("ratio", "ratio_low", "ratio_high")]
        value, low, high = (None if x is None else 100.0 * (x - 1.0) for x in ratios)
        return value, low, high
    value, low, high = (numbers.get(f"{since}{name}") for name in ("value", "low", "high"))
    if spec is not None and spec.kind is Kind.NUMBER and spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        return value, None, None  # its bounds are of another quantity than its percent
    total, bad = numbers.get("whole_total"), numbers.get("whole_bad")
    if value is None and total and bad is not None:
        # Nothing in the stage yet: the rollout's own rate.
        value = bad / total if spec is None or spec.rule is not Rule.MINIMUM else 1.0 - bad / total
    return value, low, high


def _thinned(points: list[Point]) -> tuple[Point, ...]:
    stride = max(1, -(-len(points) // MAX_POINTS))
    kept = []
    for i, point in enumerate(points):
        changed = i == 0 or (point.verdict, point.stage) != (points[i - 1].verdict, points[i - 1].stage)
        if changed or i == len(points) - 1 or i % stride == 0:
            kept.append(point)
    return tuple(kept)
