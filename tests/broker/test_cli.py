from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.cimpl import NewTopic
from fastapi.testclient import TestClient

from paritygate.cli.main import main
from paritygate.cli.murmur2 import partition_of
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_prediction, encode
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.topics import (
    DECISIONS,
    OUTCOMES,
    PREDICTIONS_PRIMARY,
    PREDICTIONS_SHADOW,
    ROLLOUTS,
    ROUTER_ACKS,
    TOPICS,
)
from tests.support.kafka import KafkaBench

pytestmark = pytest.mark.broker

Run = Callable[..., tuple[int, str, str]]
PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ada@example.com
rollback_condition: any required gate fails
promotion_gates:
  error_rate: {maximum: 0.01}
  schema_validation_pass_rate: {minimum: 0.99}
"""


@pytest.fixture
def settings(kafka: KafkaBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    settings = kafka.settings("cli")
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.chdir(tmp_path)
    return settings


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        return (code, *capsys.readouterr())

    return run


def decision(
    rollout_id: str, sequence: int, weight: int, action: Action = Action.HOLD, **more: Any
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight) if weight else "shadow",
        weight=weight,
        from_stage="shadow",
        reason_code="test",
        reason="as tested",
        at_ms=1_700_000_000_000,
        baseline_version="1",
        candidate_version="2",
        policy_digest="p",
        evidence_digest="e",
        **more,
    )


def event(request_id: str, rollout_id: str) -> tuple[str, bytes]:
    return request_id, encode(
        PredictionEvent(
            request_id=request_id,
            rollout_id=rollout_id,
            arm=Arm.BASELINE,
            role=Role.PRIMARY,
            event_at_ms=1_700_000_000_000,
            latency_ms=1.0,
            status=Status.OK,
            model_version="1",
        )
    )


def write(kafka: KafkaBench, settings: KafkaSettings, *decisions: GateDecision) -> None:
    kafka.produce(settings.topic(DECISIONS.name), [(d.rollout_id, d.to_bytes()) for d in decisions])


def test_topics_are_made_once_and_then_right(run: Run, settings: KafkaSettings) -> None:
    """check fails before, create makes all, a second create makes none, check is content."""
    code, out, _ = run("topics", "check", "--json")
    assert code == 1
    assert len(orjson.loads(out)) == len(TOPICS)

    code, out, _ = run("topics", "create", "--partitions", "3", "--json")
    assert code == 0
    assert orjson.loads(out)["created"] == [settings.topic(t.name) for t in TOPICS]
    assert orjson.loads(run("topics", "create", "--json")[1])["created"] == []
    assert run("topics", "check")[:2] == (0, f"all {len(TOPICS)} topics are as the table says\n")


def test_check_names_what_differs(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """Another partition count of a joined topic and another clean-up policy are found with their mends."""
    kafka.create(
        NewTopic(settings.topic(PREDICTIONS_SHADOW.name), num_partitions=3),
        NewTopic(settings.topic(DECISIONS.name), num_partitions=1, config={"cleanup.policy": "delete"}),
    )
    assert run("topics", "create")[0] == 0

    code, out, _ = run("topics", "check")
    assert code == 1
    assert f"{settings.topic(PREDICTIONS_SHADOW.name)}: has 3 partitions" in out
    assert f"{settings.topic(DECISIONS.name)}: cleanup.policy is delete, the table says compact" in out
    assert "kafka-configs --alter" in out


def test_tail_filters_and_shows_what_is_broken(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """tail finds one request across partitions, and shows junk as a line with its reason."""
    kafka.create_topics(settings, topics=(PREDICTIONS_PRIMARY,))
    events = [event(f"req-{n}", f"r{n % 2}") for n in range(50)]
    kafka.produce(settings.topic(PREDICTIONS_PRIMARY.name), [*events, ("req-7", b"junk")])

    code, out, _ = run("tail", "predictions.primary", "--request-id", "req-7", "--json")
    found = [orjson.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [f["key"] for f in found] == ["req-7", "req-7"]
    assert [bool(f.get("error")) for f in found] == [False, True]
    assert len(run("tail", "predictions.primary.v1", "--rollout", "r1")[1].splitlines()) == 25
    assert len(run("tail", "predictions.primary.v1", "--max", "10")[1].splitlines()) == 10
    assert len(run("tail", "predictions.primary.v1")[1].splitlines()) == 51


def test_status_shows_what_routers_obey(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """status shows the newest decision of each rollout, a rollback for good, and what routers applied."""
    kafka.create_topics(settings, topics=(DECISIONS, ROLLOUTS, ROUTER_ACKS))
    assert "no rollout has a decision yet" in run("status")[1]
    back = decision("r2", 2, 0, Action.ROLLBACK)
    write(kafka, settings, decision("r1", 0, 0), decision("r1", 1, 5), back, decision("r2", 3, 100))
    ack = RouterAck(rollout_id="r1", router_id="a", sequence=1, weight=5, applied_at_ms=1)
    kafka.produce(settings.topic(ROUTER_ACKS.name), [("a", ack.to_bytes())])

    shown = orjson.loads(run("status", "--json")[1])["rollouts"]
    assert [(d["rollout_id"], d["sequence"], d["weight"]) for d in shown] == [("r1", 1, 5), ("r2", 2, 0)]
    assert [a["router_id"] for a in shown[0]["routers"]] == ["a"]
    assert "routers: a #1 5 %" in run("status", "r1")[1]
    assert run("status", "r3")[::2] == (2, "error: no rollout 'r3'; there are r1, r2\n")


def test_start_says_when_nobody_decides(
    run: Run, settings: KafkaSettings, kafka: KafkaBench, tmp_path: Path
) -> None:
    """Without a worker the command stands in the log and start ends with 1 and a hint."""
    kafka.create_topics(settings, topics=(DECISIONS, ROLLOUTS))
    (tmp_path / "rollout.yaml").write_text(PLAN)

    code, out, err = run("start", "rollout.yaml", "--wait", "0.5", "--actor", "ada")
    assert (code, out) == (1, "")
    assert "no decision took it into account" in err
    (record,) = kafka.read(settings.topic(ROLLOUTS.name), count=1)
    command = Command.from_bytes(record.value or b"")
    assert (command.kind, command.rollout_id, command.actor) == ("start", "fraud-9", "ada")
    assert command.plan is not None
    assert record.key == b"fraud-9"


def test_commands_to_wrong_rollouts_write_nothing(
    run: Run, settings: KafkaSettings, kafka: KafkaBench, tmp_path: Path
) -> None:
    """A used id, an unknown rollout and one that is rolled back are refused before anything is written."""
    kafka.create_topics(settings, topics=(DECISIONS, ROLLOUTS))
    (tmp_path / "rollout.yaml").write_text(PLAN)
    write(kafka, settings, decision("fraud-9", 0, 0), decision("old", 1, 0, Action.ROLLBACK))

    assert run("start", "rollout.yaml")[0] == 2
    assert run("pause", "fraud-8")[0] == 2
    assert run("resume", "old")[0] == 2
    code, out, err = run("rollback", "old", "--reason", "twice", "--json")
    assert (code, orjson.loads(out)["action"]) == (0, "rollback")
    assert "nothing was written" in err
    assert kafka.read(settings.topic(ROLLOUTS.name)) == []


def test_watch_ends_with_the_rollout(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """--until-done prints what is in force and ends: 0 at all of the traffic, 1 on a rollback."""
    kafka.create_topics(settings, topics=(DECISIONS, ROLLOUTS))
    write(kafka, settings, decision("up", 4, 100), decision("down", 2, 0, Action.ROLLBACK))

    code, out, _ = run("watch", "up", "--until-done")
    assert code == 0
    assert "up #4 hold at 100 (100 % of live traffic): as tested" in out
    code, out, _ = run("watch", "down", "--until-done", "--json")
    assert code == 1
    assert orjson.loads(out)["action"] == "rollback"


def test_doctor_finds_a_foreign_partitioner(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """The doctor is content with our own events and fails on keys that lie on another partition."""
    assert run("doctor", "--json")[0] == 1
    kafka.create_topics(settings)
    kafka.produce(settings.topic(PREDICTIONS_PRIMARY.name), [event(f"req-{n}", "r1") for n in range(20)])
    code, out, _ = run("doctor", "--json")
    checks = {c["name"]: c["result"] for c in orjson.loads(out)["checks"]}
    assert code == 0
    assert checks == {
        "partitioner": "ok", "broker": "ok", "topics": "ok", "keys": "ok", "worker": "warn", "join": "skip",
        "bins": "skip", "freshness": "skip", "routers": "skip",
    }  # fmt: skip

    wrong = (partition_of(b"req-x", 4) + 1) % 4
    kafka.produce(settings.topic(OUTCOMES.name), [("req-x", b"{}")], partition=wrong)
    code, out, _ = run("doctor")
    assert code == 1
    assert "murmur2_random" in out


def test_doctor_finds_a_silent_worker(run: Run, settings: KafkaSettings, kafka: KafkaBench) -> None:
    """Events of a running rollout without any window report are a failure that names the rollout."""
    kafka.create_topics(settings)
    kafka.produce(settings.topic(PREDICTIONS_PRIMARY.name), [event("req-1", "r1")])
    write(kafka, settings, decision("r1", 0, 5))

    code, out, _ = run("doctor")
    assert code == 1
    assert "no window report" in out
    assert "r1" in out


def test_doctor_without_a_broker_fails_once(run: Run, settings: KafkaSettings) -> None:
    """A broker that is away is one failed check; what rests on it is skipped."""
    code, out, _ = run("doctor", "--bootstrap", "127.0.0.1:1", "--json")

    results = [c["result"] for c in orjson.loads(out)["checks"]]
    assert code == 1
    assert (results.count("fail"), results.count("skip")) == (1, 7)
    assert os.environ["PARITYGATE_BOOTSTRAP"] == settings.bootstrap


def test_service_of_init_serves_and_publishes(
    run: Run, settings: KafkaSettings, kafka: KafkaBench, tmp_path: Path
) -> None:
    """The service as init writes it answers, asks the other version too, and obeys a decision."""
    kafka.create_topics(settings)
    assert run("init")[0] == 0
    service = runpy.run_path(str(tmp_path / "service.py"))
    rollout = service["ROLLOUT"]
    write(kafka, settings, decision(rollout, 0, 0), decision(rollout, 1, 100))

    with TestClient(service["app"]) as client:
        kafka.read(settings.topic(ROUTER_ACKS.name), count=1)
        answers = [client.post("/predict", json={"tier": "gold"}) for _ in range(5)]

    assert {(a.status_code, a.json()["model_version"]) for a in answers} == {(200, "2")}
    primary = kafka.read(settings.topic(PREDICTIONS_PRIMARY.name), count=5)
    shadow = kafka.read(settings.topic(PREDICTIONS_SHADOW.name), count=5)
    assert {decode_prediction(r.value).arm for r in primary} == {Arm.CANDIDATE}
    assert {decode_prediction(r.value).arm for r in shadow} == {Arm.BASELINE}
    assert sorted(r.key or b"" for r in primary) == sorted(r.key or b"" for r in shadow)
