"""The raw topics of one partition, fed to a join in offset order as the worker does.

Law: a record that nothing reads is dead to the join and takes its offset all the same. Offsets that the log no
longer has are told to the join as lost, and to the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from paritygate.cli.kafka import Record, read
from paritygate.schemas.codec import decode_outcome, decode_platform, decode_prediction
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.errors import InvalidRecordError, PoisonError
from paritygate.schemas.topics import BULK, OUTCOMES, PLATFORM

if TYPE_CHECKING:
    from paritygate.comparators.partition import PartitionJoin
    from paritygate.comparators.recount import Pin
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.codec import ConfluentIds

#: Records that are decoded and applied as one batch.
BATCH: Final = 5_000
Event = TypeVar("Event")


class RawPartition:
    """Feeds one partition. ``lost``: (topic, first offset that is there) of logs that retention has cut."""

    def __init__(self, settings: KafkaSettings, partition: int, confluent_ids: ConfluentIds | None = None) -> None:
        self._partition, self._ids = partition, confluent_ids
        self._next = {topic.name: 0 for topic in BULK}
        self._held: dict[str, Record | None] = {}
        self._logs: dict[str, Iterator[Record]] = {
            t.name: read(settings, settings.topic(t.name), partitions=[partition]) for t in BULK
        }
        self.lost: dict[str, int] = {}

    def gone(self) -> tuple[str, ...]:
        """What the logs no longer hold, in words."""
        return tuple(f"{t}[{self._partition}] begins at offset {o}" for t, o in sorted(self.lost.items()))

    def feed(self, join: PartitionJoin, pin: Pin) -> None:
        """Ingest every record below the offsets of the pin."""
        for topic in BULK:
            end = pin.applied.get(topic.name, 0)
            while self._next[topic.name] < end:
                self._ingest(join, topic.name, end)

    def _ingest(self, join: PartitionJoin, topic: str, end: int) -> None:
        batch: list[Record] = []
        while len(batch) < BATCH:
            record = self._held.pop(topic, None) or next(self._logs[topic], None)
            if record is None or record.offset >= end:
                self._held[topic] = record
                break
            batch.append(record)
        begin = batch[0].offset if batch else end
        if self._next[topic] == 0 and begin > 0:
            self.lost[topic] = begin
            join.begin(topic, begin)
        following = end if len(batch) < BATCH else batch[-1].offset + 1
        self._apply(join, topic, batch, following)
        self._next[topic] = following

    def _apply(self, join: PartitionJoin, topic: str, batch: list[Record], following: int) -> None:
        if topic == OUTCOMES.name:
            outcomes, poison = self._decoded(batch, decode_outcome, lambda outcome: outcome.request_id)
            join.ingest_outcomes(outcomes, following)
        elif topic == PLATFORM.name:
            reports, poison = self._decoded(batch, decode_platform, lambda _: None)
            join.ingest_platform(reports, following)
        else:
            events, poison = self._decoded(batch, decode_prediction, lambda prediction: prediction.request_id)
            join.ingest(EventBatch.of(topic, self._partition, events), following)
        if poison:
            join.dead_letter(topic, poison)

    def _decoded(
        self, batch: list[Record], decode: Callable[..., Event], request_id: Callable[[Event], str | None]
    ) -> tuple[list[tuple[int, int, Event]], list[int]]:
        """(offset, append time, event) of what can be read, and the offsets of what cannot."""
        found: list[tuple[int, int, Event]] = []
        poison: list[int] = []
        for r in batch:
            try:
                event = decode(r.value, confluent_ids=self._ids)
                _check_key(r, request_id(event))
                found.append((r.offset, r.timestamp_ms, event))
            except PoisonError:
                poison.append(r.offset)
        return found, poison


def _check_key(record: Record, wanted: str | None) -> None:
    """A record whose key is another than its request id lies on any partition; the worker does not count it.

    :raises InvalidRecordError: the key is missing or another one.
    """
    if record.key is None or (wanted is not None and record.key != wanted.encode()):
        raise InvalidRecordError("the key is not the request id")
