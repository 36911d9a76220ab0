from __future__ import annotations

import asyncio
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
from paritygate.streams.connect import start_consumer
from paritygate.streams.fetch import BatchFetcher, Fetched, LogCutError, Lost, PartitionsChangedError

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
        self.hanging: dict[int, asyncio.Event] = {}
        self.throttle_ms = 0
        self.partitions: set[int] | None = {0, 1, 2, 3}

    def leader_for_partition(self, place: TopicPartition) -> int | None:
        return None if place.partition in self.leaderless else place.partition % 2

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.partitions if topic == "t" else None

    def broker_metadata(self, _node: int) -> None:
        return None

    async def force_metadata_update(self) -> bool:
        self.refreshed += 1
        return True

    async def send(self, node: int, request: Any) -> Any:
        if node in self.away:
            raise NodeNotReadyError("away")
        if not isinstance(request, FetchRequest):
            return SimpleNamespace(topics=[("t", [(0, 0, -1, self.earliest)])])
        assert request._max_wait_ms == 10, "Faust's fixed 1.5 s would be the latency of everything"
        self.asked.append((node, request.topics))
        if node in self.hanging:
            await self.hanging[node].wait()
        topics = [
            (t, [(p, *self.answers.get((t, p), (0, 0, b""))) for p, _, _ in parts]) for t, parts in request.topics
        ]
        return SimpleNamespace(topics=topics, throttle_time_ms=self.throttle_ms)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(fetch, "AIOKafkaClient", lambda **_: client)
    monkeypatch.setattr(fetch, "RETRY_PAUSE_S", 0.0)
    return client


@pytest.fixture
def fetcher(client: Client) -> BatchFetcher:
    return BatchFetcher(KAFKA, ["t"], partitions=4, wait_ms=10, partition_bytes=100)


async def test_each_broker_is_asked_once_for_all_its_partitions(client: Client, fetcher: BatchFetcher) -> None:
    """One request a broker, with the position of every partition; the answers come as they are."""
    client.answers["t", 1] = (0, 9, b"raw")
    fetched, lost = await fetcher.fetch({("t", 0): 5, ("u", 0): 6, ("t", 1): 7})

    asked = [(node, sorted(topics)) for node, topics in sorted(client.asked)]
    assert asked == [(0, [("t", [(0, 5, 100)]), ("u", [(0, 6, 100)])]), (1, [("t", [(1, 7, 100)])])]
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
    fetcher = BatchFetcher(KAFKA, ["t"], partitions=4, wait_ms=10, partition_bytes=100)
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1$"):
        await fetcher.start()
    await fetcher.stop()
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1$"):
        await start_consumer(KAFKA)


async def test_broker_that_hangs_does_not_hold_up_the_others(
    client: Client, fetcher: BatchFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for once and asked once; what it says in the end is used where it still fits, and is not new."""
    monkeypatch.setattr(fetch, "SLOW_S", 0.02)
    client.hanging[1] = asyncio.Event()
    client.answers["t", 1] = (0, 9, b"raw")
    client.answers["t", 3] = (0, 9, b"old")
    positions = {("t", 0): 0, ("t", 1): 7, ("t", 3): 2}
    for _ in range(3):
        fetched, _ = await fetcher.fetch(positions)
        assert [f.partition for f in fetched] == [0]
    assert [node for node, _ in client.asked].count(1) == 1

    client.hanging.pop(1).set()
    positions["t", 3] = 5
    await asyncio.sleep(0)
    fetched, _ = await fetcher.fetch(positions)
    late = [f for f in fetched if f.partition]
    assert late == [Fetched(topic="t", partition=1, start=7, data=b"raw", log_end=9, is_new=False)]
    fetched, _ = await fetcher.fetch(positions)
    assert {f.partition for f in fetched if f.is_new} == {0, 1, 3}


async def test_late_answer_without_data_is_dropped(
    client: Client, fetcher: BatchFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log end of a while ago says nothing of now, and must not let time pass."""
    monkeypatch.setattr(fetch, "SLOW_S", 0.0)
    client.hanging[0] = asyncio.Event()
    assert await fetcher.fetch({("t", 0): 4}) == ([], [])
    client.hanging.pop(0).set()
    await asyncio.sleep(0)
    assert await fetcher.fetch({("t", 0): 4}) == ([], [])
    fetched, _ = await fetcher.fetch({("t", 0): 4})
    assert [f.is_new for f in fetched] == [True]


async def test_throttled_client_keeps_quiet(
    client: Client, fetcher: BatchFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that carries throttle_time_ms is used at once; that broker's next request waits for so long."""
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    client.throttle_ms = 30_000
    fetched, _ = await fetcher.fetch({("t", 0): 0})
    assert len(fetched) == 1
    assert max(slept) <= 0
    client.throttle_ms = 0
    await fetcher.fetch({("t", 0): 0})
    assert 29 < max(slept) <= 30
    slept.clear()
    await fetcher.fetch({("t", 0): 0})
    assert max(slept) <= 0


async def test_every_place_is_first_in_its_turn(client: Client, fetcher: BatchFetcher) -> None:
    """Only the first partition of a request may exceed its bytes: a large batch must not wait for ever."""
    places = {("t", 0): 0, ("t", 2): 0, ("u", 0): 0}
    for _ in range(3):
        await fetcher.fetch(places)
    assert {(topics[0][0], topics[0][1][0][0]) for _, topics in client.asked} == set(places)


async def test_added_partitions_end_the_worker(client: Client, fetcher: BatchFetcher) -> None:
    """Nobody reads the new ones, and keys have moved; a topic of which nothing is known yet is no reason."""
    client.partitions = None
    assert (await fetcher.fetch({("t", 0): 0}))[0]
    client.partitions = {0, 1, 2, 3, 4, 5}
    with pytest.raises(PartitionsChangedError, match=r"t has 6 partitions now, not 4: .*docs/scale\.md"):
        await fetcher.fetch({("t", 0): 0})


async def test_what_follows_is_asked_for_ahead(client: Client, fetcher: BatchFetcher) -> None:
    """It is asked once, and its answer is new; of a place that stands elsewhere by then it is thrown away."""
    client.answers["t", 0] = (0, 9, b"raw")
    fetcher.ask_ahead({("t", 0): 5, ("t", 2): 6})
    fetched, _ = await fetcher.fetch({("t", 0): 5})
    assert fetched == [Fetched(topic="t", partition=0, start=5, data=b"raw", log_end=9)]
    assert len(client.asked) == 1

    fetcher.ask_ahead({("t", 0): 9, ("t", 2): 6})
    fetched, _ = await fetcher.fetch({("t", 0): 7, ("t", 2): 6})
    assert [f.partition for f in fetched] == [2]
    assert len(client.asked) == 2
    fetched, _ = await fetcher.fetch({("t", 0): 7})
    assert [(f.partition, f.start) for f in fetched] == [(0, 7)]


async def test_forgotten_requests_are_asked_anew(client: Client, fetcher: BatchFetcher) -> None:
    """A new owner's positions do not wait for an answer to those of the life before."""
    client.hanging[0] = asyncio.Event()
    fetcher.ask_ahead({("t", 0): 5})
    await asyncio.sleep(0)
    await fetcher.forget()
    client.hanging.clear()
    fetched, _ = await fetcher.fetch({("t", 0): 3})
    assert [f.start for f in fetched] == [3]
    assert client.refreshed == 0


@pytest.mark.parametrize(
    ("places", "given", "asked"),
    [(8, 2 << 20, 2 << 20), (32, 2 << 20, 1 << 20), (200, 2 << 20, 1 << 20), (32, 100, 100)],
)
async def test_many_partitions_share_the_bytes_of_an_answer(
    client: Client, places: int, given: int, asked: int
) -> None:
    """Memory does not grow with their number until each is asked for one large batch; less is asked if told so."""
    fetcher = BatchFetcher(KAFKA, ["t"], partitions=4, wait_ms=10, partition_bytes=given)
    await fetcher.fetch({(f"t{n}", 0): 0 for n in range(places)})

    ((_, topics),) = client.asked
    sizes = {size for _, parts in topics for _, _, size in parts}
    assert len(topics) == places
    assert len(sizes) == 1
    assert asked <= sizes.pop() <= asked + 1024
