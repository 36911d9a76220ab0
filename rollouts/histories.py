"""Histories: what each gate said over time, from the verdicts that the decisions carry.

Law: a point is what a decision recorded, never computed anew. Of many points a fixed number is shown: the first,
the last, every change of verdict or stage, and evenly spaced ones between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.gates.spec import GateSpec
from paritygate.rollouts.view import GateLine, bounded, check_line, line
from paritygate.schemas.decision import GateDecision, VerdictRecord

#: Most points of one gate beside the changes.
MAX_POINTS: Final = 200


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
    told = check_line(name) if spec is None else line(name, spec.measure, spec.rule, spec.limit, spec.source)
    return GateHistory(
        gate=name,
        measure=told.measure,
        required=last.required,
        declared=told.declared,
        unit=told.unit,
        limit=limits[-1] if limits and spec is None else told.limit,
        at_most=told.at_most,
        verdict=last.verdict,
        reason=last.reason,
        segment=last.segment,
        points=_thinned([_point(told, decision, verdict) for decision, verdict in said]),
    )


def _point(told: GateLine, decision: GateDecision, verdict: VerdictRecord) -> Point:
    value, low, high = bounded(told, verdict.numbers)
    return Point(
        at_ms=decision.at_ms, sequence=decision.sequence, stage=decision.from_stage, verdict=verdict.verdict,
        value=value, low=low, high=high,
    )  # fmt: skip


def _thinned(points: list[Point]) -> tuple[Point, ...]:
    stride = max(1, -(-len(points) // MAX_POINTS))
    kept = []
    for i, point in enumerate(points):
        changed = i == 0 or (point.verdict, point.stage) != (points[i - 1].verdict, points[i - 1].stage)
        if changed or i == len(points) - 1 or i % stride == 0:
            kept.append(point)
    return tuple(kept)
