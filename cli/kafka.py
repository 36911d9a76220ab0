"""Read and write topics for a person: address, topics there are, records to the end or as they come.

Law: a reader joins no consumer group and commits nothing, so that looking never disturbs a worker or a router.
Every failure of the cluster becomes one sentence with what to check.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaException, Message

#: How long one question to the cluster may take before it counts as away.
ANSWER_S = 5.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it lies in the log; ``topic`` is its name on the cluster."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def kafka_settings(bootstrap: str | None) -> KafkaSettings:
    """Settings from ``--bootstrap``, the environment, or the local broker.

    :raises ConfigError: no address anywhere.
    """
    from paritygate.cli.broker import resolve_bootstrap  # noqa: PLC0415  (verbs pay for what they use)

    return KafkaSettings.from_mapping(os.environ, resolve_bootstrap(bootstrap))


def unavailable(settings: KafkaSettings, error: KafkaException | None = None) -> NoReturn:
    """Raise what the user is to read when the cluster does not answer.

    :raises BrokerUnavailableError: always.
    """
    why = f" ({error.args[0].str()})" if error is not None and error.args else ""
    raise BrokerUnavailableError(
        f"no Kafka broker answers at {settings.bootstrap}{why}: check the address and that it runs; "
        "'paritygate broker up' starts one here"
    )


def partition_counts(settings: KafkaSettings) -> dict[str, int]:
    """Partition count of every topic on the cluster, by its name there.

    :raises BrokerUnavailableError: nobody answered in time.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    try:
        topics = AdminClient(settings.confluent()).list_topics(timeout=ANSWER_S).topics
    except KafkaException as e:
        unavailable(settings, e)
    return {name: len(t.partitions) for name, t in topics.items() if t.error is None}


def require_topics(settings: KafkaSettings, *names: str) -> None:
    """Refuse to go on without these topics of the table.

    :raises ConfigError: one is missing.
    :raises BrokerUnavailableError: nobody answered.
    """
    there = partition_counts(settings)
    missing = [t for t in map(settings.topic, names) if t not in there]
    if missing:
        raise ConfigError(f"topic {missing[0]} is not there: 'paritygate topics create' makes it")


def new_consumer(settings: KafkaSettings, *, group: str = "paritygate.cli", **extra: Any) -> Consumer:
    """A consumer that only looks: no group membership, no commits, no topics made by asking.

    ``group``: the one whose commits are looked at.

    :raises ConfigError: the client library refuses the settings.
    """
    from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415

    config = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": 50,
    }
    try:
        return Consumer(settings.confluent(**config, **extra))
    except (KafkaException, ValueError) as e:
        raise ConfigError(f"the Kafka client refuses the settings: {e}") from None


def read(
    settings: KafkaSettings,
    topic: str,
    *,
    start: Mapping[int, int] | None = None,
    partitions: Collection[int] | None = None,
    from_end: bool = False,
    follow: bool = False,
    timeout_s: float | None = None,
) -> Iterator[Record]:
    """Records of ``topic`` (its name on the cluster), per partition in order.

    Reads up to the ends of the log and stops, or with ``follow`` goes on. ``start`` gives first offsets per
    partition, ``partitions`` those to read. ``timeout_s`` ends a follow after so long; without it, it never ends.

    :raises ConfigError: no such topic.
    :raises BrokerUnavailableError: nobody answered, or the broker went away before the end was reached.
    """
    from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition  # noqa: PLC0415

    default = OFFSET_END if from_end else OFFSET_BEGINNING
    consumer = new_consumer(settings)
    try:
        count = _partition_count(settings, consumer, topic)
        wanted = [p for p in range(count) if partitions is None or p in partitions]
        consumer.assign([TopicPartition(topic, p, (start or {}).get(p, default)) for p in wanted])
        yield from _drain(settings, consumer, wanted, follow=follow, timeout_s=timeout_s)
    finally:
        consumer.close()


def _partition_count(settings: KafkaSettings, consumer: Consumer, topic: str) -> int:
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        # Asked of the consumer itself: it then knows the leaders, and its first fetch starts 0.5 s earlier.
        found = consumer.list_topics(topic, timeout=ANSWER_S).topics.get(topic)
    except KafkaException as e:
        unavailable(settings, e)
    if found is None or found.error is not None or not found.partitions:
        raise ConfigError(f"topic {topic} is not there: 'paritygate topics create' makes the topics of the table")
    return len(found.partitions)


def _drain(
    settings: KafkaSettings, consumer: Consumer, wanted: Collection[int], *, follow: bool, timeout_s: float | None
) -> Iterator[Record]:
    from confluent_kafka import KafkaError  # noqa: PLC0415

    open_partitions = set(wanted)
    began = heard = time.monotonic()
    while open_partitions or follow:
        message = consumer.poll(_POLL_S)
        now = time.monotonic()
        if follow and timeout_s is not None and now - began > timeout_s:
            return
        if message is None:
            if not follow and now - heard > 2 * ANSWER_S:
                unavailable(settings)
            continue
        error = message.error()
        if error is None:
            yield _record(message)
            heard = time.monotonic()  # a slow reader is no silent broker
        elif error.code() == KafkaError._PARTITION_EOF:
            heard = now
            open_partitions.discard(message.partition())


def _record(message: Message) -> Record:
    headers = message.headers() or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value)) for name, value in pairs),
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def end_offsets(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Offset of the next record of every partition of ``topic``.

    :raises ConfigError: no such topic.
    :raises BrokerUnavailableError: nobody answered.
    """
    from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

    consumer = new_consumer(settings)
    try:
        count = _partition_count(settings, consumer, topic)
        return {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ANSWER_S)[1] for p in range(count)
        }
    except KafkaException as e:
        unavailable(settings, e)
    finally:
        consumer.close()


def offsets_at(settings: KafkaSettings, topic: str, at_ms: int) -> dict[int, int]:
    """Per partition of ``topic`` the first offset whose record is of ``at_ms`` or later; none where all are older.

    :raises ConfigError: no such topic.
    :raises BrokerUnavailableError: nobody answered.
    """
    from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

    consumer = new_consumer(settings)
    try:
        count = _partition_count(settings, consumer, topic)
        asked = [TopicPartition(topic, p, max(at_ms, 0)) for p in range(count)]
        found = consumer.offsets_for_times(asked, timeout=ANSWER_S)
        return {t.partition: t.offset for t in found if t.offset >= 0}
    except KafkaException as e:
        unavailable(settings, e)
    finally:
        consumer.close()


def write(
    settings: KafkaSettings, topic: str, key: str, value: bytes, headers: Iterable[tuple[str, bytes]] = ()
) -> int:
    """Write one record and wait until the broker has it; the offset it got.

    :raises BrokerUnavailableError: it was not acknowledged within the time given.
    """
    from confluent_kafka import KafkaError, Producer  # noqa: PLC0415

    done: list[tuple[KafkaError | None, int]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        done.append((error, message.offset() or 0))

    config = {"linger.ms": 0, "message.timeout.ms": int(2 * ANSWER_S * 1000), "allow.auto.create.topics": False}
    producer = Producer(settings.confluent_producer(**config))
    producer.produce(topic, value, key=key.encode(), headers=list(headers), on_delivery=delivered)
    producer.flush(2 * ANSWER_S + 1)
    if not done or done[0][0] is not None:
        why = f": {done[0][0].str()}" if done and done[0][0] is not None else ""
        raise BrokerUnavailableError(f"{settings.bootstrap} did not take the record for {topic}{why}")
    return done[0][1]
