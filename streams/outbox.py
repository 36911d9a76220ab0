"""Send records and wait until the broker has them: the one door through which the worker writes.

Faust's own producer does the sending. The order that makes a crash harmless is the caller's duty: outputs
first, then the snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


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

    async def send(self, records: Iterable[Outgoing]) -> None:
        """Write all records; returns when every one is acknowledged, raises what the first failure was."""
        producer = await self._app.maybe_start_producer()
        await asyncio.gather(
            *(
                producer.send_and_wait(
                    r.topic, r.key, r.value, r.partition, None, list(r.headers) if r.headers else None
                )
                for r in records
            )
        )
