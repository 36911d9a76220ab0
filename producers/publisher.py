"""PredictionPublisher: events to Kafka, without ever making a request wait or fail.

Law: the ``publish`` methods put the event into a bounded queue and return; one daemon thread encodes and
sends. With the broker away the queue fills, then new events are dropped and counted, memory stays bounded,
and requests notice nothing. What was dropped is handed to platform reports as missing evidence.

It does not retry beyond librdkafka's own delivery timeout, and it keeps nothing on disk: a killed process
loses what was in its queue, and the join sees those answers as missing.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from confluent_kafka import Producer

from paritygate.producers.ledger import Ledger, Loss, OnDrop, PublisherStats
from paritygate.producers.partitions import check_partitions
from paritygate.producers.sender import Encode, Parcel, Record, Sender, Wire
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import encode as encode_record
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import MAX_OUTPUT_BYTES, Arm, PredictionEvent, Role
from paritygate.schemas.topics import BULK, OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, Topic

log = logging.getLogger(__name__)

#: ``error_type`` of an event whose output was longer than MAX_OUTPUT_BYTES and is not sent.
OUTPUT_TOO_LARGE = "output_too_large"
#: What one waiting event costs in memory apart from its output, for the bound on the queue (an estimate).
_EVENT_BYTES = 1024


class PredictionPublisher:
    """Publishes the events of one serving process.

    ``instance_id`` names the process; it is filled into events that have none. ``max_queue`` bounds the
    events waiting for the thread and again those inside librdkafka; ``max_queue_bytes`` bounds the memory
    of each of the two. ``delivery_timeout_ms``: how long librdkafka tries before an event counts as failed.
    ``on_drop`` is called with the reason of each loss (the metrics' hook). ``close_timeout_s`` is used at
    interpreter exit and by the context manager.

    :raises ConfigError: librdkafka refuses the settings. An absent broker is no error here.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        instance_id: str,
        max_queue: int = 10_000,
        max_queue_bytes: int = 64 << 20,
        delivery_timeout_ms: int = 60_000,
        linger_ms: int = 5,
        close_timeout_s: float = 5.0,
        on_drop: OnDrop | None = None,
        encode: Encode = encode_record,
        wire: Callable[[dict[str, Any]], Wire] = Producer,
    ) -> None:
        self.settings, self.instance_id = settings, instance_id
        self._ledger = Ledger(on_drop)
        self._names = {t.name: settings.topic(t.name) for t in BULK}
        self._close_timeout_s = close_timeout_s
        config = settings.confluent_producer(
            **{
                "client.id": instance_id,
                "linger.ms": linger_ms,
                "delivery.timeout.ms": delivery_timeout_ms,
                "queue.buffering.max.messages": max_queue,
                "queue.buffering.max.kbytes": max(1, max_queue_bytes >> 10),
            }
        )
        self._sender = Sender(
            config,
            encode=encode,
            ledger=self._ledger,
            max_queue=max_queue,
            max_queue_bytes=max_queue_bytes,
            linger_s=linger_ms / 1000,
            wire=wire,
        )
        self._at_exit = _closer(weakref.ref(self))
        atexit.register(self._at_exit)

    def publish(self, event: PredictionEvent) -> bool:
        """Take one answer; False when it was dropped (and counted). Never blocks, never raises.

        The topic follows the event's role. An output over MAX_OUTPUT_BYTES is replaced by an empty one, with
        ``error_type`` ``output_too_large``: the answer still counts, its content is not evidence.
        """
        try:
            output = event.output
            if len(output) * 4 > MAX_OUTPUT_BYTES and len(output.encode()) > MAX_OUTPUT_BYTES:
                event = replace(event, output="", error_type=OUTPUT_TOO_LARGE)
                self._ledger.stub()
            if not event.instance_id:
                event = replace(event, instance_id=self.instance_id)
            topic = PREDICTIONS_PRIMARY if event.role is Role.PRIMARY else PREDICTIONS_SHADOW
            return self._offer(topic, event.request_id, event, arm=event.arm, extra_bytes=len(event.output))
        except Exception as e:  # foreign objects in the event
            return self._refuse(e, getattr(event, "arm", None))

    def publish_outcome(self, outcome: Outcome) -> bool:
        """Take one late score; False when it was dropped (and counted). Never blocks, never raises."""
        try:
            return self._offer(OUTCOMES, outcome.request_id, outcome)
        except Exception as e:
            return self._refuse(e)

    def publish_platform(self, event: PlatformEvent) -> bool:
        """Take one platform report; False when it was dropped (and counted). Never blocks, never raises.

        If the report is lost on its way, its ``dropped_events`` are owed again (:meth:`take_dropped`).
        """
        try:
            return self._offer(PLATFORM, event.instance_id, event, owed=event.dropped_events, owed_arm=event.arm)
        except Exception as e:
            return self._refuse(e)

    def _offer(
        self,
        topic: Topic,
        key: str,
        record: Record,
        *,
        arm: Arm | None = None,
        extra_bytes: int = 0,
        owed: int = 0,
        owed_arm: Arm | None = None,
    ) -> bool:
        name = self._names[topic.name]
        size_bytes = _EVENT_BYTES + extra_bytes
        return self._sender.offer(Parcel(name, key, record.event_at_ms, record, size_bytes, arm, owed, owed_arm))

    def _refuse(self, error: Exception, arm: object = None) -> bool:
        log.warning("an event cannot be published (%s)", type(error).__name__)
        self._ledger.lost(Loss.INVALID, arm if isinstance(arm, Arm) else None, was_queued=False)
        return False

    def take_dropped(self, arm: Arm) -> int:
        """Lost answers of ``arm`` since the last call, for ``PlatformEvent.dropped_events``."""
        return self._ledger.take_missing(arm)

    def stats(self) -> PublisherStats:
        """A consistent snapshot of the counts."""
        return self._ledger.stats()

    @property
    def last_error(self) -> str:
        """The newest complaint of librdkafka, empty if there was none: for status pages."""
        return self._sender.last_error

    def check_topics(self, timeout_s: float = 5.0) -> int:
        """Make sure that the topics that are joined have one partition count, and return it. Blocks.

        :raises ConfigError: a topic is missing, or two of them have different partition counts.
        :raises BrokerUnavailableError: no broker answered within ``timeout_s`` seconds.
        """
        return check_partitions(self.settings, timeout_s)

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until every accepted event is delivered or lost; gives how many are still open. Blocks."""
        return self._sender.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Send what waits, for at most ``timeout_s`` seconds, then count the rest as lost. Idempotent; blocks."""
        atexit.unregister(self._at_exit)
        self._sender.close(self._close_timeout_s if timeout_s is None else timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _closer(publisher: weakref.ref[PredictionPublisher]) -> Callable[[], None]:
    def close_at_exit() -> None:
        alive = publisher()
        if alive is not None:
            alive.close()

    return close_at_exit
