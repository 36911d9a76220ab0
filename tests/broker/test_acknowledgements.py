"""Acknowledgements as a condition, on the real broker: routers, worker, decider, and an auditor afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from paritygate.rollouts.plan import RolloutPlan
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import ROLLOUTS
from tests.broker.test_worker import CLIMB_IDLE_MS, CLIMBING_YAML, decisions, healthy, replayed, until
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench
from tests.support.traffic import Traffic, make_traffic
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker


def feeder(settings: KafkaSettings) -> Callable[[int], None]:
    """Sends three seconds of good traffic that begin now."""

    def feed(seed: int) -> None:
        made = make_traffic("climb", requests=600, start_ms=now_ms() + 500, span_ms=2_500, seed=seed)
        renamed = [replace(e, request_id=f"{seed}-{e.request_id}") for e in healthy(made).predictions]
        send(settings, Traffic(renamed, [], []).records())

    return feed


def test_a_climb_waits_for_its_routers_and_not_for_those_that_left(kafka: KafkaBench, tmp_path: Path) -> None:
    """A router that is switched off by hand holds it, across a kill of the worker; its return lets it go on, and
    one that was closed is not waited for. What the auditor derives is what was decided."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    feed = feeder(settings)

    def newest() -> str:
        found = decisions(kafka, settings, "climb")
        return found[-1].reason_code if found else ""

    worker = WorkerProcess(settings, tmp_path, idle_after_ms=CLIMB_IDLE_MS).start()
    routers = {name: DecisionWatcher(settings, "climb", name, tmp_path / name) for name in ("router-a", "router-b")}
    a, b = routers.values()
    try:
        worker.wait_owning()
        b.kill("it answers in the wrong language")
        kafka.produce(settings.topic(ROLLOUTS.name), [start_command(RolloutPlan.from_yaml(CLIMBING_YAML))])
        until(lambda: newest() == "started", "the start")
        feed(1)
        until(lambda: newest() == "ack_missing", "the wait for router-b")
        worker.kill()
        worker.start()
        feed(2)
        until(lambda: worker.log().count("the decider starts with") == 2, "the second decider")
        assert (a.weight, b.weight) == (0, 0)
        b.revive()
        feed(3)
        until(lambda: (a.weight, b.weight) == (50, 50), "the first promotion")
        b.close()
        feed(4)
        until(lambda: a.weight == 100, "the second promotion")
        assert worker.terminate() == 0
    finally:
        for router in routers.values():
            router.close()
        worker.kill()

    held = next(d for d in decisions(kafka, settings, "climb") if d.reason_code == "ack_missing")
    assert "1 of 2 routers has not applied stage shadow (0 %): router-b (killed)" in held.reason
    assert replayed(kafka, settings) == ""
    assert "what is recorded stands" not in worker.log()
