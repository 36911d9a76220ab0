"""The state is the fold over a chain of decisions; what breaks the chain is refused."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.rollouts.state import ChainError, RolloutState, RolloutStatus
from paritygate.schemas.decision import Action, GateDecision
from tests.unit.rollouts.conftest import plan

PLAN = plan()


def decision(after: RolloutState | None, **changes: Any) -> GateDecision:
    fields: dict[str, Any] = {
        "rollout_id": "r1",
        "sequence": 0 if after is None else after.sequence + 1,
        "previous": "" if after is None else after.head,
        "action": Action.HOLD,
        "stage": "shadow" if after is None else after.stage.name,
        "weight": 0 if after is None else after.stage.weight,
        "from_stage": "shadow",
        "reason_code": "started" if after is None else "more_evidence",
        "reason": "because",
        "at_ms": 7 if after is None else after.at_ms + 1,
        "baseline_version": "v1",
        "candidate_version": "v2",
        "policy_digest": PLAN.digest(),
        "evidence_digest": "e",
    }
    return GateDecision(**{**fields, **changes})


START = RolloutState.started(PLAN, decision(None))
UP = {"action": Action.PROMOTE, "stage": "5", "weight": 5, "reason_code": "proven"}
DOWN = {"action": Action.ROLLBACK, "stage": "shadow", "weight": 0, "reason_code": "gate_failed"}


def test_a_rollout_starts_in_the_shadow() -> None:
    """Decision 0 puts it on the ground, running; every window counts for the first stage."""
    assert (START.stage.name, START.status, START.sequence) == ("shadow", RolloutStatus.RUNNING, 0)
    assert START.stage_started_at_ms is None
    assert START.active


def test_a_promotion_starts_the_stage_above() -> None:
    """The new stage counts from the event time of the decision."""
    state = START.apply(decision(START, **UP))

    assert (state.stage.weight, state.stage_started_at_ms) == (5, state.at_ms)
    assert state.status is RolloutStatus.RUNNING


def test_the_top_is_promoted() -> None:
    """At 100 % the service is free for its next rollout."""
    state = START
    for weight in (5, 50, 100):
        state = state.apply(decision(state, **{**UP, "stage": str(weight), "weight": weight}))

    assert state.status is RolloutStatus.PROMOTED
    assert not state.active


def test_a_pause_lasts_until_it_is_resumed() -> None:
    """Holds in between keep it."""
    paused = START.apply(decision(START, reason_code="paused"))
    still = paused.apply(decision(paused, reason_code="still_paused"))
    resumed = still.apply(decision(still, reason_code="resumed"))

    assert (paused.status, still.status, resumed.status) == (
        RolloutStatus.PAUSED, RolloutStatus.PAUSED, RolloutStatus.RUNNING,
    )  # fmt: skip


def test_a_rollback_leads_to_the_ground_and_is_final() -> None:
    """After it no decision is accepted, not even a second rollback."""
    live = START.apply(decision(START, **UP))
    over = live.apply(decision(live, **DOWN))

    assert (over.status, over.stage.weight) == (RolloutStatus.ROLLED_BACK, 0)
    for later in ({}, UP, DOWN):
        with pytest.raises(ChainError, match="follows a rollback, which is final"):
            over.apply(decision(over, **later))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sequence": 3}, "does not continue the chain"),
        ({"sequence": 0}, "does not continue the chain"),
        ({"previous": "forged"}, "does not continue the chain"),
        ({"rollout_id": "r2"}, "belongs to rollout r2"),
        ({"policy_digest": "other"}, "another plan"),
        ({**UP, "stage": "50", "weight": 50}, "which promote does not lead to"),
        ({**UP, "weight": 50}, "which promote does not lead to"),
        ({"stage": "5", "weight": 5}, "which hold does not lead to"),
        ({**DOWN, "weight": 5}, "which rollback does not lead to"),
    ],
)
def test_what_does_not_continue_the_chain_is_refused(changes: dict[str, Any], what: str) -> None:
    """Forks, gaps, forgeries, skipped stages and foreign plans change nothing."""
    with pytest.raises(ChainError, match=what):
        START.apply(decision(START, **changes))


@pytest.mark.parametrize(
    "changes", [{"sequence": 1}, {"previous": "x"}, {"reason_code": "proven"}, {"policy_digest": "other"}]
)
def test_only_decision_0_of_the_plan_starts_a_rollout(changes: dict[str, Any]) -> None:
    """A rollout cannot begin in the middle."""
    with pytest.raises(ChainError):
        RolloutState.started(PLAN, decision(None, **changes))
