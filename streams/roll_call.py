"""Call the roll: follow ``router.acks.v1``, so that window reports can say which routers live and what they do.

Law: it can only make a promotion wait. Where it cannot read it says what it knew, with the offset up to which it
had heard, and goes on trying; the join never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from paritygate.rollouts.roll import Roll
from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, DecodeError
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import ROUTER_ACKS
from paritygate.streams.connect import start_consumer

log = logging.getLogger(__name__)

#: How far back to read at first: routers that said last that their lease is over must not be forgotten.
_BACK_MS = 3_600_000
_WAIT_MS = 200
_AGAIN_S = 2.0


class RollCall:
    """The roll of every rollout, kept in the background while this worker owns partitions."""

    def __init__(self, kafka: KafkaSettings, clock_ms: Callable[[], int]) -> None:
        self._kafka, self._clock_ms = kafka, clock_ms
        self._place = TopicPartition(kafka.topic(ROUTER_ACKS.name), 0)
        self._roll = Roll()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow; does nothing where it does already."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="roll-call")

    async def stop(self) -> None:
        """Follow no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def tell(self, report: WindowReport) -> WindowReport:
        """The report with the routers of its rollout, as far as they were heard."""
        return replace(report, acks_next=self._roll.next, routers=self._roll.of(report.rollout_id))

    async def _run(self) -> None:
        told = ""
        while True:
            try:
                await self._follow()
            except (KafkaError, BrokerUnavailableError) as e:
                # Once for each reason: a right that is missing stays missing.
                if told != (told := type(e).__name__):
                    log.warning("%s cannot be followed (%s); trying on", self._place.topic, told)
            except Exception:
                log.exception("%s cannot be followed; trying on", self._place.topic)
            await asyncio.sleep(_AGAIN_S)

    async def _follow(self) -> None:
        consumer = await start_consumer(self._kafka, fetch_max_wait_ms=_WAIT_MS)
        try:
            consumer.assign([self._place])
            await self._begin(consumer)
            while True:
                for batch in (await consumer.getmany(timeout_ms=_WAIT_MS)).values():
                    for record in batch:
                        self._roll.take(record.offset, record.timestamp, _read(record.value))
        finally:
            await consumer.stop()

    async def _begin(self, consumer: Any) -> None:
        """Go on where it stood; at first an hour back."""
        if self._roll.next:
            consumer.seek(self._place, self._roll.next)
            return
        since = await consumer.offsets_for_times({self._place: self._clock_ms() - _BACK_MS})
        found = since[self._place]
        if found is None:
            await consumer.seek_to_end(self._place)
        else:
            consumer.seek(self._place, found.offset)


def _read(value: bytes | None) -> RouterAck | None:
    try:
        return RouterAck.from_bytes(value or b"")
    except DecodeError:
        return None
