"""What the broker no longer has: told with its range, counted in every window, and never taken for good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from paritygate.cli.lag import committed
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, ROLLOUTS
from tests.broker.test_worker import STILL_MS, decisions, reports, settled, until
from tests.support.batch_model import final_reports
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench, new_topic
from tests.support.traffic import Traffic, make_traffic, plan_for
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker


def traffic(rollout: str, seed: int) -> Traffic:
    return make_traffic(rollout, requests=1_000, start_ms=now_ms() + 2_000, span_ms=1_000, seed=seed)


def test_deleted_records_are_a_loss_that_holds(kafka: KafkaBench, tmp_path: Path) -> None:
    """Retention took records while no worker ran: the log, the bins and the reports say how many of which offsets,
    what is left is counted, and the decision holds for want of completeness."""
    settings, plan = kafka.settings(), plan_for("lossy")
    kafka.create_topics(settings)
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan)])
    group = settings.topic("paritygate")
    with WorkerProcess(settings, tmp_path, idle_after_ms=STILL_MS) as worker:
        worker.wait_owning()
        send(settings, traffic("lossy", 1).records())
        settled(kafka, settings, "lossy", 1_000)
        assert worker.terminate() == 0
        before = committed(settings, group).positions

        send(settings, [(PREDICTIONS_SHADOW.name, f"gone-{n}", b"whatever") for n in range(400)])
        name = settings.topic(PREDICTIONS_SHADOW.name)
        gone = {p: sum(r.partition == p for r in kafka.read(name)) for p in range(4)}
        for future in kafka.admin.delete_records(
            [TopicPartition(name, p, end) for p, end in gone.items()]
        ).values():
            future.result()
        worker.start()
        until(lambda: worker.log().count("owning partitions") == 2, "the second worker")
        send(settings, traffic("lossy", 2).records())

        def told() -> int:
            standing = final_reports(reports(kafka, settings, "lossy")).values()
            return sum(dict(report.totals).get("lost", 0) for report in standing)

        until(lambda: told() >= 400, "the loss in the reports", 150)
        until(lambda: any("lost" in d.reason for d in decisions(kafka, settings, "lossy")), "a hold that names it")
        standings = committed(settings, group).standings
        log = worker.log()
        assert worker.terminate() == 0

    lost = {p: end - before[PREDICTIONS_SHADOW.name, p] for p, end in gone.items()}
    assert sum(lost.values()) == 400
    for partition, count in lost.items():
        first = before[PREDICTIONS_SHADOW.name, partition]
        assert f"-{partition}: offsets {first} to {first + count - 1} were deleted before they were read" in log
    assert sum(s.bins["lost"] for s in standings.values()) >= 400, "with what waited and cannot be read again"
    assert [s.unaccounted for s in standings.values()] == [0, 0, 0, 0]
    assert {d.action.value for d in decisions(kafka, settings, "lossy")} == {"hold"}


def test_topic_made_anew_ends_the_worker(kafka: KafkaBench, tmp_path: Path) -> None:
    """A topic that is deleted and made again is no loss that can be counted: the worker ends with 1."""
    settings, plan = kafka.settings(), plan_for("anew")
    kafka.create_topics(settings)
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan)])
    with WorkerProcess(settings, tmp_path, idle_after_ms=STILL_MS) as worker:
        worker.wait_owning()
        send(settings, traffic("anew", 3).records())
        settled(kafka, settings, "anew", 1_000)
        name = settings.topic(PREDICTIONS_PRIMARY.name)
        kafka.admin.delete_topics([name], operation_timeout=60)[name].result()
        kafka.create(new_topic(settings, PREDICTIONS_PRIMARY, 4))
        assert worker.process is not None
        assert worker.process.wait(150) == 1

    last = worker.log().splitlines()[-1]
    assert re.search(r"primary\.v1-\d ends before offset \d+, .* lost records or was made anew", last), last
