"""``paritygate notify`` on the real broker, with a real receiver: what is told, and what a restart does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.topics import DECISIONS
from tests.support.kafka import KafkaBench
from tests.unit.cli.notify.conftest import Receiver, decision, receiver

__all__ = ["receiver"]
pytestmark = pytest.mark.broker

SECRET = "a-secret-that-is-long-enough"
CONFIG = """\
targets:
  - {{name: hook, url: 'http://localhost:{port}/hook', secret: {{env: HOOK_SECRET}}}}
  - {{name: chat, url: 'http://localhost:{port}/chat', format: slack, least: critical}}
private_hosts: [localhost]
plain_http_hosts: [localhost]
"""


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.01)


def step(sequence: int, weight: int) -> GateDecision:
    return decision(sequence, "proven", action=Action.PROMOTE, stage=str(weight), weight=weight)


def test_a_restart_neither_loses_nor_floods(kafka: KafkaBench, tmp_path: Path, receiver: Receiver) -> None:
    """History is not told; each change is, once and signed; a kill in the middle of a retry loses nothing, and what
    was decided meanwhile is told after it."""
    settings = kafka.settings("notify")
    kafka.create_topics(settings, topics=(DECISIONS,))
    topic, log_path = settings.topic(DECISIONS.name), tmp_path / "notify.log"
    (tmp_path / "notify.yaml").write_text(CONFIG.format(port=receiver.port))
    environment = os.environ | {
        "PARITYGATE_BOOTSTRAP": settings.bootstrap,
        "PARITYGATE_TOPIC_PREFIX": settings.topic_prefix,
        "HOOK_SECRET": SECRET,
    }
    started: list[subprocess.Popen[bytes]] = []

    def decide(*decisions: GateDecision) -> None:
        kafka.produce(topic, [(d.rollout_id, d.to_bytes()) for d in decisions])

    def start() -> subprocess.Popen[bytes]:
        begun = log_path.read_text().count("from offset") if log_path.exists() else 0
        command = [sys.executable, "-m", "paritygate.cli.main", "notify", str(tmp_path / "notify.yaml")]
        with log_path.open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        started.append(process)
        until(lambda: log_path.read_text().count("from offset") == begun + 2, "both couriers")
        return process

    def told(path: str) -> list[str]:
        found = [orjson.loads(body) for where, _, body in receiver.got if where == path]
        return [f"{e['type'].rpartition('.')[2]} {e['data']['sequence']}" for e in found]

    try:
        decide(step(0, 1), step(1, 5))
        first = start()
        decide(decision(2, "more_evidence"), decision(3, "more_evidence"), step(4, 25))
        until(lambda: told("/hook") == ["advanced 4"], "the first news")
        receiver.answers += [(503, {})] * 50
        decide(step(5, 50))
        until(lambda: told("/hook").count("advanced 5") >= 2, "a second try")
        first.kill()
        first.wait()
        receiver.answers.clear()
        receiver.got.clear()
        decide(decision(6, "paused", stage="50", weight=50), decision(7, "still_paused", stage="50", weight=50))

        second = start()
        until(lambda: told("/hook") == ["advanced 5", "paused 6"], "what was missed")
        decide(decision(8, "gate_failed", action=Action.ROLLBACK, stage="shadow", weight=0))
        until(lambda: len(receiver.got) == 4, "the end, at both targets")
        second.send_signal(signal.SIGTERM)
        assert second.wait(90) == 0
        third = start()
        third.send_signal(signal.SIGTERM)
        assert third.wait(90) == 0
    finally:
        for process in started:
            process.kill()
            process.wait()

    assert told("/hook") == ["advanced 5", "paused 6", "rolled_back 8"]
    chat = [orjson.loads(body) for where, _, body in receiver.got if where == "/chat"]
    assert [message["text"] for message in chat] == ["*r1 was rolled back from stage 5 (no live traffic)*"]
    _, headers, body = receiver.got[0]
    content = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    signature = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    assert SECRET not in log_path.read_text()
    assert "/hook" not in log_path.read_text()
