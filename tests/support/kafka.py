"""What a test says to a broker: topics of its own, records in, records out.

Law: every test works under a topic prefix of its own, so that tests neither disturb each other nor need an
empty broker; what it made is deleted when it ends.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from paritygate.cli.broker import RunningBroker
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import PARTITIONER, TOPICS, Topic

_WAIT_S = 60.0
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it lies on the broker."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None] = field(default_factory=dict)


class KafkaBench:
    """The broker of one test. Topic names are those on the cluster: ``settings.topic(NAME.name)``."""

    def __init__(self, broker: RunningBroker, label: str) -> None:
        self.broker = broker
        self._label = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")[:60]
        self._prefixes: list[str] = []
        self._names: set[str] = set()
        self.admin = AdminClient(KafkaSettings(bootstrap=broker.bootstrap).confluent())

    def settings(self, prefix: str = "") -> KafkaSettings:
        """Settings with a fresh topic prefix at each call; ``prefix`` only makes it easier to read."""
        whole = f"{prefix or self._label}-{time.time_ns() // 1_000_000:x}-{next(_NUMBERS)}."
        self._prefixes.append(whole)
        return KafkaSettings(bootstrap=self.broker.bootstrap, topic_prefix=whole)

    def create_topics(self, settings: KafkaSettings, partitions: int = 4, topics: Sequence[Topic] = TOPICS) -> None:
        """Make the topics of the table under the prefix and wait until every partition has a leader."""
        self.create(*(new_topic(settings, topic, partitions) for topic in topics))

    def create(self, *topics: NewTopic) -> None:
        """Make topics with any shape and wait until every partition has a leader."""
        for made in self.admin.create_topics(list(topics), operation_timeout=_WAIT_S).values():
            made.result(_WAIT_S)
        self._names.update(topic.topic for topic in topics)
        wanted = {topic.topic for topic in topics}
        _until(lambda: all(self._led(name) for name in wanted), f"leaders of {sorted(wanted)}")

    def _led(self, name: str) -> bool:
        known = self.admin.list_topics(name, timeout=_WAIT_S).topics[name]
        return not known.error and bool(known.partitions) and all(p.leader >= 0 for p in known.partitions.values())

    def produce(
        self,
        topic: str,
        records: Iterable[tuple[bytes | str | None, bytes | str | None]],
        *,
        partition: int | None = None,
        headers: dict[str, bytes | str | None] | None = None,
    ) -> int:
        """Write (key, value) records in order with the partitioner of ours; returns how many the broker took."""
        # Not idempotent: asking for a producer id costs 0.5 s a call. One request in flight keeps the order.
        config = KafkaSettings(bootstrap=self.broker.bootstrap).confluent(
            **{"partitioner": PARTITIONER, "acks": "all", "linger.ms": 1, "max.in.flight": 1}
        )
        producer = Producer(config)
        failed: list[KafkaError] = []
        sent = 0
        where = -1 if partition is None else partition  # -1: let the partitioner choose
        for key, value in records:
            producer.produce(
                topic,
                key=key,
                value=value,
                headers=list((headers or {}).items()),
                on_delivery=lambda error, _message: failed.append(error) if error else None,
                partition=where,
            )
            sent += 1
            if sent % 10_000 == 0:
                producer.flush(_WAIT_S)
        left = producer.flush(_WAIT_S)
        if failed or left:
            raise AssertionError(f"{left} of {sent} records not delivered to {topic}: {failed[:1]}")
        return sent

    def read(self, topic: str, *, count: int | None = None, timeout_s: float = _WAIT_S) -> list[Record]:
        """Every record of a topic, partition by partition in offset order.

        Without ``count``: what lies there now. With ``count``: waits until at least so many can be read.
        """
        consumer = Consumer(
            KafkaSettings(bootstrap=self.broker.bootstrap).confluent(
                **{
                    "group.id": f"reader-{next(_NUMBERS)}",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 20,  # the end of a partition is told this late
                    "isolation.level": "read_committed",
                }
            )
        )
        try:
            return sorted(
                _drain(consumer, topic, count, time.monotonic() + timeout_s), key=lambda r: (r.partition, r.offset)
            )
        finally:
            consumer.close()

    def end_offset(self, topic: str, partition: int) -> int:
        """The offset after the last record."""
        return self.end_offsets([(topic, partition)])[topic, partition]

    def end_offsets(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset after the last record of each (topic, partition)."""
        consumer = Consumer(
            KafkaSettings(bootstrap=self.broker.bootstrap).confluent(**{"group.id": f"reader-{next(_NUMBERS)}"})
        )
        try:
            return {
                place: int(consumer.get_watermark_offsets(TopicPartition(*place), timeout=_WAIT_S)[1])
                for place in places
            }
        finally:
            consumer.close()

    def close(self) -> None:
        """Delete what this test made; the broker goes on."""
        if not self._prefixes and not self._names:
            return
        prefixes = tuple(self._prefixes)
        try:
            known = self.admin.list_topics(timeout=_WAIT_S).topics
            doomed = [name for name in known if name in self._names or (prefixes and name.startswith(prefixes))]
            if doomed:
                for gone in self.admin.delete_topics(doomed, operation_timeout=1).values():
                    gone.exception(_WAIT_S)
        except KafkaException:
            pass  # the test broke its broker on purpose


def new_topic(settings: KafkaSettings, topic: Topic, partitions: int) -> NewTopic:
    """A topic of the table as the admin client wants it, one replica."""
    return NewTopic(
        settings.topic(topic.name),
        num_partitions=topic.partition_count(partitions),
        replication_factor=1,
        config=dict(topic.config),
    )


def _drain(consumer: Consumer, topic: str, count: int | None, until: float) -> Iterator[Record]:
    parts = sorted(consumer.list_topics(topic, timeout=_WAIT_S).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, part, 0) for part in parts])
    open_parts, seen = set(parts), 0
    while open_parts or (count is not None and seen < count):
        if time.monotonic() > until:
            raise AssertionError(f"{topic}: {seen} records read, {count or 'the end'} awaited")
        message = consumer.poll(0.2)
        if message is None:
            continue
        partition = message.partition()
        assert partition is not None
        if (error := message.error()) is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            open_parts.discard(partition)
            continue
        seen += 1
        offset = message.offset()
        assert offset is not None
        yield Record(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=message.timestamp()[1],
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers={name: _bytes(value) for name, value in dict(message.headers() or ()).items()},
        )


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _until(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _WAIT_S
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come within {_WAIT_S:g} s")
        time.sleep(0.02)
