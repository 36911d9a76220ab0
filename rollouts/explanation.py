"""Explanation: one past decision in words and numbers, from the record and the plan alone.

Law: nothing is judged again. What a decision rests on stands in it; this only puts beside it the rule that made
it, the lines of the plan which that rule read, and the decision before. What is not recorded is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.rules import Rule, plan_keys, rule_of
from paritygate.schemas.decision import Action, GateDecision, VerdictRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision and what it came from.

    ``rule``: the row of judge()'s table; None for what a command caused. ``plan_lines``: dotted keys of the plan
    that the rule read, with their values; empty where the plan is not known. ``before``: the decision that it
    follows. ``waits``: what a hold still waits for, a sentence each. ``in_stage_ms``: event time since the
    promotion into the stage that was judged; None in the first stage, whose beginning no decision records.
    """

    decision: GateDecision
    rule: Rule | None
    plan_lines: dict[str, Any]
    before: GateDecision | None
    waits: tuple[str, ...]
    in_stage_ms: int | None

    def to_plain(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        rule = self.rule and {"number": self.rule.number, "when": self.rule.when}
        before = self.before and {
            key: self.before.model_dump(mode="json")[key]
            for key in ("sequence", "action", "stage", "weight", "reason_code", "reason", "at_ms")
        }
        return {
            "decision_id": self.decision.decision_id,
            "decision": self.decision.model_dump(mode="json"),
            "rule": rule,
            "plan_lines": self.plan_lines,
            "previous_decision": before,
            "in_stage_ms": self.in_stage_ms,
            "waits_for": list(self.waits),
        }


def explain(decision: GateDecision, chain: Sequence[GateDecision], plan: RolloutPlan | None = None) -> Explanation:
    """Explain one decision. ``chain``: the decisions of its rollout in order. ``plan``: that it was made under."""
    rule = rule_of(decision)
    earlier = [d for d in chain if d.sequence < decision.sequence]
    entered = [d.at_ms for d in earlier if d.action is Action.PROMOTE]
    return Explanation(
        decision=decision,
        rule=rule,
        plan_lines={} if plan is None or rule is None else _lines(rule, decision, plan),
        before=earlier[-1] if earlier else None,
        waits=_waits(decision, plan) if decision.action is Action.HOLD else (),
        in_stage_ms=decision.at_ms - entered[-1] if entered else None,
    )


def _lines(rule: Rule, decision: GateDecision, plan: RolloutPlan) -> dict[str, Any]:
    names = [stage.name for stage in plan.stages]
    stage = names.index(decision.from_stage) if decision.from_stage in names else 0
    counted = {v.gate: None for v in _deciding(rule, decision) if v.gate in plan.promotion_gates}
    plain = plan.to_plain()
    keys = plan_keys(rule, stage, iter(counted))
    return {key: _value(plain, key) for key in keys if key.partition(".")[0] in plain}


def _deciding(rule: Rule, decision: GateDecision) -> list[VerdictRecord]:
    """The verdicts that the rule looked at: those that fail, cannot be measured, are not proven, or all."""
    wanted = {3: {"fail"}, 10: {"error"}, 12: {"inconclusive"}, 17: {"inconclusive", "error"}}.get(rule.number)
    required = [v for v in decision.verdicts if v.required]
    return [v for v in required if wanted is None or v.verdict in wanted]


def _value(plain: Any, key: str) -> Any:
    for part in key.split("."):
        plain = plain[int(part)] if isinstance(plain, list) else plain[part]
    return plain


def _waits(decision: GateDecision, plan: RolloutPlan | None) -> tuple[str, ...]:
    """Every open gate and every floor of pairs, not the first one only, which the reason names."""
    waits = [
        f"{v.gate}: {v.reason}" for v in decision.verdicts if v.required and v.verdict in ("inconclusive", "error")
    ]
    stage = plan and next((s for s in plan.stages if s.name == decision.stage), None)
    missing = 0 if not stage else stage.minimum_pairs - decision.counts.get("stage_pairs", 0)
    if stage and decision.verdicts and missing > 0 and decision.weight < 100:
        waits.append(f"{missing:,} more pairs in stage {stage.name} (at least {stage.minimum_pairs:,})")
    if not waits and decision.verdicts:
        waits.append(decision.reason)
    return tuple(waits)
