"""Rules: the table of judge() as data, so that a recorded decision can be told by the rule that made it.

Law: the table is that of :mod:`~paritygate.rollouts.judge`; a test holds the two together. A decision that no
row fits (another version made it) has no rule, and is not forced into one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from paritygate.rollouts.judge import ACK_MISSING, APPROVAL_NEEDED, COOL_DOWN, ENVIRONMENT, TELLING
from paritygate.rollouts.replay import COMMANDED
from paritygate.rollouts.state import STILL_PAUSED
from paritygate.schemas.decision import Action, GateDecision

HOLD, PROMOTE, ROLLBACK = Action.HOLD, Action.PROMOTE, Action.ROLLBACK


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``keys``: what of the plan it reads; ``{stage}``: the one judged, ``{gates}``: those that count."""

    number: int
    action: Action
    codes: tuple[str, ...]
    when: str
    keys: tuple[str, ...] = ()


RULES: Final[tuple[Rule, ...]] = (
    Rule(1, HOLD, ("absorbed",), "already rolled back or abandoned, which is final"),
    Rule(2, HOLD, ("candidate_silent",), "in shadow, and the candidate has never answered"),
    Rule(3, ROLLBACK, ("gate_failed",), "a required gate, or the segments together, say fail", ("{gates}",)),
    Rule(
        4, ROLLBACK, ("candidate_silent",), "the candidate is silent while users get its answers",
        ("candidate_silent_seconds",),
    ),
    Rule(5, ROLLBACK, ("no_data",), "live, and no request of either arm for too long", ("no_data_seconds",)),
    Rule(6, ROLLBACK, ("incomplete",), "live, and most of what users asked is lost to the evidence"),
    Rule(7, HOLD, (STILL_PAUSED,), "paused by an operator"),
    Rule(8, HOLD, ("no_data",), "no request of either arm for too long", ("no_data_seconds",)),
    Rule(9, HOLD, ("promoted",), "the candidate has all of the traffic"),
    Rule(10, HOLD, ("gate_error",), "a required gate could not be measured", ("{gates}",)),
    Rule(
        11, HOLD, ("candidate_silent", "baseline_silent"), "one arm is silent",
        ("candidate_silent_seconds",),
    ),
    Rule(12, HOLD, (ENVIRONMENT,), "the baseline is sick too", ("{gates}",)),
    Rule(
        13, PROMOTE, ("proven",), "every required gate passes and every floor is met",
        ("{gates}", "{stage}.minimum_pairs", "{stage}.minimum_seconds", "spend_more_time_when"),
    ),
    Rule(
        14, ROLLBACK, ("timeout",), "no proof within the longest time",
        ("{stage}.maximum_seconds", "spend_more_time_when", "on_timeout"),
    ),
    Rule(
        15, HOLD, ("timeout",), "no proof within the longest time",
        ("{stage}.maximum_seconds", "spend_more_time_when", "on_timeout"),
    ),
    Rule(
        16, HOLD, ("partition_behind",), "a partition is behind, or has never reported",
        ("join.window_ms", "join.grace_ms", "join.lateness_ms"),
    ),
    Rule(17, HOLD, (*TELLING, "more_evidence"), "a required gate is not proven", ("{gates}",)),
    Rule(
        18, HOLD, ("not_exposed",), "a live stage whose users hardly saw the candidate",
        ("{stage}.weight", "{stage}.minimum_pairs"),
    ),
    Rule(19, HOLD, ("floor_pairs",), "fewer pairs than the stage asks for", ("{stage}.minimum_pairs",)),
    Rule(
        20, HOLD, ("floor_time",), "less time than the stage asks for",
        ("{stage}.minimum_seconds", "spend_more_time_when"),
    ),
    Rule(
        21, HOLD, (COOL_DOWN,), "all is proven, and its service was rolled back a short time ago",
        ("cool_down_seconds",),
    ),
    Rule(22, HOLD, (ACK_MISSING,), "all is proven, and a router has not applied the stage", ("acknowledgements",)),
    Rule(23, HOLD, (APPROVAL_NEEDED,), "all is proven, and nobody has approved yet", ("{stage}.approval",)),
)  # fmt: skip


def rule_of(decision: GateDecision) -> Rule | None:
    """The rule of judge() that made a decision; None for what a command caused, and for what no row fits."""
    if decision.reason_code in COMMANDED:
        return None
    fitting = [r for r in RULES if r.action is decision.action and decision.reason_code in r.codes]
    if len(fitting) > 1:
        # Rules 2 and 11 hold for the same reason; the counts tell whether the candidate ever answered.
        answered = decision.counts.get("pairs", 0) + decision.counts.get("missing_baseline", 0) > 0
        fitting = fitting[1:] if answered or decision.weight else fitting[:1]
    return fitting[0] if fitting else None


def plan_keys(rule: Rule, stage: int, gates: Iterator[str]) -> list[str]:
    """The keys of the plan that the rule read, dotted. ``stage``: index of the stage judged."""
    keys: list[str] = []
    for key in rule.keys:
        if key == "{gates}":
            keys += (f"promotion_gates.{gate}" for gate in gates)
        else:
            keys.append(key.replace("{stage}", f"stages.{stage}"))
    return keys
