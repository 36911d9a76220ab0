"""The control topics in memory, for the verbs that write commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from paritygate.cli import follow, say
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision


def decision(
    rollout_id: str,
    sequence: int,
    weight: int,
    action: Action = Action.HOLD,
    *,
    code: str = "test",
    commands_next: int = 0,
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight),
        weight=weight,
        from_stage="shadow",
        reason_code=code,
        reason="ok",
        at_ms=1,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
        commands_next=commands_next,
    )


class Cluster:
    """The control topics in memory; ``answers`` are the decisions that come after a command was written."""

    def __init__(self) -> None:
        self.decisions = [decision("r", 0, 0, code="started", commands_next=1)]
        self.commands = [Command(kind=CommandKind.START, rollout_id="r", actor="ann", issued_at_ms=1, plan={})]
        self.answers: list[GateDecision] = []
        self.headers: list[tuple[str, bytes]] = []

    def read(self, _settings: object, *, start: dict[int, int] | None = None, **_: Any) -> Iterator[GateDecision]:
        yield from self.decisions[(start or {}).get(0, 0) :]

    def write(
        self, _settings: object, _topic: str, _key: str, value: bytes, headers: list[tuple[str, bytes]]
    ) -> int:
        self.headers = headers
        self.commands.append(Command.from_bytes(value))
        self.decisions += self.answers
        return len(self.commands) - 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    there = Cluster()
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", "b:1")
    monkeypatch.setattr(say, "require_topics", lambda *_: None)
    monkeypatch.setattr(say, "write", there.write)
    monkeypatch.setattr(follow, "decisions", there.read)
    monkeypatch.setattr(follow, "decisions_end", lambda _: {0: len(there.decisions)})
    monkeypatch.setattr(follow, "commands", lambda _: enumerate(there.commands))
    return there
