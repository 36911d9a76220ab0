"""Bury what nothing reads: one record each in the dead letter topic, and a line in the log now and then.

Law: a bad record costs itself and nothing else. It is in the dead letter topic before its offset counts as read,
so it may lie there twice after a crash, but never not at all.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from paritygate.schemas.dead_letter import Poison, dead_letter
from paritygate.schemas.topics import BY_NAME
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.outbox import Outbox, Outgoing
from paritygate.streams.settings import WorkerSettings

log = logging.getLogger(__name__)

#: How often a topic partition that holds bad records is told of: a storm of them must not fill the log.
TELL_EVERY_MS = 10_000
#: Most bytes of headers that are copied; with key and value (``MAX_COPY_BYTES`` each) it fits the topic's limit.
MAX_HEADER_BYTES = 256 * 1024


class Graves:
    """The dead letter topics of one worker."""

    def __init__(self, settings: WorkerSettings, outbox: Outbox, metrics: WorkerMetrics) -> None:
        self._settings = settings
        self._outbox = outbox
        self._metrics = metrics
        self._told: dict[tuple[str, int], tuple[int | None, int]] = {}

    async def bury(self, name: str, partition: int, poison: list[Poison], now_ms: int) -> None:
        """Write bad records of a topic (without the cluster's prefix); returns when the broker has them."""
        letters = [dead_letter(BY_NAME[name], partition, self._settings.app_id, _fitting(p)) for p in poison]
        await self._outbox.send(
            Outgoing(
                topic=self._settings.kafka.topic(letter.topic),
                partition=0,
                key=letter.key,
                value=letter.value,
                headers=letter.headers,
            )
            for letter in letters
        )
        for p in poison:
            self._metrics.dead_letter(name, p.kind)
        self._tell(name, partition, poison, now_ms)

    def _tell(self, name: str, partition: int, poison: list[Poison], now_ms: int) -> None:
        told_at_ms, untold = self._told.get((name, partition), (None, 0))
        untold += len(poison)
        if told_at_ms is not None and now_ms - told_at_ms < TELL_EVERY_MS:
            self._told[name, partition] = told_at_ms, untold
            return
        self._told[name, partition] = now_ms, 0
        log.warning(
            "%s-%d offset %d cannot be read: %s (%d since this was last said; they are in dlq.%s)",
            self._settings.kafka.topic(name), partition, poison[0].offset, poison[0].reason, untold, name,
        )  # fmt: skip


def _fitting(poison: Poison) -> Poison:
    """Without headers that no dead letter topic would take: a compressed batch may hold many megabytes of them."""
    size = sum(len(name.encode()) + len(value or b"") for name, value in poison.headers)
    if size <= MAX_HEADER_BYTES:
        return poison
    return replace(poison, headers=(("paritygate.error.header_bytes", str(size).encode()),))
