"""Record: from a ruling to the decision that stands in the log, with all it rests on.

Law: the same ruling on the same evidence is the same bytes. Floats are rounded to 12 significant digits, so
that the last bits of a sum, which may differ between processors, never reach the log; what is not a finite
number is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from paritygate.comparators.tally import INDEX, Tally
from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict
from paritygate.rollouts.judge import Ruling, reviewed
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.state import RolloutState
from paritygate.schemas.decision import GateDecision, VerdictRecord

#: Counts of the whole rollout that every decision carries.
_COUNTS = (
    "requests",
    "pairs",
    "missing_candidate",
    "missing_baseline",
    "shed",
    "baseline_errors",
    "candidate_errors",
    "candidate_invalid",
    "label_changes",
    "output_changes",
    "live_candidate",
    "live_candidate_errors",
)
_TOTALS = ("duplicate", "late", "future", "conflict", "outcome_paired", "outcome_single")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the decider stands in its logs after the record that caused a decision."""

    windows_next: int
    commands_next: int


def record(
    plan: RolloutPlan,
    state: RolloutState | None,
    ruling: Ruling,
    ledger: Ledger,
    position: Position,
    *,
    at_ms: int,
    assessment: Assessment | None = None,
) -> GateDecision:
    """The decision that follows ``state`` (None: the first one of the rollout) by ``ruling``.

    ``assessment`` is None for decisions that a command caused, because no gate was asked; a promotion by force
    carries what the gates said when they were overruled.
    """
    lease_ms = plan.lease_seconds * 1000 if 0 < ruling.stage.weight < 100 else 0
    seen_ms = at_ms if ledger.frontier_ms is None else ledger.frontier_ms
    return GateDecision(
        rollout_id=plan.rollout,
        sequence=0 if state is None else state.sequence + 1,
        previous="" if state is None else state.head,
        action=ruling.action,
        stage=ruling.stage.name,
        weight=ruling.stage.weight,
        from_stage=(ruling.stage if state is None else state.stage).name,
        reason_code=ruling.reason_code,
        reason=reviewed(plan, ruling),
        at_ms=at_ms,
        baseline_version=plan.baseline.version,
        candidate_version=plan.candidate.version,
        policy_digest=plan.digest(),
        evidence_digest=ledger.digest(),
        verdicts=tuple(_verdict(v) for v in assessment.verdicts) if assessment else (),
        worst_segment=assessment.worst_segment if assessment else None,
        exposed_requests=ledger.whole.totals.get("exposed", 0),
        counts=_counts(ledger),
        windows_next=position.windows_next,
        commands_next=position.commands_next,
        sources=ledger.sources(),
        lease_ms=lease_ms,
        lease_until_ms=max(0, seen_ms) + lease_ms if lease_ms else 0,
    )


def rounded(value: float | None) -> float | None:
    """A float to 12 significant digits, None for what is not finite; integers and None as they are."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.12g}") if math.isfinite(value) else None


def _verdict(verdict: Verdict) -> VerdictRecord:
    return VerdictRecord(
        gate=verdict.gate,
        verdict=verdict.kind.value,
        reason=verdict.reason,
        required=verdict.required,
        segment=verdict.segment,
        numbers={name: rounded(value) for name, value in verdict.numbers.items()},
    )


def _counts(ledger: Ledger) -> dict[str, int]:
    whole: Tally = ledger.whole
    overall, in_stage = whole.overall(), ledger.stage.overall()
    totals: Mapping[str, int] = whole.totals
    return {
        **{name: int(overall[INDEX[name]]) for name in _COUNTS},
        **{name: totals.get(name, 0) for name in _TOTALS},
        "stage_pairs": int(in_stage[INDEX["pairs"]]),
        "stage_requests": int(in_stage[INDEX["requests"]]),
    }
