from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from paritygate.cli.main import main
from paritygate.rollouts.replay import Refold
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import COMMAND, DECISION, Signer, Trust, TrustedKeys
from paritygate.schemas.topics import AUDIT, DECISIONS
from paritygate.streams.decide import Decider
from paritygate.streams.keys import read_command_keys, read_decision_keys, read_signer
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.recorded import Recorded
from paritygate.streams.settings import WorkerSettings
from tests.unit.rollouts.conftest import command
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC


def decision(sequence: int, before: GateDecision | None = None, reason: str = "so") -> GateDecision:
    return GateDecision(
        rollout_id="r", sequence=sequence, previous=before.digest() if before else "", action=Action.HOLD,
        stage="shadow", weight=0, from_stage="shadow", reason_code="test", reason=reason, at_ms=1,
        baseline_version="1", candidate_version="2", policy_digest="p", evidence_digest="e",
    )  # fmt: skip


ZERO = decision(0)
ONE = decision(1, ZERO)


class Sent:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def send(self, records: Any) -> list[int]:
        self.records += list(records)
        return []


@pytest.mark.parametrize("signs", [False, True])
async def test_decisions_are_signed_where_a_key_is_set(tmp_path: Path, signs: bool) -> None:
    """In the audit and for routers; the bytes of the value are the same with a key and without."""
    (tmp_path / "decider.key").write_bytes(PRIVATE)
    key = str(tmp_path / "decider.key") if signs else ""
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), signing_key=key)
    sent = Sent()
    decider = Decider(settings, sent, WorkerMetrics(), read_signer(settings))  # type: ignore[arg-type]
    await decider._write([ZERO])

    assert [r.topic for r in sent.records] == [AUDIT.name, DECISIONS.name]
    for record in sent.records:
        assert record.value == ZERO.to_bytes()
        refusal = TrustedKeys(PUBLIC, "pub").refusal(DECISION, record.value, record.headers)
        assert refusal == ("" if signs else "it is not signed")


def test_a_key_that_is_not_there_ends_the_worker_at_its_start(tmp_path: Path) -> None:
    """It must not go on unsigned: routers would obey nothing it says."""
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), signing_key=str(tmp_path / "no.key"))

    with pytest.raises(ConfigError, match=r"PARITYGATE_WORKER_SIGNING_KEY .*no\.key cannot be read"):
        read_signer(settings)


def test_keys_that_are_not_there_end_the_worker_at_its_start(tmp_path: Path) -> None:
    """It must not go on believing everybody."""
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), command_keys=str(tmp_path / "no.pub"))

    with pytest.raises(ConfigError, match=r"PARITYGATE_WORKER_COMMAND_KEYS .*no\.pub cannot be read"):
        read_command_keys(settings)


def test_a_worker_believes_itself(tmp_path: Path) -> None:
    """Keys of deciders without its own are refused at the start: it would fold its own record again for ever."""
    (tmp_path / "decider.pub").write_bytes(PUBLIC)
    assert main(["keys", "new", str(tmp_path / "other")]) == 0
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"), decision_keys=str(tmp_path / "decider.pub"))

    assert read_decision_keys(settings, Signer(PRIVATE, "key")) is not None
    for signer in (None, Signer((tmp_path / "other.key").read_bytes(), "other")):
        with pytest.raises(ConfigError, match="does not hold the key of PARITYGATE_WORKER_SIGNING_KEY"):
            read_decision_keys(settings, signer)


async def test_the_first_start_with_keys_signs_the_newest_of_each_rollout() -> None:
    """In the audit, too, and only where no signature is under it; the values are those that stand there."""
    trust, signer = Trust(decisions=TrustedKeys(PUBLIC, "pub")), Signer(PRIVATE, "key")
    sent = Sent()
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"))
    decider = Decider(settings, sent, WorkerMetrics(), signer, trust)  # type: ignore[arg-type]

    def record(d: GateDecision, *, signed: bool) -> Recorded:
        headers = signer.headers(DECISION, d.to_bytes()) if signed else []
        return d, SimpleNamespace(topic=AUDIT.name, offset=d.sequence, value=d.to_bytes(), headers=headers)

    await decider._republish_newest([record(ZERO, signed=True), record(ONE, signed=False)])
    assert [(r.topic, r.value) for r in sent.records] == [(t.name, ONE.to_bytes()) for t in (DECISIONS, AUDIT)]
    sent.records.clear()
    await decider._republish_newest([record(ZERO, signed=False), record(ONE, signed=True)])
    assert [r.topic for r in sent.records] == [DECISIONS.name]


def test_a_command_without_a_trusted_signature_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, one in the metric; the same command with a signature is obeyed, once."""
    metrics = WorkerMetrics()
    settings = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1"))
    keys = TrustedKeys(PUBLIC, "pub")
    trust, refold = Trust(commands=keys), Refold([])
    decider = Decider(settings, Sent(), metrics, None, trust)  # type: ignore[arg-type]

    def say(offset: int, kind: str, *, signed: bool) -> list[GateDecision]:
        value = command(kind).to_bytes()
        headers = Signer(PRIVATE, "key").headers(COMMAND, value) if signed else []
        record = SimpleNamespace(topic="rollouts.v1", offset=offset, value=value, headers=headers)
        return decider._apply_command(refold, record)

    with caplog.at_level(logging.WARNING):
        assert say(0, "start", signed=False) == []
        (first,) = say(1, "start", signed=True)
        assert say(2, "rollback", signed=False) == []
        assert [d.reason_code for d in say(3, "pause", signed=True)] == ["paused"]
        assert [d.reason_code for d in say(4, "resume", signed=True)] == ["resumed"]
        assert say(5, "pause", signed=True) == []

    assert (first.reason_code, first.commands_next) == ("started", 2)
    assert [r.getMessage() for r in caplog.records] == [
        "rollouts.v1 offset 0 is refused: start r1: it is not signed",
        "rollouts.v1 offset 2 is refused: rollback r1: it is not signed",
        "rollouts.v1 offset 5 is refused: pause r1: it is the command at offset 3 once more",
    ]
    assert 'commands_refused_total{why="signature"} 3.0' in generate_latest(metrics.registry).decode()
