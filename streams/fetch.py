"""Fetch raw record batches of owned partitions at our own positions.

Law: what is handed on is contiguous. The next request of a partition starts where the last one ended, and an
offset that the log no longer has is reported as a loss with its range, never skipped in silence. A log that
ends before our position was cut or made anew: that ends the worker, for nobody can say what was in it.

One request per broker covers every owned partition of every bulk topic (as Kafka's own consumers do), so a
quiet partition does not delay a busy one. A broker that hangs delays the others once, by ``SLOW_S``; then they
are read without it, and what it says in the end is used but tells nothing of now. Group membership, heartbeats
and assignment stay with Faust; this module only reads. A leader change, a lost connection or a throttled
request is retried after a pause, and said once when it begins and once when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ParityGateError
from paritygate.streams.bulk import BulkConnection
from paritygate.streams.connect import aiokafka_config

log = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.2
#: A broker that takes longer than this beyond the time it may wait for data is not waited for any more.
SLOW_S = 1.0
#: After this a request to it is given up and its connection closed.
_GIVE_UP_MS = 10_000
#: How old what is known of leaders and partition counts may become.
_METADATA_MS = 10_000
#: A new leader may lag behind the old one for a moment; after this the log is taken to be cut.
CUT_AFTER_S = 10.0
#: What one answer is to hold at most, whatever the number of partitions: it lies in memory beside the one before.
ANSWER_BYTES = 32 << 20
#: No place is asked for less, unless the settings say so: a batch as large as brokers take by default fits in.
LARGEST_BATCH_BYTES = (1 << 20) + 1024
_OFFSET_OUT_OF_RANGE = 1
_EARLIEST = -2
#: What a request ends with while a broker is away, busy or moving.
_AWAY = (KafkaError, OSError, asyncio.TimeoutError)


class LogCutError(ParityGateError):
    """A log ends before the position that was already counted: it lost records or was made anew."""


class PartitionsChangedError(ParityGateError):
    """A topic has other partitions than the join was started with: somebody added some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Answer for one topic partition: raw batches from ``start`` on, and where its log ends.

    ``is_new``: it was asked for in this round, or ahead of it. An older answer's log end must not let time pass.
    """

    topic: str
    partition: int
    start: int
    data: bytes | memoryview
    log_end: int
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Offsets ``[first, next)`` that the broker deleted before they were read."""

    topic: str
    partition: int
    first: int
    next: int


@dataclass(slots=True)
class _Request:
    """One request under way: the offset asked for by place, and the task that waits for the answer."""

    offsets: Mapping[tuple[str, int], int]
    task: asyncio.Task[Any]
    is_new: bool = True


class BatchFetcher:
    """Reads raw record batches; knows nothing of groups, records or joins."""

    def __init__(
        self, kafka: KafkaSettings, topics: list[str], *, partitions: int, wait_ms: int, partition_bytes: int
    ) -> None:
        self._client = AIOKafkaClient(
            **aiokafka_config(kafka), request_timeout_ms=_GIVE_UP_MS, metadata_max_age_ms=_METADATA_MS
        )
        self._partitions = partitions
        self._topics = topics
        self._wait_ms = wait_ms
        self._partition_bytes = partition_bytes
        self._where = kafka.bootstrap
        self._troubles: dict[str, str] = {}
        self._beyond_since_s: dict[tuple[str, int], float] = {}
        self._requests: dict[int, _Request] = {}
        self._quiet_until_s: dict[int, float] = {}
        self._turns: Counter[int] = Counter()
        #: Whether answers come in while the loop does not turn.
        self.reads_beside = kafka.security_protocol == "PLAINTEXT"
        self._bulk: dict[tuple[str, int], BulkConnection] = {}

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
        await self.forget()
        for connection in self._bulk.values():
            connection.close()
        await self._client.close()

    async def fetch(self, positions: Mapping[tuple[str, int], int]) -> tuple[list[Fetched], list[Lost]]:
        """Ask once for everything after ``positions``; waits at most ``wait_ms`` for the first byte.

        Partitions whose leader is unknown, away or slow are left out of this answer and asked again next time.

        :raises LogCutError: a log has ended before its position for ``CUT_AFTER_S``.
        :raises PartitionsChangedError: a topic has other partitions than those of the join.
        """
        self._check_partitions()
        wanted = self._by_node(positions)
        self._send(wanted)
        await self._wait(wanted.keys())
        fetched: list[Fetched] = []
        lost: list[Lost] = []
        for node in [n for n, r in self._requests.items() if r.task.done()]:
            request = self._requests.pop(node)
            for topic, parts in request.task.result() or ():
                for part in parts:
                    place = topic, part[0]
                    if wanted.get(node, {}).get(place) != request.offsets[place]:
                        continue  # it moved, or is not ours any more, since it was asked for
                    answer = await self._read(topic, part, positions[place], is_new=request.is_new)
                    if isinstance(answer, Fetched):
                        fetched.append(answer)
                    elif answer is not None:
                        lost.append(answer)
        for node, request in self._requests.items():
            request.is_new = False
            if node in wanted:
                self._trouble(f"broker {node}", f"no answer within {SLOW_S:g} s")
        if len(fetched) + len(lost) < len(positions) or not positions:
            await self._refresh()
        return fetched, lost

    def ask_ahead(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Ask for what follows while the caller is still busy with what came; the next :meth:`fetch` waits for it.

        What is answered for a place that is not at the offset asked for by then is thrown away.
        """
        self._send(self._by_node(positions))

    async def forget(self) -> None:
        """Nobody will take what is still asked for."""
        tasks = [request.task for request in self._requests.values()]
        self._requests.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _send(self, wanted: Mapping[int, Mapping[tuple[str, int], int]]) -> None:
        """Ask who is not asked already. The first place changes each time: it alone may exceed its bytes."""
        for node, places in wanted.items():
            if node not in self._requests:
                turn = self._turns[node] = (self._turns[node] + 1) % len(places)
                offsets = dict(islice(cycle(places.items()), turn, turn + len(places)))
                task = asyncio.create_task(self._ask(node, offsets), name=f"fetch-{node}")
                self._requests[node] = _Request(offsets, task)

    def _check_partitions(self) -> None:
        """Keys move when partitions are added: what lies on the new ones is read by nobody, and pairs part."""
        for topic in self._topics:
            found = self._client.cluster.partitions_for_topic(topic)
            if found and len(found) != self._partitions:
                raise PartitionsChangedError(
                    f"{topic} has {len(found)} partitions now, not {self._partitions}: requests have parted from "
                    "their pairs; more partitions need new topics (see docs/scale.md)"
                )

    def _by_node(self, positions: Mapping[tuple[str, int], int]) -> dict[int, dict[tuple[str, int], int]]:
        """What to ask each broker."""
        wanted: dict[int, dict[tuple[str, int], int]] = {}
        for topic, partition in positions:
            node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if node is None or node < 0:
                self._trouble(f"{topic}-{partition}", "it has no leader")
            else:
                wanted.setdefault(node, {})[topic, partition] = positions[topic, partition]
        return wanted

    async def _wait(self, nodes: Collection[int]) -> None:
        """Until all that were asked now have answered, or too slowly; who was slow before is not waited for."""
        asked = [self._requests[node] for node in nodes]
        new = [r.task for r in asked if r.is_new]
        if new:
            _, slow = await asyncio.wait(new, timeout=self._wait_ms / 1000 + SLOW_S)
            if slow:
                # Where it was us who were slow, the answer lies in the socket by now.
                await asyncio.wait(slow, timeout=SLOW_S / 20)
        elif asked:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait([r.task for r in asked], timeout=self._wait_ms / 1000, return_when=first)

    async def _ask(self, node: int, offsets: Mapping[tuple[str, int], int]) -> Any:
        where = f"broker {node}"
        share = max(ANSWER_BYTES // len(offsets), LARGEST_BATCH_BYTES)
        place_bytes = min(self._partition_bytes, share)
        topics: dict[str, list[tuple[int, int, int]]] = {}
        for (topic, partition), offset in offsets.items():
            topics.setdefault(topic, []).append((partition, offset, place_bytes))
        try:
            await asyncio.sleep(self._quiet_until_s.pop(node, 0.0) - time.monotonic())
            request = FetchRequest(self._wait_ms, 1, 64 << 20, 0, list(topics.items()))
            response = await self._send_to(node, request)
        except _AWAY as e:
            self._trouble(where, type(e).__name__)
            return None
        self._no_trouble(where)
        throttle_ms = getattr(response, "throttle_time_ms", 0)
        if throttle_ms:
            # KIP-219: the answer comes at once, and the client is to be quiet for so long.
            self._quiet_until_s[node] = time.monotonic() + throttle_ms / 1000
        return response.topics

    async def _send_to(self, node: int, request: FetchRequest) -> Any:
        broker = self._client.cluster.broker_metadata(node) if self.reads_beside else None
        if broker is None:
            return await self._client.send(node, request)
        address = broker.host, broker.port
        if address not in self._bulk:
            self._bulk[address] = BulkConnection(*address, timeout_s=_GIVE_UP_MS / 1000)
        return await self._bulk[address].ask(request)

    async def _read(self, topic: str, part: tuple[Any, ...], start: int, *, is_new: bool) -> Fetched | Lost | None:
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
        if not (data or is_new):
            return None
        # bytes stay as they came: decoding whole batches is the codec's work
        return Fetched(
            topic=topic, partition=partition, start=start, data=data or b"", log_end=log_end, is_new=is_new
        )

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
            # A broker that hangs may be the one that is asked; the next round asks again.
            await asyncio.wait_for(self._client.force_metadata_update(), SLOW_S)

    def _trouble(self, where: str, why: str) -> None:
        """Say it when it begins; it may come five times a second."""
        if self._troubles.get(where) != why:
            log.warning("%s cannot be read (%s); asking until it can", where, why)
            self._troubles[where] = why

    def _no_trouble(self, where: str) -> None:
        if self._troubles.pop(where, None):
            log.warning("%s is read again", where)
