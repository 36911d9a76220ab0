"""A person's word beside the rules: approvals, promotions by force, ends without judgement, acknowledgements."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.rollouts.fold import Fold
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.replay import replay
from paritygate.rollouts.state import RolloutStatus
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PlanError
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import command, plain_plan, windows


def asking(*stages: int, **changes: Any) -> dict[str, Any]:
    """A plan whose stages at these places ask for an approval."""
    plain = plain_plan(**changes)
    for i in stages:
        plain["stages"][i]["approval"] = "required"
    return plain


def say(kind: str, rollout: str = "r1", **fields: Any) -> Command:
    return command(kind, rollout).model_copy(update={"reason": "because", "actor": "bob", **fields})


class Story:
    """One fold and what it was told; at the end a replay must give the same decisions."""

    def __init__(self, plain: dict[str, Any] | None = None) -> None:
        self.fold = Fold()
        self.commands: list[tuple[int, Command]] = []
        self.reports: list[tuple[int, WindowReport]] = []
        self.decisions: list[GateDecision] = []
        self.window = 0
        self.say(command("start").model_copy(update={"plan": plain or plain_plan()}))

    def say(self, said: Command) -> list[GateDecision]:
        self.commands.append((len(self.commands), said))
        new = self.fold.apply_command(len(self.commands) - 1, said)
        self.decisions += new
        return new

    def pass_windows(self, count: int, **of: Any) -> list[GateDecision]:
        new: list[GateDecision] = []
        for r in windows(self.window, self.window + count, **of):
            self.reports.append((len(self.reports), r))
            new += self.fold.apply_report(len(self.reports) - 1, r)
        self.window += count
        self.decisions += new
        return new

    def refusal(self) -> str:
        return "; ".join(why for _, why in self.fold.take_rejected())

    def codes(self) -> list[str]:
        return [d.reason_code for d in self.decisions]

    def check(self) -> None:
        assert replay(self.decisions, self.commands, self.reports).identical


def test_a_proven_stage_waits_for_its_approval() -> None:
    """With everything proven the decider holds until a person approves; the promotion names them."""
    story = Story(asking(0))
    story.pass_windows(20)
    assert story.decisions[-1].reason_code == "approval_needed"
    assert "left only with an approval" in story.decisions[-1].reason
    assert story.decisions[-1].weight == 0

    (approved,) = story.say(say("approve", stage="shadow"))
    assert (approved.action, approved.reason_code) == (Action.HOLD, "approved")
    promoted = story.pass_windows(2, live=3)[0]
    assert (promoted.action, promoted.stage, promoted.reason_code) == (Action.PROMOTE, "5", "proven")
    assert "approved by bob: because" in promoted.reason
    story.check()


def test_an_approval_is_not_enough() -> None:
    """An approval that comes before the proof is kept, and moves nothing."""
    story = Story(asking(0))
    story.pass_windows(1)
    story.say(say("approve", stage="shadow"))
    assert story.decisions[-1].weight == 0
    assert all(d.action is Action.HOLD for d in story.decisions)

    story.pass_windows(20, live=3)
    assert story.codes().index("proven") > story.codes().index("approved")
    assert "approval_needed" not in story.codes()
    story.check()


def test_an_approval_ends_with_its_stage() -> None:
    """It cannot be given in advance, twice, for another stage, or where none is asked for."""
    story = Story(asking(0, 1))
    assert not story.say(say("approve", stage="5"))
    assert "it is in stage shadow, and the command speaks of 5" in story.refusal()
    assert not story.say(say("approve"))
    assert "speaks of none" in story.refusal()
    assert not story.say(say("approve", stage="shadow", reason=" "))
    assert "it gives no reason" in story.refusal()
    assert story.say(say("approve", stage="shadow"))
    assert not story.say(say("approve", stage="shadow"))
    assert "it is approved by bob: because" in story.refusal()

    story.pass_windows(30, live=3)
    assert story.decisions[-1].stage == "5"
    assert story.decisions[-1].reason_code == "approval_needed"
    story.say(say("approve", stage="5"))
    story.pass_windows(1, live=3)
    assert story.decisions[-1].stage == "50"
    assert not story.say(say("approve", stage="50"))
    assert "stage 50 asks for no approval" in story.refusal()
    story.check()


def test_waiting_for_a_person_is_no_timeout() -> None:
    """maximum_seconds runs against missing proof, not against a missing approval."""
    plain = asking(0, on_timeout="rollback")
    plain["stages"][0]["maximum_seconds"] = 10
    story = Story(plain)
    story.pass_windows(40)
    assert story.decisions[-1].reason_code == "approval_needed"
    assert story.fold.states()["r1"].status is RolloutStatus.RUNNING


def test_a_paused_rollout_keeps_its_approval() -> None:
    """An approval during a pause counts once the rollout is resumed."""
    story = Story(asking(0))
    story.pass_windows(20)
    story.say(say("pause"))
    story.say(say("approve", stage="shadow"))
    story.pass_windows(3)
    assert story.fold.states()["r1"].status is RolloutStatus.PAUSED
    assert story.decisions[-1].reason_code == "still_paused"
    story.say(say("resume"))
    story.pass_windows(1)
    assert story.decisions[-1].stage == "5"
    story.check()


def test_force_goes_one_stage_up_and_says_against_what() -> None:
    """A forced promotion carries actor, reason, the ruling it overrules and what the gates said."""
    story = Story(asking(0))
    story.pass_windows(1)
    held = story.decisions[-1].reason_code
    (forced,) = story.say(say("promote", stage="shadow"))

    assert (forced.action, forced.stage, forced.weight, forced.reason_code) == (Action.PROMOTE, "5", 5, "forced")
    assert forced.reason.startswith(f"forced by bob: because against {held} (")
    assert {v.gate for v in forced.verdicts} >= {"error_rate", "schema_validation_pass_rate"}
    story.pass_windows(1, live=3)
    assert story.decisions[-1].stage == "5"
    story.check()


def test_force_never_passes_a_failing_gate() -> None:
    """Where the evidence rolls back, the force is answered by a hold, and the next look by the rollback."""
    story = Story()
    story.pass_windows(1)
    story.fold._ledgers["r1"].take(windows(1, 2, errors=55)[0])  # evidence that no decision has seen yet
    (refused,) = story.say(say("promote", stage="shadow"))

    assert (refused.action, refused.reason_code, refused.stage) == (Action.HOLD, "force_refused", "shadow")
    assert refused.reason.startswith("not forced: error_rate")


def test_force_after_a_rollback_changes_nothing() -> None:
    """A rollback that was decided is final for every later command."""
    story = Story()
    story.pass_windows(2, errors=55)
    assert story.decisions[-1].action is Action.ROLLBACK
    for kind in ("promote", "approve", "pause", "resume", "rollback", "abandon"):
        assert not story.say(say(kind, stage="shadow"))
        assert "it is rolled back, which is final" in story.refusal()
    story.check()


def test_force_needs_traffic_a_stage_and_no_pause() -> None:
    """Before the first window nothing is known; another stage, a pause and the top are refused."""
    story = Story()
    (refused,) = story.say(say("promote", stage="shadow"))
    assert (refused.reason_code, refused.weight) == ("force_refused", 0)
    assert "nothing is known of the traffic yet" in refused.reason
    story.pass_windows(1)
    assert not story.say(say("promote", stage="5"))
    assert "it is in stage shadow" in story.refusal()
    story.say(say("pause"))
    assert not story.say(say("promote", stage="shadow"))
    assert "it is paused" in story.refusal()
    story.say(say("resume"))
    for stage in ("shadow", "5", "50"):
        assert story.say(say("promote", stage=stage))
    assert story.fold.states()["r1"].status is RolloutStatus.PROMOTED
    assert not story.say(say("promote", stage="100"))
    assert "nothing stands above" in story.refusal()
    story.check()


def test_two_forces_at_once_go_up_once() -> None:
    """Of two commands that saw the same stage the first in the log wins."""
    story = Story()
    story.pass_windows(1)
    assert story.say(say("promote", stage="shadow"))
    assert not story.say(say("promote", stage="shadow"))
    assert story.decisions[-1].stage == "5"


def test_abandoned_is_an_end_without_judgement() -> None:
    """Weight 0, a status and a reason code of its own, final, and its service is free."""
    story = Story()
    story.pass_windows(4, live=3)
    (end,) = story.say(say("abandon"))

    assert (end.action, end.weight, end.reason_code) == (Action.ROLLBACK, 0, "abandoned")
    assert end.reason == "abandoned without judgement by bob: because"
    assert story.fold.states()["r1"].status is RolloutStatus.ABANDONED
    assert not story.fold.states()["r1"].active
    assert not story.say(say("rollback"))
    assert "it is abandoned, which is final" in story.refusal()
    assert not story.pass_windows(5)
    assert story.say(command("start", "r2"))
    story.check()


def test_a_promoted_rollout_is_not_abandoned() -> None:
    """Taking all of the traffic from a promoted candidate is a rollback, and is called so."""
    story = Story()
    story.pass_windows(80, live=30)
    assert story.fold.states()["r1"].status is RolloutStatus.PROMOTED
    assert not story.say(say("abandon"))
    assert "a rollback takes the traffic from the candidate" in story.refusal()


def test_an_acknowledgement_changes_nothing() -> None:
    """It causes no decision, in a running rollout or a final one; one of a decision to come is refused."""
    story = Story()
    story.pass_windows(2, errors=55)
    before = story.fold.states()["r1"]
    newest = before.sequence
    assert not story.say(say("acknowledge", sequence=newest))
    assert story.refusal() == ""
    assert story.fold.states()["r1"] == before
    for sequence in (newest + 1, None):
        assert not story.say(say("acknowledge", sequence=sequence))
        assert "there is no such decision yet" in story.refusal()
    assert not story.say(say("acknowledge", sequence=0, reason=""))
    assert "it gives no reason" in story.refusal()
    story.check()


def test_high_impact_asks_for_a_review_at_its_end() -> None:
    """The decision that ends such a rollout, upward or not, says that a review is due; none before it does."""
    for end in ("rollback", "abandon", "promote"):
        story = Story(asking(2, impact="high"))
        story.pass_windows(1)
        for stage in ("shadow", "5", "50"):
            if end == "promote":
                story.say(say("promote", stage=stage))
        if end != "promote":
            story.say(say(end))
        *before, last = story.decisions
        assert last.reason.endswith("its impact is high: a review is due")
        assert not any("review" in d.reason for d in before)


def test_high_impact_needs_an_approval() -> None:
    """Written without one it is refused with its place; what an earlier build recorded is still read."""
    yaml = """rollout: r1
service: fraud
impact: high
baseline: {version: v1}
candidate: {version: v2}
owner: ann
rollback_condition: any gate fails
promotion_gates: {error_rate: {maximum: 0.1}}
"""
    with pytest.raises(PlanError, match=r"rollout.yaml:3:9 impact: high needs a review: write approval: required"):
        RolloutPlan.from_yaml(yaml, file="rollout.yaml")
    only_last = yaml + "stages: [{weight: 0}, {weight: 5}, {weight: 100, approval: required}]\n"
    with pytest.raises(PlanError, match="high needs a review"):
        RolloutPlan.from_yaml(only_last)
    assert RolloutPlan.from_yaml(only_last.replace("{weight: 5}", "{weight: 5, approval: required}")).reviewed
    assert not RolloutPlan.from_plain(plain_plan(impact="high")).reviewed


def test_a_plan_without_approvals_has_the_digest_it_always_had() -> None:
    """What earlier builds recorded under a plan is read under the same plan."""
    plan = RolloutPlan.from_plain(plain_plan())
    assert "approval" not in plan.to_plain()["stages"][0]
    assert plan.digest() == "b4e872b8f5455cba30008e34b637c8e6167f4d0b08d91204054efec628c87d0a"


def test_commands_of_earlier_builds_keep_their_bytes() -> None:
    """The kinds that were always there are written as before, and read."""
    old = (
        b'{"actor":"ann","issued_at_ms":1900000000000,"kind":"pause","plan":null,"reason":"",'
        b'"rollout_id":"r1","schema_version":1}'
    )
    assert command("pause").to_bytes() == old
    assert Command.from_bytes(old) == command("pause")
    assert Command.from_bytes(say("approve", stage="5").to_bytes()).stage == "5"
