"""Fetch raw record batches of owned partitions at our own positions.

Law: what is handed on is contiguous. The next request of a partition starts where the last one ended, and an
offset that the log no longer has is reported as a loss with its range, never skipped in silence. A log that
ends before our position was cut or made anew: that ends the worker, for nobody can say what was in it.

One request per broker covers every owned partition of every bulk topic (as Kafka's own consumers do), so a
quiet partition does not delay a busy one. Group membership, heartbeats and assignment stay with Faust; this
module only reads. A leader change, a lost connection or a throttled request is retried after a pause, and said
once when it begins and once when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ParityGateError

log = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.2
#: A new leader may lag behind the old one for a moment; after this the log is taken to be cut.
CUT_AFTER_S = 10.0
_OFFSET_OUT_OF_RANGE = 1
_EARLIEST = -2
#: What a request ends with while a broker is away, busy or moving.
_AWAY = (KafkaError, OSError, asyncio.TimeoutError)


class LogCutError(ParityGateError):
    """A log ends before the position that was already counted: it lost records or was made anew."""


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
        self._troubles: dict[str, str] = {}
        self._beyond_since_s: dict[tuple[str, int], float] = {}

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

        :raises LogCutError: a log has ended before its position for ``CUT_AFTER_S``.
        """
        by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = {}
        leaderless = False
        for (topic, partition), offset in positions.items():
            node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if node is None or node < 0:
                self._trouble(f"{topic}-{partition}", "it has no leader")
                leaderless = True
                continue
            wanted = by_node.setdefault(node, {}).setdefault(topic, [])
            wanted.append((partition, offset, self._partition_bytes))
        answers = await asyncio.gather(*(self._ask(node, list(t.items())) for node, t in by_node.items()))
        fetched: list[Fetched] = []
        lost: list[Lost] = []
        for topics in answers:
            for topic, parts in topics or ():
                for part in parts:
                    answer = await self._read(topic, part, positions[topic, part[0]])
                    if isinstance(answer, Fetched):
                        fetched.append(answer)
                    elif answer is not None:
                        lost.append(answer)
        asked = sum(len(parts) for topics in by_node.values() for parts in topics.values())
        if leaderless or len(fetched) + len(lost) < asked or not positions:
            await self._refresh()
        return fetched, lost

    async def _ask(self, node: int, topics: list[tuple[str, list[tuple[int, int, int]]]]) -> Any:
        where = f"broker {node}"
        try:
            response = await self._client.send(node, FetchRequest(self._wait_ms, 1, 64 << 20, 0, topics))
        except _AWAY as e:
            self._trouble(where, type(e).__name__)
            return None
        self._no_trouble(where)
        throttle_ms = getattr(response, "throttle_time_ms", 0)
        if throttle_ms:
            await asyncio.sleep(throttle_ms / 1000)
        return response.topics

    async def _read(self, topic: str, part: tuple[Any, ...], start: int) -> Fetched | Lost | None:
        """The answer for one partition; None where it is to be asked again."""
        partition, error, log_end, data = part[0], part[1], part[2], part[-1]
        where = f"{topic}-{partition}"
        if error == _OFFSET_OUT_OF_RANGE:
            return await self._find_gap(topic, partition, start)
        if error:
            self._trouble(where, for_code(error).__name__)
            return None
        self._no_trouble(where)
        self._beyond_since_s.pop((topic, partition), None)
        # bytes stay as they came: decoding whole batches is the codec's work
        return Fetched(topic=topic, partition=partition, start=start, data=data or b"", log_end=log_end)

    async def _find_gap(self, topic: str, partition: int, start: int) -> Lost | None:
        first = await self._earliest(topic, partition)
        if first is None:
            return None
        if first > start:
            return Lost(topic=topic, partition=partition, first=start, next=first)
        since_s = self._beyond_since_s.setdefault((topic, partition), time.monotonic())
        if time.monotonic() - since_s > CUT_AFTER_S:
            raise LogCutError(
                f"{topic}-{partition} ends before offset {start}, up to which it is counted: it lost records or "
                "was made anew; bring it back, or start afresh with another PARITYGATE_WORKER_APP_ID"
            )
        self._trouble(f"{topic}-{partition}", f"its log ends before offset {start}")
        return None

    async def _earliest(self, topic: str, partition: int) -> int | None:
        node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if node is None or node < 0:
            return None
        try:
            response = await self._client.send(node, OffsetRequest(-1, 0, [(topic, [(partition, _EARLIEST)])]))
        except _AWAY:
            return None
        answer = response.topics[0][1][0]
        return int(answer[3]) if answer[1] == 0 else None

    async def _refresh(self) -> None:
        await asyncio.sleep(RETRY_PAUSE_S)
        with suppress(*_AWAY):
            await self._client.force_metadata_update()

    def _trouble(self, where: str, why: str) -> None:
        """Say it when it begins; it may come five times a second."""
        if self._troubles.get(where) != why:
            log.warning("%s cannot be read (%s); asking until it can", where, why)
            self._troubles[where] = why

    def _no_trouble(self, where: str) -> None:
        if self._troubles.pop(where, None):
            log.warning("%s is read again", where)


async def start_consumer(kafka: KafkaSettings, **options: Any) -> AIOKafkaConsumer:
    """A connected consumer without a group, from the beginning of what it is assigned.

    :raises BrokerUnavailableError: no broker answered.
    """
    consumer = AIOKafkaConsumer(
        **aiokafka_config(kafka), enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    try:
        await consumer.start()
    except BaseException as e:
        await consumer.stop()
        if isinstance(e, KafkaConnectionError):
            raise BrokerUnavailableError(f"no Kafka broker answers at {kafka.bootstrap}") from None
        raise
    return consumer


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
