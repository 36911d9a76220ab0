from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.router.catch_up import CatchUp
from paritygate.router.state import Result, RoutingState
from paritygate.schemas.decision import Action, GateDecision

LAW = settings(derandomize=True, max_examples=200, deadline=None)


def decision(
    sequence: int, weight: int = 5, action: Action = Action.PROMOTE, rollout_id: str = "r1", reason: str = "ok"
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight),
        weight=weight,
        from_stage="shadow",
        reason_code="test",
        reason=reason,
        at_ms=sequence,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
    )


DECISIONS = st.lists(
    st.builds(
        decision,
        st.integers(0, 8),
        st.integers(0, 100),
        st.sampled_from(Action),
        st.sampled_from(["r1", "r1", "r1", "r2"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=25,
)
EMPTY = RoutingState(rollout_id="r1")


def fold(decisions: list[GateDecision], state: RoutingState = EMPTY) -> RoutingState:
    for d in decisions:
        state = state.obey(d)
    return state


@LAW
@given(DECISIONS)
def test_nothing_raises_the_weight_after_a_rollback(decisions: list[GateDecision]) -> None:
    """From the first rollback of this rollout on, the weight is 0 for good."""
    state, seen = EMPTY, False
    for d in decisions:
        state = state.obey(d)
        seen = seen or (d.rollout_id == "r1" and d.action is Action.ROLLBACK)
        assert state.rolled_back is seen
        assert state.weight == 0 or not seen


@LAW
@given(DECISIONS)
def test_sequence_never_falls(decisions: list[GateDecision]) -> None:
    """The sequence in force rises with every decision that is obeyed, a late rollback aside."""
    states = [fold(decisions[:n]) for n in range(len(decisions) + 1)]

    assert all(a.sequence <= b.sequence for a, b in pairwise(states))
    assert all(a.sequence < b.sequence or b.rolled_back or a.digest == b.digest for a, b in pairwise(states))


@LAW
@given(DECISIONS)
def test_reading_the_log_twice_changes_only_counts(decisions: list[GateDecision]) -> None:
    """Replaying the whole log on its own result leaves weight, sequence and digest as they are."""
    once = fold(decisions)

    twice = fold(decisions, once)

    assert (twice.weight, twice.sequence, twice.digest) == (once.weight, once.sequence, once.digest)


@LAW
@given(DECISIONS)
def test_every_decision_is_obeyed_or_counted(decisions: list[GateDecision]) -> None:
    """Obeyed plus ignored equals read: none is lost silently."""
    obeyed, state = 0, EMPTY
    for d in decisions:
        obeyed += state.result_of(d) is Result.APPLIED
        state = state.obey(d)

    assert obeyed + sum(state.ignored.values()) == len(decisions)


@LAW
@given(st.permutations([decision(i, w) for i, w in enumerate((0, 1, 5, 25, 50))]))
def test_order_does_not_matter_without_forks(decisions: list[GateDecision]) -> None:
    """Any arrival order of one chain ends at its newest decision."""
    state = fold(decisions)

    assert (state.sequence, state.weight) == (4, 50)


def test_results_name_the_reason() -> None:
    """Each kind of decision that is not obeyed has a name of its own."""
    first = decision(3, 25)
    state = fold([first])
    back = decision(4, 0, Action.ROLLBACK)

    assert state.result_of(first) is Result.DUPLICATE
    assert state.result_of(decision(3, 25, reason="other")) is Result.FORKED
    assert state.result_of(decision(2, 50)) is Result.STALE
    assert state.result_of(decision(4, 50, rollout_id="r2")) is Result.OTHER_ROLLOUT
    assert state.obey(back).result_of(decision(9, 100)) is Result.ABSORBED


def test_late_rollback_is_obeyed() -> None:
    """A rollback with an older or equal sequence is never blocked: lowering the weight is always safe."""
    assert fold([decision(6, 50), decision(6, 0, Action.ROLLBACK)]).weight == 0
    assert fold([decision(6, 50), decision(2, 0, Action.ROLLBACK), decision(7, 100)]).weight == 0


def test_rollback_has_weight_0_whatever_it_says() -> None:
    """A rollback record that carries a weight still puts the candidate to 0."""
    assert fold([decision(1, 50), decision(2, 30, Action.ROLLBACK)]).weight == 0


@LAW
@given(DECISIONS, DECISIONS)
def test_caught_up_state_is_the_fold(history: list[GateDecision], live: list[GateDecision]) -> None:
    """Once the end was reached, the state in force equals the plain fold of the whole log."""
    follow = CatchUp(EMPTY)
    for d in history:
        follow.read(d)
    follow.reach_end()
    for d in live:
        follow.read(d)

    plain = fold(history + live)
    got = follow.state
    assert (got.weight, got.sequence, got.digest) == (plain.weight, plain.sequence, plain.digest)
    assert (follow.decision.digest() if follow.decision else "") == got.digest


@LAW
@given(DECISIONS, st.integers(0, 100))
def test_history_never_raises_the_weight(history: list[GateDecision], boot_weight: int) -> None:
    """Before the end of the log the weight is that of the boot, or 0 once a rollback was read."""
    boot_decision = decision(2, boot_weight)
    follow = CatchUp(EMPTY.obey(boot_decision), boot_decision)
    for d in history:
        follow.read(d)
        assert follow.state.weight == (0 if follow.state.rolled_back else boot_weight)


def test_log_that_is_older_than_the_boot_is_noticed() -> None:
    """A re-created control topic leaves the router where it was, and it says so."""
    boot_decision = decision(7, 25)
    follow = CatchUp(EMPTY.obey(boot_decision), boot_decision)
    follow.read(decision(0, 0))

    follow.reach_end()

    assert follow.behind
    assert follow.state.weight == 25
    assert not follow.state.ignored
