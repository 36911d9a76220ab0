"""Follow: keep a board up to date from the topics, in a thread of its own.

Law: it joins no group and commits nothing, so looking disturbs nobody. It never gives up: a broker that is away, a
topic that is not there yet or was made anew are states that are told and that end by themselves. Control topics are
read to their ends before the first window, since they say where the windows of open rollouts begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from paritygate.dashboard.board import CONTROL, Board
from paritygate.dashboard.board import TOPICS as READ
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.signature import EVERYBODY, Trust
from paritygate.schemas.topics import WINDOWS

#: How often the broker is asked whether it is there, and how long it may take to answer.
ASK_EVERY_S: Final = 2.0
ANSWER_S: Final = 2.0
_POLL_S: Final = 0.1
_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the reader stands to the broker.

    ``heard_at_ms``: when it answered last, None before the first time. ``trouble``: why nothing comes, empty when
    all is well. ``positions``: next offset to read by topic of the table; ``ends``: where its log ended when last
    asked.
    ``resets``: how often everything was read anew because a topic was not the one that it had been.
    """

    heard_at_ms: int | None = None
    trouble: str = "not connected yet"
    positions: dict[str, int]
    ends: dict[str, int]
    resets: int = 0

    @property
    def behind(self) -> int:
        """Records that are there and not read yet."""
        return sum(max(0, end - self.positions.get(topic, 0)) for topic, end in self.ends.items())


class Follower:
    """Reads the topics of a board until it is closed. ``trust``: as for :class:`Board`."""

    def __init__(self, settings: KafkaSettings, trust: Trust = EVERYBODY) -> None:
        self.settings = settings
        self._trust = trust
        self.board = Board(trust)
        self.reading = Reading(positions={}, ends={})
        self._changed: list[Callable[[], None]] = []
        self._names = {settings.topic(name): name for name in READ}
        self._another_log = False
        self._stop = Event()
        self._thread = Thread(target=self._run, name="dashboard-follow", daemon=True)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` from the reading thread after every change."""
        self._changed.append(changed)

    def told(self) -> None:
        """Say that something changed."""
        for changed in self._changed:
            changed()

    def start(self) -> None:
        """Begin to read. Does not block, and does not need the broker to be there."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; blocks for one poll at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * ANSWER_S + 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                consumer = Consumer(self._config())
            except (KafkaException, ValueError) as e:
                self._troubled(f"the Kafka client refuses the settings: {e}")
                self._stop.wait(ASK_EVERY_S)
                continue
            try:
                self._read(consumer)
            except KafkaException as e:
                self._troubled(e.args[0].str() if e.args else str(e))
                self._stop.wait(ASK_EVERY_S / 2)
            except Exception as e:  # a reader that ends in silence would leave a page that looks alive
                self._begin_anew()
                self._troubled(f"reading failed and begins anew: {type(e).__name__}: {e}")
                self._stop.wait(ASK_EVERY_S)
            finally:
                consumer.close()

    def _config(self) -> dict[str, object]:
        return self.settings.confluent(
            **{
                "group.id": "paritygate.dashboard",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 1000,
            }
        )

    def _read(self, consumer: Consumer) -> None:
        """Read until closed, or until the topics are no longer those that were read; then begin anew."""
        while not self._stop.is_set() and not self._ask(consumer):
            self._stop.wait(ASK_EVERY_S / 2)
        if self._stop.is_set():
            return
        positions = self.reading.positions
        topics = READ if self.board.complete else CONTROL
        consumer.assign([self._place(name, positions.get(name, OFFSET_BEGINNING)) for name in topics])
        asked = time.monotonic()
        while not self._stop.is_set():
            messages = consumer.consume(_BATCH, _POLL_S)
            taken = sum(self._take(message) for message in messages)
            now = time.monotonic()
            if now - asked >= ASK_EVERY_S or (not self.board.complete and not messages):
                asked = now
                self._ask(consumer)
                if self._replaced():
                    self._begin_anew()
                    return
            if not self.board.complete and not self.reading.trouble and self.reading.behind == 0:
                self._follow_windows(consumer)
            if self.board.wanted_from is not None:
                self._rewind(consumer)
            if taken:
                self.told()

    def _place(self, name: str, offset: int) -> TopicPartition:
        return TopicPartition(self.settings.topic(name), 0, offset)

    def _take(self, message: Message) -> bool:
        error, offset = message.error(), message.offset() or 0
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                # The end may lie behind markers of transactions, which no consumer is given.
                self.reading.positions[self._names[message.topic() or ""]] = offset
            elif error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                self._troubled(error.str())
            return False
        name = self._names[message.topic() or ""]
        if offset < self.reading.positions.get(name, 0):
            self._another_log = True  # the topic was made anew, and is read from its beginning
        value, key = message.value(), message.key()
        self.board.take(name, offset, message.timestamp()[1], _bytes(key), _bytes(value), headers=message.headers())
        self.reading.positions[name] = offset + 1
        return True

    def _ask(self, consumer: Consumer) -> bool:
        """Ask where the logs end; that is also how a silent broker is told from a quiet one."""
        ends: dict[str, int] = {}
        try:
            there = consumer.list_topics(timeout=ANSWER_S).topics
            missing = [topic for topic in self._names if topic not in there or there[topic].error is not None]
            if missing:
                self._troubled(f"topic {missing[0]} is not there: 'paritygate topics create' makes it")
                return False
            for name in READ if self.board.complete else CONTROL:
                low, high = consumer.get_watermark_offsets(self._place(name, 0), timeout=ANSWER_S)
                ends[name] = high
                # What the broker has deleted, or compacted away, is not waited for.
                if low == high or self.reading.positions.get(name, 0) < low:
                    self.reading.positions[name] = max(low, self.reading.positions.get(name, 0))
        except KafkaException as e:
            self._troubled(f"no Kafka broker answers at {self.settings.bootstrap} ({e.args[0].str()})")
            return False
        self.reading = replace(self.reading, heard_at_ms=_now_ms(), trouble="", ends=ends)
        self.told()
        return True

    def _begin_anew(self) -> None:
        self._another_log = False
        self.board = Board(self._trust)
        self.reading = Reading(positions={}, ends={}, resets=self.reading.resets + 1)

    def _replaced(self) -> bool:
        """Whether a log ends before what was read of it: it is another one."""
        return self._another_log or any(
            self.reading.positions.get(name, 0) > end for name, end in self.reading.ends.items()
        )

    def _follow_windows(self, consumer: Consumer) -> None:
        first = self.board.first_window()
        self.board.follow_open()
        place = self._place(WINDOWS.name, OFFSET_END if first is None else first)
        consumer.incremental_assign([place])
        if first is not None:
            self.reading.positions[WINDOWS.name] = first
        self.told()

    def _rewind(self, consumer: Consumer) -> None:
        wanted, self.board.wanted_from = self.board.wanted_from, None
        if wanted is not None and wanted < self.reading.positions.get(WINDOWS.name, 0):
            consumer.seek(self._place(WINDOWS.name, wanted))
            self.reading.positions[WINDOWS.name] = wanted

    def _troubled(self, why: str) -> None:
        if self.reading.trouble != why:
            self.reading = replace(self.reading, trouble=why)
            self.told()


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
