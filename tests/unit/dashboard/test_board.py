"""The board is a fold of records: order between topics does not matter, and it stays bounded."""

from __future__ import annotations

import pytest

from paritygate.dashboard import board as boards
from paritygate.dashboard.board import Board, known
from paritygate.dashboard.freshness import Look, behind
from paritygate.dashboard.rollout import rollout_parts
from paritygate.rollouts.review import deeds_of
from paritygate.schemas.ack import Refusal, RouterAck
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.signature import COMMAND, DECISION, Signer, Trust, TrustedKeys
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, ROUTER_ACKS, WINDOWS
from tests.support.board import HEARD_MS, follower_of
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import command, windows
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC

LOGS = logs_of(story())
CLIMB = logs_of([command("start"), *windows(0, 6, live=5)])


def test_it_holds_what_the_decider_decided() -> None:
    """Every decision that counts, the plan, the outcome and the evidence of each rollout are there."""
    board = follower_of(LOGS).board

    assert {e.rollout_id: e.outcome for e in known(board.entries)} == {
        "r1": "rolled back", "s1": "rolled back", "r2": "running",
    }  # fmt: skip
    for rollout in ("r1", "s1", "r2"):
        entry = board.entries[rollout]
        assert entry.decisions == LOGS.of(rollout)
        assert entry.plan is not None
        assert entry.ledger is not None
    assert known(board.entries)[0].rollout_id == "r2"


def test_what_is_repeated_or_forked_changes_nothing() -> None:
    """A decision that is written twice, and one that does not continue the chain, are passed over."""
    board = follower_of(LOGS).board
    again = LOGS.of("r1")[3]
    forked = again.model_copy(update={"sequence": len(LOGS.of("r1"))})
    for decision in (again, forked):
        board.take(AUDIT.name, 999, HEARD_MS, b"r1", decision.to_bytes())

    assert board.entries["r1"].decisions == LOGS.of("r1")


def test_a_rollback_in_the_control_topic_is_for_good() -> None:
    """As routers do: the newest sequence is in force, and nothing follows a rollback."""
    board, chain = Board(), LOGS.of("s1")
    for decision in (chain[-1], chain[0], chain[-1].model_copy(update={"sequence": 99, "action": Action.PROMOTE})):
        board.take(DECISIONS.name, 0, HEARD_MS, b"s1", decision.to_bytes())

    assert board.entries["s1"].in_force == chain[-1]


def test_bad_records_are_counted() -> None:
    """What no reader understands is no reason to stop."""
    board = follower_of(LOGS).board
    for topic in (AUDIT.name, ROLLOUTS.name, ROUTER_ACKS.name):
        board.take(topic, 1000, HEARD_MS, b"x", b"{]")
    board.take(WINDOWS.name, 1000, HEARD_MS, b"r2|0|0", b"\xc3\x01nothing")
    board.take(DECISIONS.name, 1000, HEARD_MS, b"r1", None)

    assert dict(board.unread) == dict.fromkeys((AUDIT.name, ROLLOUTS.name, ROUTER_ACKS.name, WINDOWS.name), 1)


def test_the_order_between_topics_does_not_matter() -> None:
    """Decisions before commands give the same entry; a new rollout asks for its first windows once more."""
    board = Board()
    board.follow_open()
    for decision in CLIMB.decisions:
        board.take(AUDIT.name, decision.sequence, HEARD_MS, b"r1", decision.to_bytes())
    assert board.wanted_from is None
    board.take(ROLLOUTS.name, 0, HEARD_MS, b"r1", CLIMB.commands[0].to_bytes())

    assert board.wanted_from == CLIMB.decisions[0].windows_next
    assert board.entries["r1"].plan is not None


def test_what_no_key_speaks_for_was_said_by_nobody() -> None:
    """With keys: an unsigned command is told as such, unless a decision names it."""
    board, forged = Board(Trust(commands=TrustedKeys(PUBLIC, "pub"))), command("pause")
    for decision in CLIMB.decisions:
        board.take(AUDIT.name, decision.sequence, HEARD_MS, b"r1", decision.to_bytes())
    board.take(ROLLOUTS.name, 0, HEARD_MS, b"r1", CLIMB.commands[0].to_bytes())
    board.take(ROLLOUTS.name, 1, HEARD_MS, b"r1", forged.to_bytes())
    signed = Signer(PRIVATE, "key").headers(COMMAND, command("resume").to_bytes())
    board.take(ROLLOUTS.name, 2, HEARD_MS, b"r1", command("resume").to_bytes(), headers=signed)
    entry = board.entries["r1"]

    assert entry.doubted == dict.fromkeys((0, 1), "it is not signed")
    last = CLIMB.decisions[-1].model_copy(update={"commands_next": 3})
    deeds = deeds_of("r1", [*CLIMB.decisions[:-1], last], entry.commands, entry.doubted)
    assert [d.came_of_it for d in deeds] == [
        "decision 0", "no decision: it is not signed", "no decision: refused",
    ]  # fmt: skip


def test_a_forged_decision_is_not_on_the_board() -> None:
    """With keys of deciders: neither in the record nor in force, though it was first; the genuine ones are."""
    signer, board = Signer(PRIVATE, "key"), Board(Trust(decisions=TrustedKeys(PUBLIC, "pub")))

    def take(topic: str, decision: GateDecision, *, signed: bool = False) -> None:
        value = decision.to_bytes()
        headers = signer.headers(DECISION, value) if signed else None
        board.take(topic, decision.sequence, HEARD_MS, b"r1", value, headers=headers)

    for i, decision in enumerate(CLIMB.decisions):
        if i == 2:
            forged = decision.model_copy(update={"weight": 100, "stage": "100", "reason": "forged"})
            take(AUDIT.name, forged)
            take(DECISIONS.name, forged.model_copy(update={"sequence": 1000}))
        take(AUDIT.name, decision, signed=i not in (1, 2))
        take(DECISIONS.name, decision, signed=True)
    entry = board.entries["r1"]

    assert entry.decisions == CLIMB.decisions
    assert entry.in_force == CLIMB.decisions[-1]


def test_a_long_rollout_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many holds for one reason a part is kept; moves and changes of reason never go."""
    first = CLIMB.decisions[0]
    monkeypatch.setattr(boards, "MAX_DECISIONS", 40)
    made, chain = Board(), [first]
    made.take(AUDIT.name, 0, HEARD_MS, b"r1", first.to_bytes())
    for i in range(1, 300):
        code = "turned" if i == 7 else "not_enough"
        update = {"sequence": i, "previous": chain[-1].digest(), "reason_code": code}
        chain.append(first.model_copy(update=update))
        made.take(AUDIT.name, i, HEARD_MS, b"r1", chain[-1].to_bytes())
    kept = made.entries["r1"].decisions

    assert len(kept) <= 40
    assert (kept[0], kept[-1]) == (chain[0], chain[-1])
    assert chain[7] in kept


def test_a_router_that_does_not_obey_is_named() -> None:
    """Its weight is another than the decision's though it had time; one that obeyed is not."""
    board = follower_of(LOGS).board
    for router, weight in (("good", 0), ("old", 50)):
        ack = RouterAck(rollout_id="s1", router_id=router, sequence=1, weight=weight, applied_at_ms=1)
        board.take(ROUTER_ACKS.name, 0, HEARD_MS, router.encode(), ack.to_bytes())
    entry = board.entries["s1"]

    assert behind(entry, HEARD_MS) == []
    assert behind(entry, HEARD_MS + 60_000) == ["old"]


def test_what_a_router_refused_stands_in_its_row() -> None:
    """On the page and in the JSON; where nobody refuses anything there is no such column."""
    follower = follower_of(LOGS)
    board, refused = follower.board, Refusal(offset=17, reason="it is not signed", count=3)

    def say(refusal: Refusal | None) -> str:
        ack = RouterAck(rollout_id="s1", router_id="a", sequence=1, weight=0, applied_at_ms=1, refused=refusal)
        board.take(ROUTER_ACKS.name, 0, HEARD_MS, b"a", ack.to_bytes())
        look = Look(board=board, reading=follower.reading, bootstrap="b:1", now_ms=HEARD_MS)
        (found,) = (p for p in rollout_parts(board.entries["s1"], None, look) if p.name == "routers")
        return str(found.html)

    assert "refused" not in say(None)
    assert "3, the last at offset 17: it is not signed" in say(refused)
