from __future__ import annotations

import pytest

from paritygate.cli.finding import Result
from paritygate.cli.routers import router_check
from paritygate.schemas.ack import Refusal, RouterAck

FORGED = Refusal(offset=17, reason="it is not signed", count=2)


def ack(router: str, *, rollout: str = "r1", state: str = "applied", refused: Refusal | None = None) -> RouterAck:
    return RouterAck(
        rollout_id=rollout, router_id=router, sequence=1, weight=5, applied_at_ms=1, state=state, refused=refused
    )


@pytest.mark.parametrize(
    ("acks", "result", "said"),
    [
        ([], Result.SKIP, "no router has reported"),
        ([ack("a", rollout="over", refused=FORGED)], Result.SKIP, "no router has reported"),
        ([ack("a"), ack("b")], Result.OK, "2 router(s) of 1 rollout(s) that run refuse nothing"),
        (
            [ack("a", refused=FORGED), ack("b")],
            Result.WARN,
            "a refused 2, the last at offset 17: it is not signed; 2",
        ),
        ([ack("a", refused=FORGED), ack("a")], Result.OK, "1 router(s) of 1 rollout(s) that run refuse nothing"),
        ([ack("a", state="killed")], Result.WARN, "a is killed; 1 router(s)"),
    ],
)
def test_the_newest_word_of_each_router_counts(acks: list[RouterAck], result: Result, said: str) -> None:
    """Routers of rollouts that are over are passed over; who restarted has refused nothing yet."""
    check = router_check(acks, {"r1"})

    assert (check.name, check.result) == ("routers", result)
    assert check.detail.startswith(said)


def test_without_a_rollout_there_is_nothing_to_say() -> None:
    """Skipped, not taken for good."""
    assert router_check([ack("a")], ()).result is Result.SKIP
