"""What was published after a snapshot: windows that the next owner must report again.

Law: an owner that dies after it has published and before its snapshot may have put a count into another window
than its successor will: where a late or repeated event is counted depends on how far time had come when it was
read. So each window in the log after the snapshot is reported again, as an empty one if nothing is left of it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from aiokafka.structs import TopicPartition

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.report_columns import decode_report
from paritygate.schemas.topics import WINDOWS
from paritygate.streams.connect import start_consumer

log = logging.getLogger(__name__)


class PublishedWindows:
    """The report topic, read from an offset to its end."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._place = TopicPartition(kafka.topic(WINDOWS.name), 0)

    async def since(
        self, offset: int | None, partitions: Collection[int]
    ) -> tuple[list[tuple[int, str, int]], int]:
        """Windows of the partitions that were reported from an offset on, and the end of the log.

        Each as (partition, rollout id, window start); none where ``offset`` is ``None``.
        """
        consumer = await start_consumer(self._kafka, fetch_max_wait_ms=50)
        try:
            consumer.assign([self._place])
            end = int((await consumer.end_offsets([self._place]))[self._place])
            found: dict[tuple[int, str, int], None] = {}
            if offset is None or offset >= end:
                return [], end
            consumer.seek(self._place, offset)
            while await consumer.position(self._place) < end:
                for record in (await consumer.getmany(self._place, timeout_ms=50)).get(self._place, ()):
                    try:
                        report = decode_report(record.value or b"")
                    except PoisonError as e:
                        log.debug("%s offset %d is no report: %s", record.topic, record.offset, e)
                        continue
                    if report.partition in partitions:
                        found[report.partition, report.rollout_id, report.window_start_ms] = None
            return list(found), end
        finally:
            await consumer.stop()
