"""Send records and wait until the broker has them: the one door through which the worker writes.

Faust's own producer does the sending. The order that makes a crash harmless is the caller's duty: outputs
first, then the snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from paritygate.schemas.errors import RecoverableError
from paritygate.streams.log_lines import described


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One record to be written. ``topic`` is the name on the cluster."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Outbox:
    """Writes records through a Faust app's producer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def send(self, records: Iterable[Outgoing]) -> list[int]:
        """Write all records; returns their offsets, in the order given, when every one is acknowledged.

        :raises RecoverableError: one could not be written within the producer's time; names its topic.
        """
        producer = await self._app.maybe_start_producer()
        return list(await asyncio.gather(*(self._send_one(producer, r) for r in records)))

    async def _send_one(self, producer: Any, record: Outgoing) -> int:
        headers = list(record.headers) or None
        try:
            written = await producer.send_and_wait(
                record.topic, record.key, record.value, record.partition, None, headers
            )
        except (KafkaError, ProducerSendError) as e:
            raise RecoverableError(f"{record.topic} cannot be written: {described(e)}") from e
        return int(written.offset)
