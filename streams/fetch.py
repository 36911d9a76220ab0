"""Fetch raw record batches of owned partitions at our own positions.

Law: what is handed on is contiguous. The next request of a partition starts where the last one ended, and an
offset that the log no longer has is reported as a loss with its range, never skipped in silence.

One request per broker covers every owned partition of every bulk topic (as Kafka's own consumers do), so a
quiet partition does not delay a busy one. Group membership, heartbeats and assignment stay with Faust; this
module only reads. A leader change, a lost connection or a throttled request is retried after a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, for_code
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError

log = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.2
_NOT_LEADER = {3, 5, 6, 9, 74, 76}  # unknown topic, no leader, not leader, not available, fenced epochs
_OFFSET_OUT_OF_RANGE = 1
_EARLIEST = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Answer for one topic partition: raw batches from ``start`` on, and where its log ends."""

    topic: str
    partition: int
    start: int
    data: bytes
    log_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Offsets ``[first, next)`` that the broker deleted before they were read."""

    topic: str
    partition: int
    first: int
    next: int


class BatchFetcher:
    """Reads raw record batches; knows nothing of groups, records or joins."""

    def __init__(self, kafka: KafkaSettings, topics: list[str], *, wait_ms: int, partition_bytes: int) -> None:
        self._client = AIOKafkaClient(**aiokafka_config(kafka))
        self._topics = topics
        self._wait_ms = wait_ms
        self._partition_bytes = partition_bytes
        self._where = kafka.bootstrap

    async def start(self) -> None:
        """Connect and learn where the topics live.

        :raises BrokerUnavailableError: no broker answered.
        """
        try:
            await self._client.bootstrap()
        except KafkaConnectionError:
            raise BrokerUnavailableError(f"no Kafka broker answers at {self._where}") from None
        self._client.set_topics(self._topics)
        await self._client.force_metadata_update()

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def fetch(self, positions: Mapping[tuple[str, int], int]) -> tuple[list[Fetched], list[Lost]]:
        """Ask once for everything after ``positions``; waits at most ``wait_ms`` for the first byte.

        Partitions whose leader is unknown or away are left out of this answer and asked again next time.
        """
        by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = {}
        for (topic, partition), offset in positions.items():
            node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if node is None or node < 0:
                continue
            wanted = by_node.setdefault(node, {}).setdefault(topic, [])
            wanted.append((partition, offset, self._partition_bytes))
        if not by_node:
            await self._refresh()
            return [], []
        answers = await asyncio.gather(*(self._ask(node, list(t.items())) for node, t in by_node.items()))
        fetched: list[Fetched] = []
        lost: list[Lost] = []
        for answer in answers:
            for topic, parts in answer:
                for part in parts:
                    await self._sort_out(topic, part, positions, fetched, lost)
        return fetched, lost

    async def _ask(self, node: int, topics: list[tuple[str, list[tuple[int, int, int]]]]) -> Any:
        request = FetchRequest(self._wait_ms, 1, 64 << 20, 0, topics)
        try:
            response = await self._client.send(node, request)
        except (KafkaError, NodeNotReadyError, ConnectionError) as e:
            log.warning("fetch from broker %d failed (%s); asking again", node, type(e).__name__)
            await self._refresh()
            return []
        throttle_ms = getattr(response, "throttle_time_ms", 0)
        if throttle_ms:
            await asyncio.sleep(throttle_ms / 1000)
        return response.topics

    async def _sort_out(
        self,
        topic: str,
        part: tuple[Any, ...],
        positions: Mapping[tuple[str, int], int],
        fetched: list[Fetched],
        lost: list[Lost],
    ) -> None:
        partition, error, log_end, data = part[0], part[1], part[2], part[-1]
        start = positions[topic, partition]
        if error == 0:
            # bytes stay as they came: decoding whole batches is the codec's work
            fetched.append(
                Fetched(topic=topic, partition=partition, start=start, data=data or b"", log_end=log_end)
            )
        elif error == _OFFSET_OUT_OF_RANGE:
            first = await self._earliest(topic, partition)
            if first is not None and first > start:
                lost.append(Lost(topic=topic, partition=partition, first=start, next=first))
            else:
                await asyncio.sleep(RETRY_PAUSE_S)
        elif error in _NOT_LEADER:
            await self._refresh()
        else:
            log.warning("fetch of %s-%d: %s", topic, partition, for_code(error).__name__)
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _earliest(self, topic: str, partition: int) -> int | None:
        node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if node is None:
            return None
        response = await self._client.send(node, OffsetRequest(-1, 0, [(topic, [(partition, _EARLIEST)])]))
        answer = response.topics[0][1][0]
        return int(answer[3]) if answer[1] == 0 else None

    async def _refresh(self) -> None:
        await asyncio.sleep(RETRY_PAUSE_S)
        await self._client.force_metadata_update()


def aiokafka_config(kafka: KafkaSettings) -> dict[str, Any]:
    """The same address and security for aiokafka's clients."""
    config: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "security_protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        config |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    if kafka.security_protocol.endswith("SSL"):
        config["ssl_context"] = ssl_context(kafka)
    return config


def ssl_context(kafka: KafkaSettings) -> Any:
    """TLS context with host name check; the client's own certificate where one is set."""
    return create_ssl_context(
        cafile=kafka.ssl_ca_location or None,
        certfile=kafka.ssl_certificate_location or None,
        keyfile=kafka.ssl_key_location or None,
    )
