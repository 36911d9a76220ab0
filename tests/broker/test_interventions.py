"""Approval, force and abandonment on the real broker: command line, decider, router, audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from paritygate.cli.main import main
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.decision import Action
from tests.broker.test_worker import CLIMB_IDLE_MS, CLIMBING_YAML, decisions, healthy, replayed, until
from tests.support.feed import now_ms, send
from tests.support.kafka import KafkaBench
from tests.support.traffic import Traffic, make_traffic
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

ASKING_YAML = CLIMBING_YAML.replace('"50", weight: 50,', '"50", weight: 50, approval: required,').replace(
    "stages:\n", "impact: high\nstages:\n"
)


def test_a_person_forces_approves_and_ends_a_climb(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forced step, a step that waits for an approval across a kill, an end without judgement: the router obeys
    each of them, late commands are refused, and an auditor derives the same decisions."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    plan_file = tmp_path / "rollout.yaml"
    plan_file.write_text(ASKING_YAML)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--actor", "ada"])
        out, err = capsys.readouterr()
        return code, out, err

    def wait(arguments: Sequence[str]) -> Sequence[str]:
        return () if arguments[0] == "acknowledge" else ("--wait", "150")

    def say(*arguments: str) -> dict[str, Any]:
        code, out, err = run(*arguments, "--json", *wait(arguments))
        assert code == 0, err
        said: dict[str, Any] = orjson.loads(out)
        return said

    def feed(seed: int) -> None:
        made = make_traffic("climb", requests=600, start_ms=now_ms() + 500, span_ms=2_500, seed=seed)
        renamed = [replace(e, request_id=f"{seed}-{e.request_id}") for e in healthy(made).predictions]
        send(settings, Traffic(renamed, [], []).records())

    def newest() -> str:
        return decisions(kafka, settings, "climb")[-1].reason_code

    worker = WorkerProcess(settings, tmp_path, idle_after_ms=CLIMB_IDLE_MS).start()
    router = DecisionWatcher(settings, "climb", "router-a", tmp_path / "router")
    try:
        worker.wait_owning()
        assert say("start", str(plan_file))["reason_code"] == "started"
        code, _, err = run("promote", "climb", "--force", "--reason", "too early", "--wait", "150")
        assert code == 1
        assert "not forced: nothing is known of the traffic yet" in err
        feed(1)
        until(lambda: router.weight == 50, "the first promotion at the router")
        feed(2)
        until(lambda: newest() == "approval_needed", "the wait for an approval")
        worker.kill()
        worker.start()
        assert run("approve", "climb", "--stage", "shadow", "--reason", "wrong stage")[0] == 1
        assert say("approve", "climb", "--reason", "looked at it")["reason_code"] == "approved"
        feed(3)
        until(lambda: router.weight == 100, "the approved promotion at the router")
        assert run("abandon", "climb", "--reason", "promoted")[0] == 1
        assert say("rollback", "climb", "--now", "--reason", "enough")["weight"] == 0
        until(lambda: router.weight == 0, "the rollback at the router")
        assert run("promote", "climb", "--force", "--reason", "late")[0] == 2
        assert say("acknowledge", "climb", "--reason", "seen")["rollout_id"] == "climb"

        plan_file.write_text(ASKING_YAML.replace("climb", "again"))
        say("start", str(plan_file))
        made = make_traffic("again", requests=40, start_ms=now_ms(), span_ms=1_000, seed=4)
        send(settings, healthy(made).records())
        until(lambda: len(decisions(kafka, settings, "again")) > 1, "a look at the second climb")
        assert say("promote", "again", "--force", "--reason", "no time")["weight"] == 50
        assert say("abandon", "again", "--reason", "other plans")["reason_code"] == "abandoned"
        assert run("approve", "again", "--reason", "late")[0] == 2
        assert worker.terminate() == 0
    finally:
        router.close()
        worker.kill()

    climb = decisions(kafka, settings, "climb")
    promoted = [d for d in climb if d.action is Action.PROMOTE and d.weight == 100]
    assert "approved by ada: looked at it" in promoted[0].reason
    assert promoted[0].reason.endswith("a review is due")
    forced = next(d for d in decisions(kafka, settings, "again") if d.weight)
    assert forced.reason.startswith("forced by ada: no time against")
    assert replayed(kafka, settings) == ""
    assert "what is recorded stands" not in worker.log()
