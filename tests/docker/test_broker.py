"""The laws that every broker keeps which carries paritygate: the local Kafka and the container alike."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Producer

from paritygate.cli.broker import RunningBroker
from paritygate.schemas.topics import DECISIONS, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, TOPICS
from tests.support.kafka import KafkaBench


def test_topics_of_the_table_are_made(kafka: KafkaBench) -> None:
    """Every topic of the table exists afterwards with the partitions and settings of the table."""
    settings = kafka.settings()
    kafka.create_topics(settings, partitions=3)

    known = kafka.admin.list_topics(timeout=60).topics

    for topic in TOPICS:
        assert len(known[settings.topic(topic.name)].partitions) == topic.partition_count(3)


def test_both_prediction_topics_place_a_key_alike(kafka: KafkaBench) -> None:
    """The same request id lies on the same partition of both topics: else the join would lose pairs."""
    settings = kafka.settings()
    kafka.create_topics(settings, topics=(PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW))
    names = [settings.topic(t.name) for t in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW)]
    for name in names:
        kafka.produce(name, ((f"request-{n}", b"x") for n in range(100)))

    primary, shadow = ({r.key: r.partition for r in kafka.read(name)} for name in names)

    assert primary == shadow
    assert set(primary.values()) == {0, 1, 2, 3}


def test_an_unknown_topic_is_an_error(kafka: KafkaBench) -> None:
    """Writing to a topic that nobody made fails; it does not make one with a wrong partition count."""
    settings = kafka.settings()
    failed: list[KafkaError | None] = []
    producer = Producer(settings.confluent_producer(**{"message.timeout.ms": 2000}))
    producer.produce(settings.topic("mistyped.v1"), b"v", on_delivery=lambda error, _: failed.append(error))

    producer.flush(60)

    assert len(failed) == 1
    assert failed[0] is not None
    assert settings.topic("mistyped.v1") not in kafka.admin.list_topics(timeout=60).topics


def test_records_outlive_a_killed_broker(kafka: KafkaBench, broker: RunningBroker) -> None:
    """A broker that was killed and came back serves every acknowledged record at the same address."""
    if broker.kind == "external":
        pytest.skip("the broker of PARITYGATE_BOOTSTRAP is not ours to kill")
    settings = kafka.settings()
    kafka.create_topics(settings, topics=(DECISIONS,))
    name = settings.topic(DECISIONS.name)
    kafka.produce(name, [("rollout", b"one"), ("rollout", b"two")])
    before = broker.bootstrap

    broker.kill()
    broker.restart()

    assert broker.bootstrap == before
    assert [r.value for r in kafka.read(name, count=2)] == [b"one", b"two"]


def test_tests_do_not_see_each_other(kafka: KafkaBench) -> None:
    """Two settings of one test have different topics under the same name of the table."""
    first, second = kafka.settings(), kafka.settings()
    kafka.create_topics(first, topics=(DECISIONS,))
    kafka.create_topics(second, topics=(DECISIONS,))

    kafka.produce(first.topic(DECISIONS.name), [(b"k", b"v")])

    assert len(kafka.read(first.topic(DECISIONS.name))) == 1
    assert kafka.read(second.topic(DECISIONS.name)) == []
