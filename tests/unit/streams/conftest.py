"""A log in memory that answers fetches as a broker does, and the small fakes around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from paritygate.comparators.settings import JoinSettings
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.standing import Standing
from paritygate.schemas.topics import WINDOWS
from paritygate.streams.fetch import Fetched, Lost
from paritygate.streams.outbox import Outgoing
from paritygate.streams.positions import Membership
from paritygate.streams.settings import WorkerSettings

#: (timestamp_ms, key, value) of one record.
Entry = tuple[int, bytes | None, bytes | None]


def _raw_batch(entries: Sequence[Entry], base_offset: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for i, (timestamp_ms, key, value) in enumerate(entries):
        assert builder.append(i, timestamp_ms, key, value, []) is not None
    raw = bytearray(builder.build())
    raw[:8] = base_offset.to_bytes(8, "big")
    return bytes(raw)


@pytest.fixture(scope="session")
def raw_batch() -> Callable[..., bytes]:
    """The bytes of a record batch: ``raw_batch(entries, base_offset=0)``."""
    return _raw_batch


@pytest.fixture(scope="session")
def settings() -> WorkerSettings:
    """Settings of a worker that no broker hears of; one partition."""
    return WorkerSettings(kafka=KafkaSettings(bootstrap="nowhere:1"), partitions=1, checkpoint_ms=1)


class Group:
    """What was committed to the consumer group, and what the snapshots held then."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.membership: Membership | None = None
        self.commits: list[tuple[Mapping[int, Standing], dict[int, tuple[int, bytes]]]] = []

    def join(self, membership: Membership) -> None:
        """A new generation."""
        self.membership = membership

    def commit(self, standings: Mapping[int, Standing]) -> None:
        """Keep it beside the snapshots of this moment."""
        self.commits.append((dict(standings), dict(self._memory.snapshots)))

    async def leave(self) -> None:
        """Nothing is committed any more."""
        self.membership = None

    async def close(self) -> None:
        """Nothing to close."""


class Memory:
    """Outbox, snapshot store and log of one test."""

    reads_beside = True

    def __init__(self) -> None:
        self.log: dict[tuple[str, int], list[bytes]] = {}
        self.ends: dict[tuple[str, int], int] = {}
        self.asked: list[dict[tuple[str, int], int]] = []
        self.asked_ahead: list[dict[tuple[str, int], int]] = []
        self.silent: set[str] = set()
        self.sent: list[Outgoing] = []
        self.snapshots: dict[int, tuple[int, bytes]] = {}
        self.claims = 0
        self.group = Group(self)

    def append(self, topic: str, entries: Sequence[Entry], partition: int = 0) -> None:
        """Append one record batch."""
        place = topic, partition
        end = self.ends.get(place, 0)
        self.log.setdefault(place, []).append(_raw_batch(entries, end))
        self.ends[place] = end + len(entries)

    async def fetch(self, positions: Mapping[tuple[str, int], int]) -> tuple[list[Fetched], list[Lost]]:
        """One batch a topic partition and request; topics in ``silent`` do not answer."""
        await asyncio.sleep(0)
        self.asked.append(dict(positions))
        found = []
        for (topic, partition), start in positions.items():
            if topic in self.silent:
                continue
            data, at = b"", 0
            for batch in self.log.get((topic, partition), ()):
                at += int.from_bytes(batch[57:61], "big")
                if at > start:
                    data = batch
                    break
            end = self.ends.get((topic, partition), 0)
            found.append(Fetched(topic=topic, partition=partition, start=start, data=data, log_end=end))
        return found, []

    def ask_ahead(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Note what follows; :meth:`fetch` answers it."""
        self.asked_ahead.append(dict(positions))

    async def forget(self) -> None:
        """Nothing is under way."""

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def send(self, records: Any) -> list[int]:
        """Keep what is written; offsets are places in ``sent``."""
        await asyncio.sleep(0)
        first = len(self.sent)
        self.sent += list(records)
        return list(range(first, len(self.sent)))

    async def since(
        self, offset: int | None, partitions: Collection[int]
    ) -> tuple[list[tuple[int, str, int]], int]:
        """Windows among what was written from an offset on."""
        await asyncio.sleep(0)
        after = [] if offset is None else self.sent[offset:]
        reports = [decode_report(o.value or b"") for o in after if o.topic == WINDOWS.name]
        found = [(r.partition, r.rollout_id, r.window_start_ms) for r in reports if r.partition in partitions]
        return found, len(self.sent)

    async def claim(self, partition: int) -> int:
        """One more at each claim."""
        await asyncio.sleep(0)
        self.claims += 1
        return self.claims

    def newest(self, partition: int) -> tuple[int, bytes] | None:
        """The snapshot of a partition."""
        return self.snapshots.get(partition)

    async def save(self, partition: int, generation: int, data: bytes) -> None:
        """Keep a snapshot."""
        await asyncio.sleep(0)
        self.snapshots[partition] = generation, data


class Registry:
    """Knows one rollout from the beginning."""

    def __init__(self, join: JoinSettings) -> None:
        self.plans = {join.rollout_id: self}
        self._join = join
        self.asked_for: list[set[str]] = []

    def join_settings(self) -> JoinSettings:
        """As a plan gives them."""
        return self._join

    def live(self) -> dict[str, Any]:
        """All that is known."""
        return dict(self.plans)

    async def refresh(self) -> None:
        """Nothing new."""

    async def settle(self, rollout_ids: set[str]) -> None:
        """They stay unknown."""
        self.asked_for.append(rollout_ids)


@pytest.fixture
def memory() -> Memory:
    """An empty log."""
    return Memory()


@pytest.fixture
def registry() -> Registry:
    """Knows rollout ``r``."""
    return Registry(JoinSettings(rollout_id="r", dimensions=()))


def _event(request_id: str, arm: Arm, at_ms: int, rollout: str = "r") -> Entry:
    role = Role.PRIMARY if arm is Arm.BASELINE else Role.SHADOW
    event = PredictionEvent(
        request_id=request_id, rollout_id=rollout, arm=arm, role=role, event_at_ms=at_ms, latency_ms=1.0,
        status=Status.OK, model_version="1", instance_id="i",
    )  # fmt: skip
    return at_ms, request_id.encode(), encode(event)


@pytest.fixture(scope="session")
def event() -> Callable[..., Entry]:
    """One prediction as a record: ``event(request_id, arm, at_ms, rollout="r")``."""
    return _event
