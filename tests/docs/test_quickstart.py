"""The quickstart does what README says, on a real broker."""

from __future__ import annotations

import ast
import re
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from paritygate.cli.main import main
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_outcome, decode_platform, decode_prediction
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.prediction import Arm, Role
from paritygate.schemas.topics import (
    AUDIT,
    OUTCOMES,
    PLATFORM,
    PREDICTIONS_PRIMARY,
    PREDICTIONS_SHADOW,
    ROUTER_ACKS,
    Topic,
)
from tests.support.kafka import KafkaBench, Record
from tests.support.worker import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
README = (ROOT / "README.md").read_text()
ROLLOUT = "my-model-2"
REQUESTS = 50
_WAIT_S = 150.0


def _fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def settings(kafka: KafkaBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    """Topics of this test's own; service, worker and command line are told of them by the environment."""
    settings = kafka.settings("docs")
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.chdir(tmp_path)
    return settings


def _service(name: str) -> Any:
    return runpy.run_path(str(SNIPPETS / name))["app"]


def _ask(client: TestClient, count: int) -> list[Any]:
    answers = [client.post("/predict", json={"n": n}, headers={"x-request-id": f"r-{n}"}) for n in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def test_readme_shows_the_service_that_is_tested() -> None:
    """The Python block in README is the snippet's file: 20 statements at most beside imports and docstrings."""
    snippet = (SNIPPETS / "fastapi_service.py").read_text()

    assert _fences("python") == [snippet]
    statements = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.stmt)]
    docs = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    assert sum(not isinstance(node, ast.Import | ast.ImportFrom) for node in statements) - len(docs) <= 20


def test_the_service_answers_and_publishes_both_arms(kafka: KafkaBench, settings: KafkaSettings) -> None:
    """Users get the baseline's answer; both arms' events lie in their topics under the request id."""
    assert main(["topics", "create"]) == 0
    with TestClient(_service("fastapi_service.py")) as client:
        answers = _ask(client, 5)

    assert {answer["model_version"] for answer in answers} == {"1"}
    for topic, arm, role in (
        (PREDICTIONS_PRIMARY, Arm.BASELINE, Role.PRIMARY),
        (PREDICTIONS_SHADOW, Arm.CANDIDATE, Role.SHADOW),
    ):
        records = kafka.read(settings.topic(topic.name), count=5)
        events = [decode_prediction(record.value) for record in records]
        assert {(e.rollout_id, e.arm, e.role, e.endpoint) for e in events} == {(ROLLOUT, arm, role, "/predict")}
        assert sorted(r.key or b"" for r in records) == [b"r-0", b"r-1", b"r-2", b"r-3", b"r-4"]


def test_the_full_service_sends_what_all_gates_need(kafka: KafkaBench, settings: KafkaSettings) -> None:
    """Running time of both arms, reviews and segments arrive beside the answers."""
    assert main(["topics", "create"]) == 0
    with TestClient(_service("full_service.py")) as client:
        request_id = client.post("/predict", json={"user": "ann", "tier": "gold"}).json()["request_id"]
        assert client.post(f"/reviews/{request_id}", json={"baseline": 0.8, "candidate": 0.9}).json() is True

    (primary,) = kafka.read(settings.topic(PREDICTIONS_PRIMARY.name), count=1)
    assert decode_prediction(primary.value).segments == {"tenant_tier": "gold", "geography": "unknown"}
    (outcome,) = [decode_outcome(r.value) for r in kafka.read(settings.topic(OUTCOMES.name), count=1)]
    assert (outcome.request_id, outcome.baseline, outcome.candidate) == (request_id, 0.8, 0.9)
    reports = [decode_platform(r.value) for r in kafka.read(settings.topic(PLATFORM.name), count=2)]
    assert {r.arm for r in reports} == {Arm.BASELINE, Arm.CANDIDATE}
    assert sum(r.running_ms for r in reports) > 0


def test_the_way_through_the_quickstart_is_complete(
    kafka: KafkaBench, settings: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Topics, worker, start, service: the requests are judged, a rollback arrives, and the replay agrees."""
    (plan,) = [text for text in _fences("yaml") if text.startswith("rollout:")]
    (tmp_path / "rollout.yaml").write_text(plan)
    assert main(["topics", "create"]) == 0

    with WorkerProcess(settings, tmp_path / "worker") as worker:
        worker.wait_owning()
        assert main(["start", "rollout.yaml", "--wait", "150"]) == 0
        with TestClient(_service("fastapi_service.py")) as client:
            _ask(client, REQUESTS)
            _await(kafka, settings, AUDIT, lambda rs: _decision(rs[-1]).counts["pairs"] == REQUESTS)
            assert main(["status", ROLLOUT]) == 0
            assert main(["rollback", ROLLOUT, "--reason", "enough", "--wait", "150"]) == 0
            decided = [_decision(r) for r in kafka.read(settings.topic(AUDIT.name))]
            newest = decided[-1].sequence
            _await(kafka, settings, ROUTER_ACKS, lambda rs: _ack(rs[-1]).sequence == newest)

    assert decided[-1].action is Action.ROLLBACK
    capsys.readouterr()
    runpy.run_path(str(SNIPPETS / "replay.py"))
    assert capsys.readouterr().out == f"{len(decided)} decisions recorded, 0 do not follow from the logs\n"


def _decision(record: Record) -> GateDecision:
    return GateDecision.from_bytes(record.value or b"")


def _ack(record: Record) -> RouterAck:
    return RouterAck.from_bytes(record.value or b"")


def _await(kafka: KafkaBench, settings: KafkaSettings, topic: Topic, holds: Callable[[list[Record]], bool]) -> None:
    """Wait until the records of a topic with one partition are as wanted."""
    deadline = time.monotonic() + _WAIT_S
    while not ((records := kafka.read(settings.topic(topic.name))) and holds(records)):
        assert time.monotonic() < deadline, f"{topic.name}: {[r.value for r in records[-2:]]}"
        time.sleep(0.2)
