from __future__ import annotations

from paritygate.schemas.decision import Action, GateDecision
from paritygate.streams.decide import Chain


def decision(sequence: int, before: GateDecision | None = None, reason: str = "so") -> GateDecision:
    return GateDecision(
        rollout_id="r", sequence=sequence, previous=before.digest() if before else "", action=Action.HOLD,
        stage="shadow", weight=0, from_stage="shadow", reason_code="test", reason=reason, at_ms=1,
        baseline_version="1", candidate_version="2", policy_digest="p", evidence_digest="e",
    )  # fmt: skip


ZERO = decision(0)
ONE = decision(1, ZERO)


def test_own_decisions_are_ours() -> None:
    """What this decider derived, in order, and each repetition of it."""
    chain = Chain([ZERO])
    two = decision(2, ONE)
    chain.derived(ONE)
    chain.derived(two)
    assert [chain.is_ours(d.to_bytes()) for d in (ZERO, ONE, ONE, two, ONE)] == [True] * 5


def test_another_content_that_was_first_is_not_ours() -> None:
    """Every reader takes the first that continues the chain; what we derived for that place counts no more."""
    chain = Chain([ZERO])
    chain.derived(ONE)
    assert not chain.is_ours(decision(1, ZERO, "another").to_bytes())


def test_decision_that_we_have_not_derived_is_not_ours() -> None:
    """Another decider is ahead: fold again, with its decision in the record."""
    assert not Chain([ZERO]).is_ours(ONE.to_bytes())
    assert not Chain([]).is_ours(ZERO.to_bytes())


def test_forks_behind_ours_are_no_matter() -> None:
    """What nobody obeys is passed over: a second content of a place, a gap, another chain, junk."""
    chain = Chain([ZERO])
    chain.derived(ONE)
    assert chain.is_ours(ONE.to_bytes())
    late = decision(1, ZERO, "another")
    for value in (late.to_bytes(), decision(2, late).to_bytes(), decision(5, ONE).to_bytes(), b"junk", b""):
        assert chain.is_ours(value)
