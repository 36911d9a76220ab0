"""The pause after a rollback: the next rollout of the service may prove itself meanwhile, but not climb."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.rollouts.backtest import Backtest
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.replay import Refold, replay
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import WINDOW_MS, command, plan, windows

COOL_S = 20


class Story:
    """Rollouts one after the other on one time axis, and a replay of all of it at the end."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.commands: list[Command] = []
        self.reports: list[WindowReport] = []
        self.decisions: list[GateDecision] = []
        self.window = 0

    def say(self, kind: str, rollout: str, *, stage: str | None = None, **changes: Any) -> GateDecision:
        said = command(kind, rollout, **changes).model_copy(update={"reason": "because", "stage": stage})
        self.commands.append(said)
        self.decisions += self.fold.apply_command(len(self.commands) - 1, said)
        return self.decisions[-1]

    def windows(self, count: int, rollout: str, **of: Any) -> GateDecision:
        for r in windows(self.window, self.window + count, rollout=rollout, live=30, **of):
            self.reports.append(r)
            self.decisions += self.fold.apply_report(len(self.reports) - 1, r)
        self.window += count
        return self.decisions[-1]

    def rungs(self, rollout: str) -> list[GateDecision]:
        return [d for d in self.decisions if d.rollout_id == rollout and d.action is Action.PROMOTE]

    def close(self) -> None:
        """Auditors, and a decider that starts again, arrive at the same bytes."""
        commands, reports = list(enumerate(self.commands)), list(enumerate(self.reports))
        told = replay(self.decisions, commands, reports)
        assert told.identical, told.first_difference
        again = Refold(self.decisions, commands, skip_settled=True)
        for offset, r in reports[again.windows_first :]:
            assert again.apply_report(offset, r) == []
        assert again.differences == []


@pytest.fixture
def story() -> Story:
    """Rollout r1 was rolled back by its gates a moment ago."""
    story = Story()
    story.say("start", "r1")
    assert story.windows(3, "r1", errors=50).action is Action.ROLLBACK
    return story


def test_the_next_rollout_does_not_climb_until_the_pause_is_over(story: Story) -> None:
    """It holds with cool_down in event time, says how long still, and climbs at the first look after it."""
    back_ms = story.decisions[-1].at_ms
    story.say("start", "r2", cool_down_seconds=COOL_S)
    held = story.windows(6, "r2")
    assert held.reason_code == "cool_down"
    assert "service fraud was rolled back a short time ago" in held.reason
    assert f"of the pause of {COOL_S} s are left" in held.reason
    story.windows(COOL_S, "r2")

    first = story.rungs("r2")[0]
    assert back_ms + COOL_S * 1000 <= first.at_ms < back_ms + COOL_S * 1000 + WINDOW_MS
    story.close()


def test_a_pause_and_a_resume_make_it_neither_shorter_nor_longer(story: Story) -> None:
    """It is counted from the rollback, whatever anybody says meanwhile."""
    back_ms = story.decisions[-1].at_ms
    story.say("start", "r2", cool_down_seconds=COOL_S)
    story.windows(5, "r2")
    story.say("pause", "r2")
    story.windows(5, "r2")
    story.say("resume", "r2")
    assert story.windows(1, "r2").reason_code == "cool_down"
    story.windows(COOL_S, "r2")

    assert back_ms + COOL_S * 1000 <= story.rungs("r2")[0].at_ms < back_ms + COOL_S * 1000 + WINDOW_MS
    story.close()


def test_only_a_promotion_by_force_passes_over_it(story: Story) -> None:
    """A person who says why; an approval alone is not enough, and is asked for when the pause is over."""
    stages = [
        {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100, "approval": "required"},
        {"weight": 5, "minimum_seconds": 2, "minimum_pairs": 100},
        {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
    ]
    story.say("start", "r2", cool_down_seconds=COOL_S, stages=stages)
    story.windows(5, "r2")
    story.say("approve", "r2", stage="shadow")
    assert story.windows(3, "r2").reason_code == "cool_down"
    forced = story.say("promote", "r2", stage="shadow")

    assert (forced.action, forced.reason_code) == (Action.PROMOTE, "forced")
    assert "against cool_down" in forced.reason
    story.close()


def test_a_rollback_by_hand_counts_too_and_no_time_runs_out_meanwhile() -> None:
    """A person had a reason; and to wait for the pause is no lack of proof."""
    story = Story()
    story.say("start", "r1")
    story.windows(5, "r1")
    story.say("rollback", "r1")
    stages = [
        {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100, "maximum_seconds": 5},
        {"weight": 5, "minimum_seconds": 2, "minimum_pairs": 100},
        {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
    ]
    story.say("start", "r2", cool_down_seconds=COOL_S, stages=stages, on_timeout="rollback")

    assert story.windows(12, "r2").reason_code == "cool_down"
    story.close()


def test_a_bad_candidate_is_rolled_back_during_the_pause(story: Story) -> None:
    """It stops promotions and nothing else."""
    story.say("start", "r2", cool_down_seconds=COOL_S)
    story.windows(5, "r2")

    assert story.windows(3, "r2", errors=50).reason_code == "gate_failed"
    story.close()


@pytest.mark.parametrize("end", ["abandon", "rollback before any report", "other service", "no pause asked for"])
def test_what_is_no_rollback_of_this_service_starts_no_pause(end: str) -> None:
    """Given up without judgement, ended before anything was seen, another service's, or a plan without a pause."""
    story = Story()
    story.say("start", "r1", service="search" if end == "other service" else "fraud")
    if end != "rollback before any report":
        story.windows(3, "r1")
    story.say("abandon" if end == "abandon" else "rollback", "r1")
    story.say("start", "r2", cool_down_seconds=0 if end == "no pause asked for" else COOL_S)
    story.windows(5, "r2")

    assert story.rungs("r2")
    assert "cool_down" not in {d.reason_code for d in story.decisions}
    story.close()


def test_the_last_rollback_counts_and_a_promoted_rollout_between_changes_nothing(story: Story) -> None:
    """The pause runs from the newest rollback of the service, also where that was taken back at 100 %."""
    story.say("start", "r2")
    story.windows(12, "r2")
    assert story.rungs("r2")[-1].weight == 100
    story.windows(2, "r2", errors=60)
    back_ms = story.decisions[-1].at_ms
    assert story.decisions[-1].action is Action.ROLLBACK
    story.say("start", "r3", cool_down_seconds=COOL_S)
    story.windows(COOL_S + 5, "r3")

    assert story.rungs("r3")[0].at_ms >= back_ms + COOL_S * 1000
    story.close()


def test_a_backtest_knows_of_the_rollback_before(story: Story) -> None:
    """The policy of the record gives the record, its pause included; one without a pause climbs at once."""
    story.say("start", "r2", cool_down_seconds=COOL_S)
    story.windows(COOL_S + 6, "r2")
    found = {}
    for cool_s in (COOL_S, 0):
        policy = plan(rollout="r2", cool_down_seconds=cool_s)
        test = Backtest(policy, "r2", story.decisions, list(enumerate(story.commands)))
        for offset, report in enumerate(story.reports):
            test.apply_report(offset, report)
        found[cool_s] = test.finish()

    assert found[COOL_S].identical
    first = next(d for d in found[0].decisions if d.action is Action.PROMOTE)
    assert first.at_ms < story.rungs("r2")[0].at_ms
