"""Acknowledgements as a condition: a stage is left upward only when the live routers have applied it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.rollouts.backtest import Backtest, Backtested
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.replay import replay
from paritygate.rollouts.roll import LIVE_MS, MAX_GROUPS, Roll
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import RouterGroup, WindowReport
from tests.unit.rollouts.conftest import command, plan, windows


def group(sequence: int, weight: int, state: str = "applied", *named: str) -> RouterGroup:
    named = named or ("router-a",)
    return RouterGroup(sequence=sequence, weight=weight, state=state, count=len(named), named=named)


class Story:
    """One rollout under a plan, window by window, with what its routers have acknowledged by then."""

    def __init__(self, **changes: Any) -> None:
        self.fold = Fold()
        self.commands: list[Command] = []
        self.reports: list[WindowReport] = []
        self.decisions: list[GateDecision] = []
        self.say(command("start", **changes))
        self.heard = 0

    def say(self, said: Command) -> None:
        self.commands.append(said)
        self.decisions += self.fold.apply_command(len(self.commands) - 1, said)

    def windows(self, count: int, routers: Sequence[RouterGroup] = (), *, errors: int = 0) -> GateDecision:
        """So many windows pass; what was said last, be it before them."""
        first = len(self.reports) // 2
        self.heard += 1
        for r in windows(first, first + count, live=30, errors=errors):
            told = replace(r, acks_next=self.heard, routers=tuple(routers))
            self.reports.append(told)
            self.decisions += self.fold.apply_report(len(self.reports) - 1, told)
        return self.decisions[-1]

    @property
    def entered(self) -> int:
        return self.fold.states()["r1"].entered

    @property
    def rungs(self) -> list[str]:
        return [d.stage for d in self.decisions if d.action is Action.PROMOTE]

    def close(self) -> None:
        """An auditor who has the two logs derives the same bytes."""
        told = replay(self.decisions, list(enumerate(self.commands)), list(enumerate(self.reports)))
        assert told.identical, told.first_difference

    def backtest(self, **changes: Any) -> Backtested:
        test = Backtest(plan(**changes), "r1", self.decisions, list(enumerate(self.commands)))
        for offset, report in enumerate(self.reports):
            test.apply_report(offset, report)
        return test.finish()


def test_a_stage_is_left_only_when_the_live_routers_have_applied_it() -> None:
    """One of two that stands at the stage before holds, and is named; once it has obeyed the next look promotes."""
    story = Story()
    story.windows(4, [group(0, 0)])
    assert story.rungs == ["5"]
    entered = story.entered
    held = story.windows(20, [group(0, 0, "applied", "late"), group(entered, 5, "applied", "good")])
    assert held.reason_code == "ack_missing"
    assert held.reason.endswith("; 1 of 2 routers has not applied stage 5 (5 %): late (decision 0, 0 %)")
    assert story.rungs == ["5"]
    story.windows(1, [group(entered, 5, "applied", "good", "late")])

    assert story.rungs == ["5", "50"]
    story.close()


@pytest.mark.parametrize("state", ["killed", "breaker", "lapsed"])
def test_a_router_that_stopped_by_itself_holds_a_promotion(state: str) -> None:
    """Also in the shadow, where its weight is the one decided: a person or its breaker knows something."""
    story = Story()
    held = story.windows(10, [group(0, 0, state)])

    assert held.reason_code == "ack_missing"
    assert held.reason.endswith(f"1 of 1 router has not applied stage shadow (0 %): router-a ({state})")
    story.close()


def test_an_acknowledgement_of_the_same_weight_in_an_earlier_life_is_none() -> None:
    """It must be of the decision that led into the stage or of a later one."""
    story = Story()
    story.windows(4, [group(0, 0)])
    assert story.windows(10, [group(story.entered - 1, 5)]).reason_code == "ack_missing"


def test_without_any_router_nothing_changes_unless_the_plan_asks() -> None:
    """Who routes by other means is not held up; a plan that requires acknowledgements says what it waits for."""
    known, ignored, required = Story(), Story(acknowledgements="ignored"), Story(acknowledgements="required")
    for story in (known, ignored, required):
        story.windows(10)
        story.close()

    assert known.rungs == ignored.rungs == ["5", "50", "100"]
    assert required.rungs == []
    assert required.decisions[-1].reason_code == "ack_missing"
    assert required.decisions[-1].reason.endswith(
        "no router has said on router.acks.v1 that it applied stage shadow (0 %), and the plan says "
        "acknowledgements: required"
    )


def test_ignored_acknowledgements_hold_nothing() -> None:
    """Whatever the routers say."""
    story = Story(acknowledgements="ignored")
    story.windows(10, [group(0, 0, "killed")])

    assert story.rungs == ["5", "50", "100"]


def test_routers_that_obey_change_no_byte() -> None:
    """The decisions are those of a rollout whose routers say nothing."""
    silent, heard = Story(), Story()
    for _ in range(10):
        silent.windows(1)
        heard.windows(1, [group(heard.entered, heard.fold.states()["r1"].stage.weight)])

    assert [d.to_bytes() for d in heard.decisions] == [d.to_bytes() for d in silent.decisions]


def test_a_rollback_waits_for_no_router() -> None:
    """Routers that do not obey are no reason to leave users with a bad candidate."""
    story = Story()
    story.windows(4, [group(0, 0)])
    story.windows(3, [group(0, 0)], errors=50)

    assert story.decisions[-1].action is Action.ROLLBACK


def test_a_person_may_promote_by_force_without_the_routers() -> None:
    """The promotion says what it overruled."""
    story = Story()
    story.windows(10, [group(0, 0, "killed")])
    story.say(command("promote").model_copy(update={"stage": "shadow", "reason": "that one is being replaced"}))

    assert story.decisions[-1].reason_code == "forced"
    assert "against ack_missing" in story.decisions[-1].reason
    story.close()


def test_no_time_runs_out_while_routers_are_waited_for() -> None:
    """It is no lack of proof: on_timeout does not roll back a candidate for a router's sake."""
    stages = [
        {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100, "maximum_seconds": 4},
        {"weight": 5, "minimum_seconds": 2, "minimum_pairs": 100},
        {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
    ]
    story = Story(stages=stages, on_timeout="rollback")

    assert story.windows(20, [group(0, 0, "lapsed")]).reason_code == "ack_missing"


def test_what_was_heard_later_counts_whatever_comes_first() -> None:
    """Reports of workers that have heard less take nothing back."""
    fold = Fold()
    fold.apply_command(0, command("start"))
    made = []
    for i, r in enumerate(windows(0, 10, live=30)):
        behind = replace(r, acks_next=3, routers=(group(0, 0, "killed"),))
        ahead = replace(r, acks_next=9, routers=(group(0, 0),))
        made += fold.apply_report(i, ahead if i == 0 else behind)

    assert [d.stage for d in made if d.action is Action.PROMOTE] == ["5"]


def test_a_backtest_of_the_policy_of_the_record_heeds_them_and_another_one_cannot() -> None:
    """Routers obeyed the decisions of the record; what they would have said to others is not known."""
    story = Story()
    story.windows(10, [group(0, 0, "killed")])
    story.windows(10, [group(0, 0)])
    same, other = story.backtest(), story.backtest(on_timeout="rollback")

    assert same.identical
    assert same.unknowable == ()
    assert other.decisions[1].at_ms < next(d for d in story.decisions if d.action is Action.PROMOTE).at_ms
    assert any("no acknowledgement is waited for" in what for what in other.unknowable)


def test_a_plan_that_does_not_name_the_new_settings_is_the_plan_it_was() -> None:
    """Its digest is that of earlier builds, so what is recorded stays readable."""
    assert {"acknowledgements", "cool_down_seconds"}.isdisjoint(plan().to_plain())
    assert plan(acknowledgements="known", cool_down_seconds=0).digest() == plan().digest()
    assert len({plan(acknowledgements=a).digest() for a in ("known", "required", "ignored")}) == 3


def ack(router: str, sequence: int = 0, state: str = "applied", rollout: str = "r1") -> RouterAck:
    return RouterAck(
        rollout_id=rollout, router_id=router, sequence=sequence, weight=0, applied_at_ms=1, state=state
    )


def test_routers_that_said_the_same_are_one_group_and_three_are_named() -> None:
    """The newest word of each counts; those furthest behind come first; rollouts are apart."""
    roll = Roll()
    for offset, said in enumerate([*(ack(f"r{n}", 7) for n in range(9)), ack("r0", 3), ack("x", 1, rollout="r2")]):
        roll.take(offset, 1_000, said)
    roll.take(11, 1_000, None)

    behind, rest = roll.of("r1")
    assert (behind.sequence, behind.count, behind.named) == (3, 1, ("r0",))
    assert (rest.sequence, rest.count, rest.named) == (7, 8, ("r1", "r2", "r3"))
    assert [g.named for g in roll.of("r2")] == [("x",)]
    assert roll.of("r3") == ()
    assert roll.next == 12


def test_a_router_is_live_for_so_long_after_its_last_word_or_until_it_leaves() -> None:
    """By the broker's times alone: the newest word of the rollout is the present."""
    roll = Roll()
    roll.take(0, 0, ack("silent"))
    roll.take(1, LIVE_MS, ack("there"))
    assert roll.of("r1")[0].count == 2
    roll.take(2, LIVE_MS + 1, ack("there"))
    assert roll.of("r1")[0].named == ("there",)
    roll.take(3, LIVE_MS + 2, ack("there", state="left"))

    assert roll.of("r1") == ()


def test_the_roll_is_bounded_and_keeps_who_is_behind() -> None:
    """A thousand routers with a thousand words do not swell every report."""
    roll = Roll()
    for n in range(1_000):
        roll.take(n, 1, ack(f"r{n}", n))

    assert [g.sequence for g in roll.of("r1")] == list(range(MAX_GROUPS))


words = st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.sampled_from(["applied", "killed", "left"]))


@given(st.lists(st.tuples(words, st.integers(0, LIVE_MS)), max_size=30))
def test_the_roll_holds_the_last_word_of_each_and_no_other(said: list[tuple[tuple[str, int, str], int]]) -> None:
    """Whatever the order, as long as nobody was silent for too long."""
    roll, last = Roll(), {}
    for offset, ((router, sequence, state), at_ms) in enumerate(said):
        roll.take(offset, at_ms, ack(router, sequence, state))
        last[router] = sequence, state
    last = {r: word for r, word in last.items() if word[1] != "left"}
    found = {name: (g.sequence, g.state) for g in roll.of("r1") for name in g.named}

    assert sum(g.count for g in roll.of("r1")) == len(last)
    assert found.items() <= last.items()
