"""Sender: the one thread between a bounded queue and librdkafka.

Law: ``offer()`` does a few steps under a lock and returns; encoding, sending, waiting and every error happen
in the thread. The thread outlives any error: a record that cannot be encoded costs one record.

A fork leaves the thread and librdkafka's threads behind in the parent; the first ``offer()`` in the child
notices and starts anew, without the parent's waiting events, which the parent sends itself.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from paritygate.producers.ledger import Ledger, Loss
from paritygate.schemas.errors import ConfigError, PoisonError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent

log = logging.getLogger(__name__)

Record = PredictionEvent | Outcome | PlatformEvent
Encode = Callable[[Record], bytes]

#: How long the idle thread sleeps between two looks at delivery reports.
_IDLE_S = 0.1
#: How long one try waits for room in librdkafka's own queue.
_FULL_S = 0.05
#: Delivery reports are served at least every so many events, so that they cannot pile up.
_POLL_EVERY = 256


class Wire(Protocol):
    """What the sender uses of ``confluent_kafka.Producer``."""

    def produce(
        self, topic: str, value: bytes, key: str, *, on_delivery: Callable[[Any, Any], None], timestamp: int
    ) -> None:
        """Queue one message; raises BufferError when full."""

    def poll(self, timeout: float, /) -> int:
        """Serve delivery reports."""

    def flush(self, timeout: float, /) -> int:
        """Wait for delivery reports; gives the number still out."""

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        """Give up everything still out; each gets a failed delivery report."""


class Parcel(NamedTuple):
    """One record on its way. ``size_bytes`` is an estimate that bounds the queue's memory.

    ``arm`` is set on answers: their loss is missing evidence. ``owed`` lost answers of ``owed_arm`` are what
    a platform report carries; if it is lost too, they must be reported again.
    """

    topic: str
    key: str
    at_ms: int
    record: Record
    size_bytes: int
    arm: Arm | None = None
    owed: int = 0
    owed_arm: Arm | None = None


class Sender:
    """Queue and thread.

    ``max_queue`` and ``max_queue_bytes`` bound what waits before librdkafka; ``linger_s`` is how long the
    thread lets events gather, which saves the interpreter a thread switch per event.

    :raises ConfigError: librdkafka refuses the properties.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        encode: Encode,
        ledger: Ledger,
        max_queue: int,
        max_queue_bytes: int,
        linger_s: float = 0.005,
        wire: Callable[[dict[str, Any]], Wire] = Producer,
    ) -> None:
        self._config = config | {"error_cb": self._on_error}
        self._encode, self._ledger, self._make = encode, ledger, wire
        self._max_queue, self._max_queue_bytes, self._linger_s = max_queue, max_queue_bytes, linger_s
        self._abandoned: list[Wire] = []
        self._closed = self._complained = False
        self.last_error = ""
        self._start_over()

    def _start_over(self) -> None:
        try:
            self._wire = self._make(dict(self._config))
        except (KafkaException, TypeError, ValueError) as e:
            raise ConfigError(f"the Kafka producer refuses its settings: {_text(e)}") from None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: deque[Parcel] = deque()
        self._queue_bytes = 0
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._fatal = False
        self._deadline_s = float("inf")

    def offer(self, parcel: Parcel) -> bool:
        """Take a parcel, or count it as lost; never waits."""
        if os.getpid() != self._pid:
            # The parent's producer must not be destroyed here: its threads are not in this process.
            self._abandoned.append(self._wire)
            self._ledger.forget()
            self._start_over()
        with self._lock:
            if self._closed:
                reason = Loss.CLOSED
            elif (
                len(self._queue) >= self._max_queue or self._queue_bytes + parcel.size_bytes > self._max_queue_bytes
            ):
                reason = Loss.QUEUE_FULL
            else:
                self._ledger.queued()
                self._queue.append(parcel)
                self._queue_bytes += parcel.size_bytes
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="paritygate-sender", daemon=True)
                    self._thread.start()
                if not self._wake.is_set():
                    self._wake.set()
                return True
        self._lose(parcel, reason, was_queued=False)
        return False

    def flush(self, timeout_s: float) -> int:
        """Wait until every accepted event has its end; gives how many have none after ``timeout_s`` seconds."""
        deadline_s = time.monotonic() + timeout_s
        self._hurry.set()
        try:
            while self._ledger.pending() and time.monotonic() < deadline_s and self._thread is not None:
                self._wake.set()
                time.sleep(0.005)
        finally:
            if not self._closed:
                self._hurry.clear()
        return self._ledger.pending()

    def close(self, timeout_s: float) -> None:
        """Send what waits, for at most ``timeout_s`` seconds, then give up and count the rest. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._deadline_s = time.monotonic() + timeout_s
            self._closed = True
            thread = self._thread if os.getpid() == self._pid else None
        if thread is None:
            return
        self._hurry.set()
        self._wake.set()
        thread.join(timeout_s + 2)

    def _run(self) -> None:
        while not self._closed:
            try:
                if self._wake.wait(_IDLE_S):
                    self._hurry.wait(self._linger_s)
                    self._wake.clear()
                    self._send_waiting()
                self._wire.poll(0)
                if self._fatal:
                    self._revive()
            except Exception:
                log.exception("the sender met an unexpected error and goes on")
        try:
            self._send_waiting()
            self._wire.flush(max(0.0, self._deadline_s - time.monotonic()))
        finally:
            self._give_up()

    def _send_waiting(self) -> None:
        served = 0
        while self._queue and time.monotonic() < self._deadline_s:
            with self._lock:
                parcel = self._queue.popleft()
                self._queue_bytes -= parcel.size_bytes
            self._send(parcel)
            served += 1
            if served % _POLL_EVERY == 0:
                self._wire.poll(0)

    def _send(self, parcel: Parcel) -> None:
        try:
            value = self._encode(parcel.record)
        except Exception as e:
            # Our own errors hold no payload; the text of others may, and must not get into logs.
            text = str(e) if isinstance(e, PoisonError) else type(e).__name__
            self.last_error = f"an event for {parcel.topic} cannot be encoded: {text}"
            if not self._complained:
                self._complained = True
                log.warning("%s; further ones are only counted", self.last_error)
            self._lose(parcel, Loss.INVALID)
            return
        settle = partial(self._settle, parcel.arm, parcel.owed, parcel.owed_arm)
        while True:
            try:
                self._wire.produce(parcel.topic, value, parcel.key, on_delivery=settle, timestamp=parcel.at_ms)
            except BufferError:
                if time.monotonic() >= self._deadline_s:
                    self._lose(parcel, Loss.CLOSED)
                    return
                self._wire.poll(_FULL_S)
            except Exception as e:
                self.last_error = _text(e)
                self._fatal = self._fatal or _is_fatal(e)
                if _is_too_large(e):
                    self._lose(parcel, Loss.INVALID)
                else:
                    self._ledger.sent()
                    self._lose(parcel, Loss.DELIVERY)
                return
            else:
                self._ledger.sent()
                return

    def _settle(self, arm: Arm | None, owed: int, owed_arm: Arm | None, error: Any, _message: Any) -> None:
        if error is None:
            self._ledger.delivered()
            return
        self.last_error = str(error)
        self._ledger.lost(Loss.DELIVERY, arm, was_queued=True)
        if owed_arm is not None:
            self._ledger.give_back(owed_arm, owed)

    def _lose(self, parcel: Parcel, reason: Loss, *, was_queued: bool = True) -> None:
        self._ledger.lost(reason, parcel.arm, was_queued=was_queued)
        if parcel.owed_arm is not None:
            self._ledger.give_back(parcel.owed_arm, parcel.owed)

    def _revive(self) -> None:
        """An idempotent producer that met a fatal error sends nothing any more: make a new one."""
        log.error("the Kafka producer met a fatal error (%s); starting a new one", self.last_error)
        self._wire.purge()
        self._wire.flush(1.0)
        self._wire = self._make(dict(self._config))
        self._fatal = False

    def _give_up(self) -> None:
        if self._ledger.pending():
            self._wire.purge()
            self._wire.flush(1.0)
        while self._queue:
            self._lose(self._queue.popleft(), Loss.CLOSED)

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = str(error)
        self._fatal = self._fatal or bool(error.fatal())


def _text(error: Exception) -> str:
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else None
    return str(inner.str()) if isinstance(inner, KafkaError) else str(error)


def _code(error: Exception) -> int | None:
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else None
    return inner.code() if isinstance(inner, KafkaError) else None


def _is_too_large(error: Exception) -> bool:
    return _code(error) in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._INVALID_ARG)


def _is_fatal(error: Exception) -> bool:
    return _code(error) == KafkaError._FATAL
