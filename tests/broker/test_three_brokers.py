"""Leader moves on three brokers: killed, hung and returning leaders lose nothing and count nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic

from paritygate.cli.lag import committed
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.topics import BULK, ROLLOUTS, TOPICS
from tests.broker.test_worker import LEAD_MS, assert_exact, settled, until
from tests.support.cluster import Cluster
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench
from tests.support.traffic import Traffic, make_traffic, plan_for
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

#: Longer than any feeder waits for a new leader: a partition of one topic may stand still while the others go on.
GRACE_MS = 45_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
    except ParityGateError as error:
        pytest.skip(f"no Kafka of our own: {error}")
    with cluster:
        yield cluster


def test_leader_moves_change_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """Kill -9 of one leader, SIGSTOP of another for longer than its session, both return: 0 difference."""
    kafka = KafkaBench(cluster, "moves")
    settings = kafka.settings()
    plan = plan_for("moves", grace_ms=GRACE_MS, dedupe_ms=2 * GRACE_MS)
    kafka.create(
        *(
            NewTopic(settings.topic(t.name), t.partition_count(4), replication_factor=3, config=dict(t.config))
            for t in TOPICS
        )
    )
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan), start_command(plan_for("later"))])
    group = settings.topic("paritygate")
    bulk = [settings.topic(t.name) for t in BULK]
    seen: list[dict[tuple[str, int], int]] = []

    def look() -> dict[tuple[str, int], int]:
        seen.append(cluster.leaders(settings, bulk))
        return seen[-1]

    _, second, third = cluster.nodes
    # Only events drive time here: the clock must not pass what waits in the feeder for a new leader.
    with (
        WorkerProcess(settings, tmp_path, replication_factor="3", idle_after_ms="600000") as worker,
        ThreadPoolExecutor(1) as feeder,
    ):
        worker.wait_owning()
        start_ms = now_ms() + LEAD_MS
        traffic = make_traffic("moves", requests=12_000, start_ms=start_ms, span_ms=12_000, seed=8)
        push = make_traffic("later", requests=200, start_ms=start_ms + 17_000 + GRACE_MS, span_ms=500, seed=9)
        fed = feeder.submit(send, settings, traffic.records(), per_s=2_500)
        assert set(look().values()) == {1, 2, 3}
        until(lambda: any(committed(settings, group).positions.values()), "the first events in the join", 150)
        second.kill()
        until(lambda: 2 not in look().values(), "new leaders for the killed node's partitions")
        second.restart()
        third.pause()
        try:
            until(lambda: 3 not in look().values(), "new leaders for the hung node's partitions", 150)
            time.sleep(1)
        finally:
            third.go_on()
        fed.result(120)
        send(settings, Traffic(push.predictions, [], []).records())
        found = settled(kafka, settings, "moves", 12_000)
        log = worker.log()
        assert worker.terminate() == 0

    assert_exact(found, traffic, plan)
    assert "cannot be read" in log, "no leader was away: the test moved nothing"
    assert "records are lost" not in log
