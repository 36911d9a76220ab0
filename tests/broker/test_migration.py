"""More partitions, as docs/scale.md describes it: a new set of topics under a prefix of its own, never in place."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from confluent_kafka.cimpl import NewPartitions

from paritygate.cli.lag import committed
from paritygate.cli.main import main
from paritygate.schemas.topics import PREDICTIONS_SHADOW, ROLLOUTS
from tests.broker.test_worker import LEAD_MS, STILL_MS, assert_exact, settled, until
from tests.support.feed import now_ms, start_command
from tests.support.kafka import KafkaBench
from tests.support.traffic import make_traffic, plan_for, publish
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker


def test_partitions_are_added_by_new_topics(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both sets run side by side, each request goes whole to one of them, the old one drains, both are exact."""
    old, new = kafka.settings("old"), kafka.settings("new")
    kafka.create_topics(old)
    kafka.produce(old.topic(ROLLOUTS.name), [start_command(plan_for("before"))])
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", old.bootstrap)
    with WorkerProcess(old, tmp_path, "w-old", idle_after_ms=STILL_MS) as worker:
        worker.wait_owning()
        first = make_traffic("before", requests=1_200, start_ms=now_ms() + LEAD_MS, span_ms=1_200, seed=1)
        publish(old, first)

        monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", new.topic_prefix)
        assert main(["topics", "create", "--partitions", "8", "--replication-factor", "1"]) == 0
        kafka.produce(new.topic(ROLLOUTS.name), [start_command(plan_for("after"))])
        with WorkerProcess(new, tmp_path, "w-new", partitions="8", idle_after_ms=STILL_MS) as wider:
            wider.wait_owning()
            second = make_traffic("after", requests=1_200, start_ms=now_ms() + LEAD_MS, span_ms=1_200, seed=2)
            publish(new, second)
            assert_exact(settled(kafka, old, "before", 1_200), first, plan_for("before"))
            assert_exact(settled(kafka, new, "after", 1_200), second, plan_for("after"))

            drained = committed(old, old.topic("paritygate")).standings
            monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", old.topic_prefix)
            capsys.readouterr()
            assert main(["doctor", "--json"]) == 0
            checks = {c["name"]: c for c in orjson.loads(capsys.readouterr().out)["checks"]}
            assert worker.terminate() == 0
            assert wider.terminate() == 0

    assert len(drained) == 4
    assert "its lag is 0 events" in checks["worker"]["detail"]
    assert "; 0 events wait for their other arm" in checks["join"]["detail"]


def test_partitions_added_in_place_end_the_worker(kafka: KafkaBench, tmp_path: Path) -> None:
    """Keys have moved and nobody reads the new partitions: the worker ends with 1, and refuses to start again."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    with WorkerProcess(settings, tmp_path) as worker:
        worker.wait_owning()
        until(lambda: "the decider starts" in worker.log(), "the decider")
        name = settings.topic(PREDICTIONS_SHADOW.name)
        kafka.admin.create_partitions([NewPartitions(name, 6)])[name].result()
        assert worker.process is not None
        assert worker.process.wait(150) == 1
        last = worker.log().splitlines()[-1]
        worker.start()
        assert worker.process.wait(150) == 2
    assert f"{name} has 6 partitions now, not 4" in last
    assert f"{name} has 6" in worker.log().splitlines()[-1]
