from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.producers.ledger import Ledger, Loss
from paritygate.schemas.prediction import ARMS, Arm

END = st.sampled_from(["full", "closed_before", "waiting", "invalid", "closed", "in_flight", "delivered", "failed"])


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(END, st.sampled_from(ARMS))))
def test_every_event_ends_in_exactly_one_bin(ends: list[tuple[str, Arm]]) -> None:
    """Whatever becomes of the events, offered equals the sum of the bins, and losses are owed per arm."""
    ledger, lost = Ledger(), dict.fromkeys(ARMS, 0)
    for end, arm in ends:
        if end in ("full", "closed_before"):
            ledger.lost(Loss.QUEUE_FULL if end == "full" else Loss.CLOSED, arm, was_queued=False)
        else:
            ledger.queued()
        if end in ("invalid", "closed"):
            ledger.lost(Loss(end), arm, was_queued=True)
        if end in ("in_flight", "delivered", "failed"):
            ledger.sent()
        if end == "delivered":
            ledger.delivered()
        if end == "failed":
            ledger.lost(Loss.DELIVERY, arm, was_queued=True)
        lost[arm] += end not in ("waiting", "in_flight", "delivered")

    s = ledger.stats()
    losses = s["dropped_queue_full"] + s["dropped_invalid"] + s["dropped_closed"] + s["failed_delivery"]
    assert s["offered"] == len(ends) == s["waiting"] + s["in_flight"] + s["delivered"] + losses
    assert ledger.pending() == s["waiting"] + s["in_flight"]
    assert {arm: ledger.take_missing(arm) for arm in ARMS} == lost


def test_missing_answers_are_handed_out_once_and_can_be_given_back() -> None:
    """A report that was lost itself puts its count back, and it is reported again."""
    ledger = Ledger()
    ledger.lost(Loss.QUEUE_FULL, Arm.CANDIDATE, was_queued=False)

    taken = ledger.take_missing(Arm.CANDIDATE)
    assert (taken, ledger.take_missing(Arm.CANDIDATE), ledger.take_missing(Arm.BASELINE)) == (1, 0, 0)

    ledger.give_back(Arm.CANDIDATE, taken)
    assert ledger.take_missing(Arm.CANDIDATE) == 1


def test_a_hook_that_fails_costs_nothing() -> None:
    """The metrics' hook sees every loss, and its own error goes no further."""
    seen: list[Loss] = []

    def hook(reason: Loss) -> None:
        seen.append(reason)
        raise RuntimeError

    ledger = Ledger(hook)
    ledger.lost(Loss.INVALID, None, was_queued=False)

    assert seen == [Loss.INVALID]
    assert ledger.stats()["dropped_invalid"] == 1
