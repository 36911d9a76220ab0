"""What lag tools and the doctor see of a worker: positions in its own consumer group, and what lies beside them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from paritygate.cli.lag import committed
from paritygate.cli.main import main
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import BULK, OUTCOMES, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, ROLLOUTS
from tests.broker.test_worker import LEAD_MS, STILL_MS, settled, until
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench
from tests.support.traffic import make_traffic, plan_for
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker


def log_ends(kafka: KafkaBench, settings: KafkaSettings) -> dict[tuple[str, int], int]:
    """Where the logs end of the topics whose positions the worker commits."""
    found = {}
    for topic in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES):
        records = kafka.read(settings.topic(topic.name))
        for partition in range(4):
            found[topic.name, partition] = sum(r.partition == partition for r in records)
    return found


def reset(kafka: KafkaBench, settings: KafkaSettings, group: str) -> bool:
    """Put the primary topic's positions to 0 as an operator would; false while the group has members."""
    back = [TopicPartition(settings.topic(PREDICTIONS_PRIMARY.name), p, 0) for p in range(4)]
    try:
        asked = [ConsumerGroupTopicPartitions(group, back)]
        done = kafka.admin.alter_consumer_group_offsets(asked)[group].result()
    except KafkaException:
        return False
    return all(tp.error is None for tp in done.topic_partitions)


def test_group_shows_where_the_join_is(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Positions of all joined topics are in the worker's own group, without a rebalance; the bins add up to them;
    a group that somebody resets by hand changes no count."""
    settings, plan = kafka.settings(), plan_for("group")
    kafka.create_topics(settings)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    group = settings.topic("paritygate")
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan)])

    def doctor() -> dict[str, dict[str, str]]:
        capsys.readouterr()
        main(["doctor", "--json"])
        said = capsys.readouterr()
        assert said.out, said.err
        return {c["name"]: c for c in orjson.loads(said.out)["checks"]}

    with WorkerProcess(settings, tmp_path, session_timeout_s="12", idle_after_ms=STILL_MS) as worker:
        worker.wait_owning()
        traffic = make_traffic("group", requests=2_000, start_ms=now_ms() + LEAD_MS, span_ms=2_000, seed=9)
        send(settings, [*traffic.records(), (PREDICTIONS_PRIMARY.name, "bad", b"no event")])
        settled(kafka, settings, "group", 2_000)
        ends = log_ends(kafka, settings)
        until(lambda: committed(settings, group).positions == ends, "positions at the log ends")
        found = committed(settings, group)
        members = kafka.admin.describe_consumer_groups([group])[group].result()
        shown = doctor()
        assert worker.log().count("owning partitions") == 1, "a commit must not disturb the group"
        assert worker.terminate() == 0

        until(lambda: reset(kafka, settings, group), "a group without members")
        behind = sum(end for (topic, _), end in ends.items() if topic == PREDICTIONS_PRIMARY.name)
        assert doctor()["worker"]["detail"].endswith(f"has no member; its lag is {behind:,} events")
        worker.start()
        until(lambda: committed(settings, group).positions == ends, "positions as they were")
        after = committed(settings, group)

    assert (members.state, len(members.members)) == (ConsumerGroupState.STABLE, 1)
    assert {s.worker for s in found.standings.values()} == {"w1"}
    assert [s.unaccounted for s in found.standings.values()] == [0, 0, 0, 0]
    assert sum(s.offsets for s in found.standings.values()) == sum(ends.values()) + len(traffic.platform)
    assert sum(s.bins.get("poison", 0) for s in found.standings.values()) == 1
    assert all(set(s.ranges) == {t.name for t in BULK} for s in found.standings.values())
    assert shown["worker"]["detail"].endswith("is stable with 1 member(s); its lag is 0 events")
    assert (shown["join"]["result"], shown["bins"]["result"]) == ("ok", "ok")
    assert "w1: fetch" in shown["join"]["detail"]
    assert {p: s.ranges for p, s in after.standings.items()} == {p: s.ranges for p, s in found.standings.items()}
