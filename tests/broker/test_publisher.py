from __future__ import annotations

import pytest

from paritygate.producers.publisher import PredictionPublisher
from paritygate.schemas.codec import decode_prediction
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.topics import BULK, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from tests.support.kafka import KafkaBench, new_topic


def event(number: int, role: Role) -> PredictionEvent:
    return PredictionEvent(
        request_id=f"r-{number}", rollout_id="ro", arm=Arm.BASELINE if role is Role.PRIMARY else Arm.CANDIDATE,
        role=role, event_at_ms=1_700_000_000_000 + number, latency_ms=1.0, status=Status.OK, model_version="v",
        instance_id="i",
    )  # fmt: skip


def test_both_answers_of_a_request_land_in_one_partition(kafka: KafkaBench) -> None:
    """Equal keys meet: the join reads partition p of both topics."""
    settings = kafka.settings()
    kafka.create_topics(settings, 4, BULK)
    with PredictionPublisher(settings, instance_id="i") as publisher:
        assert publisher.check_topics() == 4
        for n in range(500):
            for role in Role:
                assert publisher.publish(event(n, role))
        assert publisher.flush(120) == 0
        assert publisher.stats()["delivered"] == 1000

    primary = kafka.read(settings.topic(PREDICTIONS_PRIMARY.name), count=500)
    shadow = kafka.read(settings.topic(PREDICTIONS_SHADOW.name), count=500)
    assert {r.key: r.partition for r in primary} == {r.key: r.partition for r in shadow}
    assert len({r.partition for r in primary}) == 4
    for record in primary:
        got = decode_prediction(record.value)
        assert got.request_id.encode() == record.key
        # The record's own time is the broker's: what a producer's clock is held against.
        assert record.timestamp_ms > got.event_at_ms


def test_another_partition_count_is_refused(kafka: KafkaBench) -> None:
    """The error names both topics and counts."""
    settings = kafka.settings()
    kafka.create(*(new_topic(settings, t, 6 if t is PREDICTIONS_SHADOW else 4) for t in BULK))

    with (
        PredictionPublisher(settings, instance_id="i") as publisher,
        pytest.raises(ConfigError, match=r"primary\.v1 has 4 partitions but .*shadow\.v1 has 6"),
    ):
        publisher.check_topics()


def test_missing_topics_are_named(kafka: KafkaBench) -> None:
    """Nothing is created on the way."""
    settings = kafka.settings()
    with (
        PredictionPublisher(settings, instance_id="i") as publisher,
        pytest.raises(ConfigError, match="topics create"),
    ):
        publisher.check_topics()
