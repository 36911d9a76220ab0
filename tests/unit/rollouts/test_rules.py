"""The table of rules as data is the table at the top of judge()."""

from __future__ import annotations

import re

from paritygate.rollouts import judge
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.replay import COMMANDED
from paritygate.rollouts.rules import RULES, plan_keys, rule_of
from paritygate.schemas.decision import Action
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import plan

LOGS = logs_of(story())


def test_every_row_of_judge_is_here_with_its_action_and_codes() -> None:
    """Numbers, actions and reason codes are those of judge()'s docstring, row by row."""
    table = (judge.__doc__ or "").rpartition("\n====")[0]
    rows = re.split(r"^ ?(?=\d+    )", table, flags=re.MULTILINE)[1:]
    found = {}
    for row in rows:
        number, words = int(row.split()[0]), row.replace("``on_timeout: rollback``", "").split()
        found[number] = (next(w for w in words if w in set(Action)), set(re.findall(r"``(\w+)``", row)))
    written = {r.number: (r.action.value, set(r.codes)) for r in RULES}

    # ``sample_ratio`` is a key of the plan and a reason code.
    names = (set(RolloutPlan.model_fields) - set(judge.TELLING)) | {
        "minimum_pairs",
        "minimum_seconds",
        "maximum_seconds",
    }
    assert {n: (action, codes - names) for n, (action, codes) in found.items()} == written


def test_every_decision_of_a_fold_has_its_rule_or_its_command() -> None:
    """Nothing that a decider writes is without a cause that can be told."""
    for decision in LOGS.decisions:
        rule = rule_of(decision)
        assert (rule is None) == (decision.reason_code in COMMANDED)
        assert rule is None or rule.action is decision.action


def test_silence_before_the_first_answer_is_a_rule_of_its_own() -> None:
    """The same reason code is rule 2 while nothing was ever joined, and rule 11 afterwards."""
    decision = next(d for d in LOGS.decisions if d.verdicts and d.action is Action.HOLD)
    silent = decision.model_copy(update={"reason_code": "candidate_silent", "weight": 0})
    never = silent.model_copy(update={"counts": {"pairs": 0, "missing_baseline": 0}})
    strange = decision.model_copy(update={"reason_code": "of_another_version"})

    assert [r and r.number for r in map(rule_of, (never, silent, strange))] == [2, 11, None]


def test_every_key_of_a_rule_is_one_of_the_plan() -> None:
    """What explain() shows can be looked up in the plan."""
    plain = plan(
        spend_more_time_when=["resource_heavy"], acknowledgements="required", cool_down_seconds=9
    ).to_plain()
    plain["stages"][1]["approval"] = "required"  # left out of the plain plan where nobody asks for one
    for rule in RULES:
        for key in plan_keys(rule, 1, iter(["error_rate"])):
            value = plain
            for part in key.split("."):
                value = value[int(part)] if isinstance(value, list) else value[part]
