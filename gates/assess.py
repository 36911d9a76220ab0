"""assess_gates(): from the evidence of a rollout to a verdict for every gate.

Law: pure, and the same tallies give the same verdicts, reasons and numbers, however they were added up.
``fail`` iff E_bad of the whole rollout reaches 1 / alpha_rollback; ``pass`` iff E_ok of this stage reaches
1 / alpha_promote, in every large segment too, the floors are met and no segment stands out; else
``inconclusive``, or ``error`` where a source contradicts itself. Looking more often makes neither more likely
(``comparators.evidence``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.gates.columns import COLUMNS
from paritygate.gates.completeness import assess_completeness
from paritygate.gates.drift import assess_drift
from paritygate.gates.dropout import assess_dropout
from paritygate.gates.events import assess_events
from paritygate.gates.evidence import Alphas, Evidence, Sums, floored
from paritygate.gates.findings import (
    LEAST_BAD,
    SegmentFinding,
    describe,
    flagged,
    outstanding,
    parity_log_e,
)
from paritygate.gates.label_shift import assess_label_shift
from paritygate.gates.latencies import assess_latency
from paritygate.gates.latency_parity import assess_latency_parity
from paritygate.gates.measures import LABEL_SHIFT, Kind
from paritygate.gates.numbers import assess_number
from paritygate.gates.outcomes import assess_outcome
from paritygate.gates.rates import assess_rate
from paritygate.gates.reasons import percent, some
from paritygate.gates.sample_ratio import assess_sample_ratio
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind, worst

__all__ = ["Assessment", "Evidence", "SegmentFinding", "assess_gates"]

PARITY: Final = "segment_parity"
_Found = tuple[Verdict, tuple[SegmentFinding, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Verdicts in the order of declaration, then the checks that always run.

    ``overall``: the worst of the required ones. ``worst_segment``: the segment that best explains the first
    failed gate, else the first flagged one; None where the damage is everywhere alike, or none.
    ``segment_findings``: what stands out, gate by gate, the best explanation first.
    """

    verdicts: tuple[Verdict, ...]
    overall: VerdictKind
    worst_segment: str | None = None
    segment_findings: tuple[SegmentFinding, ...] = ()


def assess_gates(
    gates: Sequence[GateSpec],
    evidence: Evidence,
    *,
    alpha_rollback: float = 0.05,
    alpha_promote: float = 0.05,
    minimum_segment_share: float = 0.05,
    prove_segments_above_ratio: float = 0.2,
    sample_ratio_required: bool = False,
) -> Assessment:
    """Judge every gate.

    ``alpha_rollback``: chance of a false rollback per gate over the whole rollout. ``alpha_promote``: chance
    of a false pass per gate and stage. ``minimum_segment_share``: segments with at least this part of the
    requests block a promotion already when their own E reaches 1 / alpha_rollback; smaller ones when e-BH
    rejects them. ``prove_segments_above_ratio``: gates on rates pass only where every value of a dimension with
    at least this part of the stage's requests is proven by itself. A gate's own alphas come first.
    ``sample_ratio_required``: whether a live share other than the declared one holds, or is only shown.
    """
    sums = Sums(evidence)
    verdicts: list[Verdict] = []
    findings: list[SegmentFinding] = []
    for spec in gates:
        alphas = Alphas(spec.alpha_rollback or alpha_rollback, spec.alpha_promote or alpha_promote)
        match spec.kind:
            case Kind.RATE:
                judged = assess_rate(spec, sums, alphas, minimum_segment_share, prove_segments_above_ratio)
                verdicts.append(judged.verdict)
                findings.extend(judged.findings)
            case Kind.LATENCY:
                verdicts.append(assess_latency(spec, sums, alphas))
            case Kind.OUTCOME:
                verdicts.append(assess_outcome(spec, sums, alphas))
            case Kind.EVENTS:
                verdicts.append(assess_events(spec, evidence, alphas))
            case Kind.DRIFT if spec.measure == LABEL_SHIFT:
                verdicts.append(assess_label_shift(spec, sums, alphas))
            case Kind.DRIFT:
                verdicts.append(assess_drift(spec, sums, alphas))
            case Kind.NUMBER:
                verdicts.append(assess_number(spec, sums, alphas))
    verdicts.append(assess_completeness(sums))
    ratio = assess_sample_ratio(evidence, alpha_rollback, required=sample_ratio_required)
    verdicts.extend(v for v in (assess_dropout(sums, alpha_rollback), ratio) if v is not None)
    covered = {spec.measure for spec in gates if spec.required}
    for measure in sorted(COLUMNS.keys() - covered):
        undeclared = _parity(measure, sums, alpha_rollback)
        if undeclared is not None:
            verdicts.append(undeclared[0])
            findings.extend(undeclared[1])
    timed = [spec for spec in gates if spec.kind is Kind.LATENCY]
    slower = assess_latency_parity(sums, alpha_rollback, required=not timed or any(s.required for s in timed))
    if slower is not None:
        verdicts.append(slower[0])
        findings.extend(slower[1])
    return Assessment(
        verdicts=tuple(verdicts),
        overall=worst(v.kind for v in verdicts if v.required),
        worst_segment=_worst_segment(verdicts),
        segment_findings=tuple(findings),
    )


def _parity(measure: str, sums: Sums, alpha: float) -> _Found | None:
    """Whether e-BH rejects a segment on a measure that no required gate is declared on."""
    columns = COLUMNS[measure]
    if columns.paired is None or columns.within is not None:
        return None
    log_e = floored(parity_log_e(measure, sums), sums.segments.count(columns.paired[0]), LEAST_BAD)
    findings = describe(measure, sums, log_e, outstanding(sums, log_e, alpha, math.inf))
    if not findings:
        return None
    first = findings[0]
    reason = (
        f"{some(first.bad, first.total, columns.noun)} {columns.verb} in {first.segment},"
        f" {percent(first.effect)} more than the baseline's, and no required gate watches it"
    )
    return flagged(PARITY, first, reason), findings


def _worst_segment(verdicts: Sequence[Verdict]) -> str | None:
    """Failed gates speak first, required ones before advisory ones, then flagged segments."""
    named = [v for v in verdicts if v.segment != "all" and v.reason_code != "segment_unproven"]
    order = sorted(named, key=lambda v: (v.kind is not VerdictKind.FAIL, not v.required))
    return order[0].segment if order else None
