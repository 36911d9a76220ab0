"""An explanation puts beside a decision what it came from, and invents nothing."""

from __future__ import annotations

from paritygate.rollouts.explanation import explain
from paritygate.schemas.decision import Action
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import command, plan, windows

LOGS = logs_of(story())
R1, S1 = LOGS.of("r1"), LOGS.of("s1")


def test_a_promotion_names_the_gates_and_floors_that_it_had_to_meet() -> None:
    """Rule 13: the plan lines are the gates and the floors of the stage that was judged, not of the one reached."""
    promoted = [d for d in R1 if d.action is Action.PROMOTE][1]
    found = explain(promoted, R1, plan())

    assert found.rule is not None
    assert found.rule.number == 13
    assert list(found.plan_lines) == [
        "promotion_gates.error_rate", "promotion_gates.schema_validation_pass_rate",
        "stages.1.minimum_pairs", "stages.1.minimum_seconds",
    ]  # fmt: skip
    assert found.plan_lines["stages.1.minimum_pairs"] == 100
    assert found.before == R1[promoted.sequence - 1]
    assert found.in_stage_ms == promoted.at_ms - next(d.at_ms for d in R1 if d.action is Action.PROMOTE)
    assert found.waits == ()


def test_a_rollback_names_only_the_gate_that_failed() -> None:
    """Rule 3: the gate whose verdict is fail, with its line of the plan."""
    back = S1[-1]
    found = explain(back, S1, plan(rollout="s1", service="search"))

    assert (back.action, found.rule and found.rule.number) == (Action.ROLLBACK, 3)
    assert list(found.plan_lines) == ["promotion_gates.error_rate"]
    assert found.plan_lines["promotion_gates.error_rate"]["maximum"] == 0.1


def test_a_hold_names_everything_that_it_waits_for() -> None:
    """Every gate that is not proven, not only the one that the reason speaks of."""
    thin = logs_of([command("start"), *windows(0, 1, requests=6)]).decisions
    hold = next(d for d in thin if d.reason_code == "more_evidence")
    found = explain(hold, thin, plan())

    open_gates = [v.gate for v in hold.verdicts if v.required and v.verdict == "inconclusive"]
    assert len(open_gates) > 1
    assert [wait.split(":")[0] for wait in found.waits[: len(open_gates)]] == open_gates


def test_a_command_has_no_rule_and_no_plan_lines() -> None:
    """The first decision has none before it; what an operator said is no rule of judge()."""
    found = explain(R1[0], R1, plan())

    assert (found.rule, found.plan_lines, found.before, found.waits) == (None, {}, None, ())
    assert found.to_plain()["decision"]["reason_code"] == "started"


def test_without_the_plan_the_record_still_speaks() -> None:
    """Rule and numbers stand in the decision; only the plan's lines are left out."""
    found = explain(R1[2], R1)

    assert found.rule is not None
    assert found.plan_lines == {}
