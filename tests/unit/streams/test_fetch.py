from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError
from paritygate.streams import fetch
from paritygate.streams.fetch import BatchFetcher, Fetched, LogCutError, Lost, start_consumer

KAFKA = KafkaSettings(bootstrap="127.0.0.1:1")
OUT_OF_RANGE, NOT_LEADER = 1, 6


class Client:
    """A cluster of two nodes: the even partitions on node 0, the odd ones on node 1."""

    def __init__(self) -> None:
        self.cluster = self
        self.answers: dict[tuple[str, int], tuple[int, int, bytes]] = {}
        self.earliest = 0
        self.away: set[int] = set()
        self.leaderless: set[int] = set()
        self.refreshed = 0
        self.asked: list[tuple[int, Any]] = []

    def leader_for_partition(self, place: TopicPartition) -> int | None:
        return None if place.partition in self.leaderless else place.partition % 2

    async def force_metadata_update(self) -> bool:
        self.refreshed += 1
        return True

    async def send(self, node: int, request: Any) -> Any:
        if node in self.away:
            raise NodeNotReadyError("away")
        if not isinstance(request, FetchRequest):
            return SimpleNamespace(topics=[("t", [(0, 0, -1, self.earliest)])])
        self.asked.append((node, request.topics))
        topics = [
            (t, [(p, *self.answers.get((t, p), (0, 0, b""))) for p, _, _ in parts]) for t, parts in request.topics
        ]
        return SimpleNamespace(topics=topics, throttle_time_ms=0)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(fetch, "AIOKafkaClient", lambda **_: client)
    monkeypatch.setattr(fetch, "RETRY_PAUSE_S", 0.0)
    return client


@pytest.fixture
def fetcher(client: Client) -> BatchFetcher:
    return BatchFetcher(KAFKA, ["t"], wait_ms=10, partition_bytes=100)


async def test_each_broker_is_asked_once_for_all_its_partitions(client: Client, fetcher: BatchFetcher) -> None:
    """One request a broker, with the position of every partition; the answers come as they are."""
    client.answers["t", 1] = (0, 9, b"raw")
    fetched, lost = await fetcher.fetch({("t", 0): 5, ("u", 0): 6, ("t", 1): 7})

    assert client.asked == [(0, [("t", [(0, 5, 100)]), ("u", [(0, 6, 100)])]), (1, [("t", [(1, 7, 100)])])]
    assert Fetched(topic="t", partition=1, start=7, data=b"raw", log_end=9) in fetched
    assert len(fetched) == 3
    assert (lost, client.refreshed) == ([], 0)


async def test_deleted_offsets_are_a_loss_with_its_range(client: Client, fetcher: BatchFetcher) -> None:
    """A log that begins after the position says which offsets are gone."""
    client.answers["t", 0] = (OUT_OF_RANGE, -1, b"")
    client.earliest = 12
    assert (await fetcher.fetch({("t", 0): 5}))[1] == [Lost(topic="t", partition=0, first=5, next=12)]


async def test_log_that_ends_before_the_position_ends_the_worker(
    client: Client, fetcher: BatchFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first it is asked again, for a new leader may lag; after that nothing is read over in silence."""
    client.answers["t", 0] = (OUT_OF_RANGE, -1, b"")
    assert await fetcher.fetch({("t", 0): 5}) == ([], [])
    client.answers["t", 0] = (0, 5, b"")
    assert len((await fetcher.fetch({("t", 0): 5}))[0]) == 1
    client.answers["t", 0] = (OUT_OF_RANGE, -1, b"")
    assert await fetcher.fetch({("t", 0): 5}) == ([], [])
    monkeypatch.setattr(fetch, "CUT_AFTER_S", -1.0)
    with pytest.raises(LogCutError, match=r"t-0 ends before offset 5, .*PARITYGATE_WORKER_APP_ID"):
        await fetcher.fetch({("t", 0): 5})


async def test_trouble_is_said_once_and_its_end_too(
    client: Client, fetcher: BatchFetcher, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that is away leaves the others' answers alone; the log says when it begins and when it ends."""
    caplog.set_level(logging.INFO, logger="paritygate")
    client.away.add(1)
    for _ in range(3):
        fetched, _ = await fetcher.fetch({("t", 0): 0, ("t", 1): 0})
        assert [f.partition for f in fetched] == [0]
    client.away.clear()
    client.answers["t", 0] = (NOT_LEADER, -1, b"")
    client.leaderless.add(3)
    for _ in range(2):
        fetched, _ = await fetcher.fetch({("t", 0): 0, ("t", 1): 0, ("t", 3): 0})
        assert [f.partition for f in fetched] == [1]

    assert client.refreshed == 5
    assert [record.getMessage() for record in caplog.records] == [
        "broker 1 cannot be read (NodeNotReadyError); asking until it can",
        "t-3 cannot be read (it has no leader); asking until it can",
        "broker 1 is read again",
        "t-0 cannot be read (NotLeaderForPartitionError); asking until it can",
    ]


async def test_absent_broker_is_named() -> None:
    """Neither the fetcher nor a consumer waits for ever for a broker that is not there."""
    fetcher = BatchFetcher(KAFKA, ["t"], wait_ms=10, partition_bytes=100)
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1$"):
        await fetcher.start()
    await fetcher.stop()
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1$"):
        await start_consumer(KAFKA)
