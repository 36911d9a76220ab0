"""One receiver's courier: follows the control topic and delivers what is news, in order, each until it is taken.

Laws:

* Every target has a courier, a position and a pace of its own: one that is down holds up no other.
* The position (committed to the group ``paritygate.notify.TARGET``) moves on only after a message was taken or
  given up. So a restart loses nothing, and may repeat the one message that was under way, with the same id.
* The first start begins at the end of the log, and a restart reads what lies before its position only to know
  where each rollout stands: nobody is flooded with history.
* It only reads. Nothing here can hold up, change or lose a decision.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from paritygate.cli.notify.address import DeliveryError
from paritygate.cli.notify.change import Change, Changes
from paritygate.cli.notify.config import Target
from paritygate.cli.notify.message import message, summary
from paritygate.cli.notify.post import post
from paritygate.cli.notify.signature import signed_headers
from paritygate.cli.said import decision_keys
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import DecodeError
from paritygate.schemas.metrics import Counter, Metrics
from paritygate.schemas.signature import DECISION, Headers
from paritygate.schemas.topics import DECISIONS

if TYPE_CHECKING:
    from confluent_kafka import Consumer

_POLL_S = 0.2
_ANSWER_S = 10.0
#: Pauses before the second try and so on; the last one is used from then on.
PAUSES_S = (0.5, 1, 2, 5, 10, 30, 60)
#: A pause is drawn between this share of it and the whole, so that many senders do not come back as one.
JITTER = 0.5

Say = Callable[[str], None]
Send = Callable[[Target, Change], None]


def send(target: Target, change: Change) -> None:
    """Deliver one piece of news.

    :raises DeliveryError: it was not taken.
    """
    written = message(change, target.format, target.link)
    headers = signed_headers(written, target.key, int(time.time()))
    post(target.url, headers, written.body, private=target.private)


class Delivery:
    """Tries until a message is taken, given up, or the process stops."""

    def __init__(
        self, target: Target, stop: threading.Event, say: Say, metrics: Metrics, sender: Send = send
    ) -> None:
        self._target, self._stop, self._say, self._metrics, self._send = target, stop, say, metrics, sender

    def deliver(self, change: Change) -> bool:
        """True once there is nothing left to do for ``change``; False when the process stops before."""
        if change.severity.rank < self._target.least.rank:
            return True
        name, began_s, tries = self._target.name, time.monotonic(), 0
        what = f"{summary(change)}, decision {change.decision.sequence}"
        while not self._stop.is_set():
            try:
                self._send(self._target, change)
            except DeliveryError as e:
                self._count("failed")
                pause_s = e.retry_after_s or PAUSES_S[min(tries, len(PAUSES_S) - 1)]
                tries += 1
                if time.monotonic() - began_s + pause_s > self._target.give_up_after_s:
                    self._count("given_up")
                    self._say(f"{name}: given up after {tries} tries: {what}: {e}")
                    return True
                self._say(f"{name}: {e}; tries again in {pause_s:g} s: {what}")
                self._stop.wait(pause_s * random.uniform(JITTER, 1))  # noqa: S311  (spreads load, keeps no secret)
            else:
                self._count("taken")
                self._say(f"{name}: told: {what}")
                return True
        return False

    def _count(self, result: str) -> None:
        self._metrics.inc(Counter.NOTIFICATIONS, target=self._target.name, result=result)


class Courier:
    """Follows the control topic for one target, in the thread that calls :meth:`run`."""

    def __init__(
        self, settings: KafkaSettings, target: Target, stop: threading.Event, say: Say, metrics: Metrics
    ) -> None:
        self._settings, self._target, self._stop, self._say = settings, target, stop, say
        self._topic = settings.topic(DECISIONS.name)
        self._delivery = Delivery(target, stop, say, metrics)
        self._changes = Changes()
        self._errors: set[str] = set()
        self._keys = decision_keys()

    @property
    def group(self) -> str:
        """The consumer group that holds the position."""
        return f"{self._settings.topic_prefix}paritygate.notify.{self._target.name}"

    def run(self) -> None:
        """Follow until the stop is set. Without a broker it waits for one."""
        from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415  (verbs pay for what they use)

        config = {
            "group.id": self.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
        }
        consumer = Consumer(self._settings.confluent(**config))
        try:
            while not self._stop.is_set():
                try:
                    self._follow(consumer, self._begin(consumer))
                except KafkaException as e:
                    self._trouble(e.args[0].str() if e.args else type(e).__name__)
                    self._stop.wait(1)
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer) -> int:
        """The first offset whose news is to be told; committed at once, so that nothing after it can be lost."""
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition  # noqa: PLC0415

        here = TopicPartition(self._topic, 0)
        _, end = consumer.get_watermark_offsets(here, timeout=_ANSWER_S)
        (committed,) = consumer.committed([here], timeout=_ANSWER_S)
        first = committed.offset
        if not 0 <= first <= end:  # nothing committed, or the topic was made anew
            first = end
            self._commit(consumer, first)
        self._changes = Changes()
        consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        self._say(f"{self._target.name}: tells {self._target.url} what is decided from offset {first} on")
        return first

    def _follow(self, consumer: Consumer, first: int) -> None:
        waiting: int | None = None
        while not self._stop.is_set():
            found = consumer.poll(_POLL_S)
            if found is None:
                if waiting is not None:
                    self._commit(consumer, waiting)
                    waiting = None
                continue
            if (error := found.error()) is not None:
                self._trouble(error.str())
                continue
            offset = found.offset() or 0
            change = self._read(found.value(), found.headers())
            if offset < first:
                continue
            if change is None:
                waiting = offset + 1  # the position of what is no news may lag behind
                continue
            if not self._delivery.deliver(change):
                return
            self._commit(consumer, offset + 1)
            waiting = None

    def _read(self, value: bytes | str | None, headers: Headers | None) -> Change | None:
        data = value if isinstance(value, bytes) else b""
        if self._keys is not None and self._keys.refusal(DECISION, data, headers):
            return None
        try:
            return self._changes.take(GateDecision.from_bytes(data))
        except DecodeError:
            return None

    def _commit(self, consumer: Consumer, offset: int) -> None:
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        consumer.commit(offsets=[TopicPartition(self._topic, 0, offset)], asynchronous=False)

    def _trouble(self, text: str) -> None:
        """Say what the cluster says, each thing once: a broker that is away says it over and over."""
        if text not in self._errors:
            self._errors.add(text)
            self._say(f"{self._target.name}: Kafka says: {text}")
