"""Ledger: what became of every event that was given to a publisher.

Law: every event ends in exactly one bin, so that ``offered`` always equals the sum of the bins. What was
lost is kept per arm until a platform report has carried it out: evidence that is missing must be seen to
be missing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum, unique
from typing import TypedDict

from paritygate.schemas.prediction import ARMS, Arm

log = logging.getLogger(__name__)


@unique
class Loss(StrEnum):
    """Why an event did not reach the broker."""

    QUEUE_FULL = "queue_full"
    INVALID = "invalid"
    DELIVERY = "delivery"
    CLOSED = "closed"


class PublisherStats(TypedDict):
    """Snapshot of a ledger; all values are counts of events since the publisher was made.

    ``offered`` = ``waiting`` + ``in_flight`` + ``delivered`` + the four losses. ``queued``: accepted into the
    hand-over queue. ``sent``: handed to librdkafka. ``delivered``: acknowledged by the broker.
    ``failed_delivery``: refused by the broker, or it did not answer within the delivery timeout.
    ``dropped_closed``: offered after ``close()``, or still waiting when its time ran out.
    ``output_too_large``: sent, with a stub in place of the output.
    """

    offered: int
    queued: int
    waiting: int
    sent: int
    in_flight: int
    delivered: int
    dropped_queue_full: int
    dropped_invalid: int
    dropped_closed: int
    failed_delivery: int
    output_too_large: int


#: Called once per lost event with the reason; must be quick, its exceptions are logged and go no further.
OnDrop = Callable[[Loss], None]


class Ledger:
    """Counts of one publisher; every method may be called from any thread and holds its lock for a few steps."""

    def __init__(self, on_drop: OnDrop | None = None) -> None:
        self._on_drop = on_drop
        self.forget()

    def forget(self) -> None:
        """Start from zero: a forked child owes nothing of what its parent took on."""
        self._lock = threading.Lock()
        self._queued = self._taken = self._sent = self._delivered = self._stubs = 0
        self._losses = dict.fromkeys(Loss, 0)
        self._losses_before_queue = 0
        self._missing = dict.fromkeys(ARMS, 0)

    def queued(self) -> None:
        """One event entered the hand-over queue."""
        with self._lock:
            self._queued += 1

    def sent(self) -> None:
        """One event left the hand-over queue for librdkafka."""
        with self._lock:
            self._taken += 1
            self._sent += 1

    def delivered(self) -> None:
        """The broker acknowledged one event."""
        with self._lock:
            self._delivered += 1

    def stub(self) -> None:
        """One output was too large and was replaced."""
        with self._lock:
            self._stubs += 1

    def lost(self, reason: Loss, arm: Arm | None, *, was_queued: bool) -> None:
        """One event is lost; ``arm`` is None for events that are no answers (outcomes, platform reports)."""
        with self._lock:
            self._losses[reason] += 1
            if not was_queued:
                self._losses_before_queue += 1
            elif reason is not Loss.DELIVERY:
                self._taken += 1
            if arm is not None:
                self._missing[arm] += 1
        if self._on_drop is not None:
            try:
                self._on_drop(reason)
            except Exception:
                log.exception("the on_drop hook of a publisher failed")

    def take_missing(self, arm: Arm) -> int:
        """Lost answers of ``arm`` since the last call; the caller now owes their publication."""
        with self._lock:
            count, self._missing[arm] = self._missing[arm], 0
        return count

    def give_back(self, arm: Arm, count: int) -> None:
        """Owe ``count`` lost answers of ``arm`` again, because the report that carried them was lost too."""
        with self._lock:
            self._missing[arm] += count

    def pending(self) -> int:
        """Events accepted whose end is not known yet."""
        with self._lock:
            return self._queued - self._taken + self._in_flight()

    def _in_flight(self) -> int:
        return self._sent - self._delivered - self._losses[Loss.DELIVERY]

    def stats(self) -> PublisherStats:
        """A consistent snapshot."""
        with self._lock:
            return PublisherStats(
                offered=self._queued + self._losses_before_queue,
                queued=self._queued,
                waiting=self._queued - self._taken,
                sent=self._sent,
                in_flight=self._in_flight(),
                delivered=self._delivered,
                dropped_queue_full=self._losses[Loss.QUEUE_FULL],
                dropped_invalid=self._losses[Loss.INVALID],
                dropped_closed=self._losses[Loss.CLOSED],
                failed_delivery=self._losses[Loss.DELIVERY],
                output_too_large=self._stubs,
            )
