"""How far the join is, as the worker committed it to its consumer group; and the newest records of a topic.

Law: what was never committed is no lag of 0 but an unknown one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paritygate.cli.kafka import ANSWER_S, Record, end_offsets, new_consumer, read, unavailable
from paritygate.schemas.errors import DecodeError, RecoverableError
from paritygate.schemas.standing import Standing
from paritygate.schemas.topics import OUTCOMES, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, Topic

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings

#: Topics whose positions the worker commits itself.
JOINED: tuple[Topic, ...] = (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES)


@dataclass(frozen=True, slots=True)
class Committed:
    """Positions by table name and partition, and what the worker left beside them, by partition."""

    positions: Mapping[tuple[str, int], int] = field(default_factory=dict)
    standings: Mapping[int, Standing] = field(default_factory=dict)


def committed(settings: KafkaSettings, group: str) -> Committed:
    """What the group has committed for the joined topics.

    :raises RecoverableError: the coordinator does not say.
    """
    from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

    names = {settings.topic(t.name): t.name for t in JOINED}
    # Not the admin client's list_consumer_group_offsets: where a broker dies while it asks, librdkafka ends the
    # whole process (its issue 4605).
    consumer = new_consumer(settings, group=group)
    try:
        topics = consumer.list_topics(timeout=ANSWER_S).topics
        asked = [TopicPartition(name, p) for name in names if name in topics for p in topics[name].partitions]
        found = consumer.committed(asked, timeout=ANSWER_S)
    except KafkaException as e:
        raise RecoverableError(f"offsets of group {group} cannot be read: {e.args[0].str()}") from None
    finally:
        consumer.close()
    places = [tp for tp in found if tp.error is None and tp.offset >= 0]
    standings: dict[int, Standing] = {}
    for tp in places:
        try:
            standings[tp.partition] = Standing.from_text(tp.metadata or "")
        except (DecodeError, UnicodeDecodeError):
            continue  # one of the topics that carry none, or somebody reset the group by hand
    return Committed({(names[tp.topic], tp.partition): tp.offset for tp in places}, standings)


def worker_lag(settings: KafkaSettings, positions: Mapping[tuple[str, int], int]) -> int | None:
    """Records of the joined topics that are not counted yet; None where no position was ever committed."""
    ends = {
        (topic.name, partition): end
        for topic in JOINED
        for partition, end in end_offsets(settings, settings.topic(topic.name)).items()
    }
    return behind(ends, positions)


def behind(ends: Mapping[tuple[str, int], int], positions: Mapping[tuple[str, int], int]) -> int | None:
    """Records before ``ends`` that ``positions`` do not cover. Pure."""
    known = [max(0, end - positions[place]) for place, end in ends.items() if place in positions]
    return sum(known) if known else None


def newest_records(settings: KafkaSettings, topic: str, per_partition: int) -> Iterator[Record]:
    """The last ``per_partition`` records of each partition of ``topic`` (its name on the cluster).

    :raises ConfigError: no such topic.
    :raises BrokerUnavailableError: nobody answered.
    """
    from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

    ends = end_offsets(settings, topic)
    consumer = new_consumer(settings)
    try:
        lows = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ANSWER_S)[0] for p in ends}
    except KafkaException as e:
        unavailable(settings, e)
    finally:
        consumer.close()
    yield from read(settings, topic, start={p: max(lows[p], end - per_partition) for p, end in ends.items()})
