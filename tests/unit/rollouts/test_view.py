"""The view of a decision needs its plain plan alone, and says what the gates' own declarations say."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.gates.spec import parse_gates
from paritygate.rollouts.view import RungState, check_line, line, lines_of, rows, rungs
from paritygate.schemas.decision import Action, VerdictRecord
from tests.support.measured import LLM_GATES
from tests.support.story import logs_of, story

LADDER = (("shadow", 0), ("canary", 5), ("50", 50), ("100", 100))


def test_plain_plan_and_gates_give_the_same_lines() -> None:
    """What is read without the gates' room is what that room reads."""
    specs = parse_gates(LLM_GATES)

    assert lines_of({"promotion_gates": LLM_GATES}) == {
        s.name: line(s.name, s.measure, s.rule, s.limit, s.source) for s in specs
    }


@pytest.mark.parametrize(
    "plan",
    [None, {}, {"promotion_gates": []}, {"promotion_gates": {"x": 3, "y": {}, "z": {"maximum": "a lot"}}},
     {"promotion_gates": {"error_rate": {"maximum": 0.1, "minimum": 0.2}}}],
)  # fmt: skip
def test_a_plan_that_cannot_be_read_has_no_lines(plan: dict[str, Any] | None) -> None:
    """A record that nobody checked is no reason to show nothing: its gates stand there without a line."""
    assert lines_of(plan) == {}


def test_rungs_say_where_the_candidate_is() -> None:
    """Climbed, stood on, to come; after a rollback the one it fell from; of an unknown stage nothing is claimed."""
    held = next(d for d in logs_of(story()).decisions if d.action is Action.HOLD)
    at, fell, lost = (
        held.model_copy(update={"stage": "canary", "weight": 5}),
        held.model_copy(update={"action": Action.ROLLBACK, "from_stage": "50", "stage": "shadow", "weight": 0}),
        held.model_copy(update={"stage": "elsewhere"}),
    )

    assert [r.label for r in rungs(LADDER, at)] == ["shadow", "canary (5 %)", "50 %", "100 %"]
    assert [r.state for r in rungs(LADDER, at)] == [
        RungState.CLIMBED, RungState.HERE, RungState.AHEAD, RungState.AHEAD,
    ]  # fmt: skip
    assert [r.state for r in rungs(LADDER, fell)] == [
        RungState.CLIMBED, RungState.CLIMBED, RungState.FELL, RungState.AHEAD,
    ]  # fmt: skip
    assert {r.state for r in rungs(LADDER, lost)} == {RungState.AHEAD}


def test_the_worst_row_comes_first() -> None:
    """fail, error, inconclusive, pass; of equal ones those that decide; a check has no line of a plan."""
    said = [("a", "pass", True), ("b", "fail", False), ("c", "inconclusive", True), ("d", "fail", True)]
    verdicts = tuple(VerdictRecord(gate=g, verdict=v, required=r, reason="x", numbers={}) for g, v, r in said)
    decision = logs_of(story()).decisions[0].model_copy(update={"verdicts": verdicts})
    told = rows(decision, {})

    assert [row.line.gate for row in told] == ["d", "b", "c", "a"]
    assert told[0].line == check_line("d")
    assert told[0].value is None
