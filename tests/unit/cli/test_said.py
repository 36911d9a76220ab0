from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paritygate.cli import follow, said
from paritygate.cli.kafka import Record
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action
from paritygate.schemas.signature import COMMAND, DECISION, Signer
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS
from tests.unit.cli.conftest import decision
from tests.unit.rollouts.conftest import command
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC

SETTINGS = KafkaSettings(bootstrap="b:1")


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Record]]:
    """Topics in memory."""
    there: dict[str, list[Record]] = {ROLLOUTS.name: [], AUDIT.name: []}
    monkeypatch.setattr(said, "read", lambda _, topic: iter(there[topic]))
    monkeypatch.delenv(said.COMMAND_KEYS, raising=False)
    return there


def record(topic: str, offset: int, value: bytes, *, signed: bool = False) -> Record:
    headers = tuple(Signer(PRIVATE, "key").headers(COMMAND, value)) if signed else ()
    return Record(topic=topic, partition=0, offset=offset, timestamp_ms=1, key=None, value=value, headers=headers)


def test_what_is_shown_is_what_is_believed(
    logs: dict[str, list[Record]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With keys: what one of them signed, and what a recorded decision names; without: everything."""
    start, pause, forged = (command(kind).to_bytes() for kind in ("start", "pause", "rollback"))
    logs[ROLLOUTS.name] += [
        record(ROLLOUTS.name, 0, start),
        record(ROLLOUTS.name, 1, b"junk"),
        record(ROLLOUTS.name, 2, pause, signed=True),
        record(ROLLOUTS.name, 3, forged),
    ]
    logs[AUDIT.name] += [record(AUDIT.name, 0, decision("r1", 0, 0, code="started", commands_next=1).to_bytes())]
    assert [offset for offset, _ in said.believed(SETTINGS)] == [0, 2, 3]
    (tmp_path / "ann.pub").write_bytes(PUBLIC)
    monkeypatch.setenv("PARITYGATE_COMMAND_KEYS", str(tmp_path / "ann.pub"))

    assert [offset for offset, _ in said.believed(SETTINGS)] == [0, 2]
    found = said.read_said(SETTINGS, said.command_keys())
    assert (found.unread, list(found.doubted), found.unheard) == (1, [0, 1, 3], [0, 2, 3])


def test_without_keys_a_log_with_signatures_is_replayed_by_its_record(logs: dict[str, list[Record]]) -> None:
    """Nobody can tell then whether a decider obeyed a key; in a log without any, every command counts."""
    logs[ROLLOUTS.name] += [record(ROLLOUTS.name, 2, command("start").to_bytes())]
    assert list(said.read_said(SETTINGS, None).unheard) == []
    logs[ROLLOUTS.name] += [record(ROLLOUTS.name, 3, command("pause").to_bytes(), signed=True)]

    found = said.read_said(SETTINGS, None)
    assert (found.unheard, found.doubted, found.lost) == ([2, 3], {}, [range(2)])


def test_decisions_that_are_shown_are_those_that_routers_obey(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With keys of deciders, an unsigned one is passed over, or a forged rollback would keep people from theirs."""
    genuine, forged = decision("r1", 0, 5), decision("r1", 1, 0, Action.ROLLBACK)
    headers = tuple(Signer(PRIVATE, "key").headers(DECISION, genuine.to_bytes()))
    records = [
        replace(record(DECISIONS.name, 0, genuine.to_bytes()), headers=headers),
        record(DECISIONS.name, 1, forged.to_bytes()),
    ]
    monkeypatch.setattr(follow, "read", lambda *_, **__: iter(records))
    monkeypatch.delenv(said.DECISION_KEYS, raising=False)
    assert follow.newest_decisions(SETTINGS) == {"r1": forged}
    (tmp_path / "decider.pub").write_bytes(PUBLIC)
    monkeypatch.setenv("PARITYGATE_DECISION_KEYS", str(tmp_path / "decider.pub"))

    assert follow.newest_decisions(SETTINGS) == {"r1": genuine}
