"""The roll call: what a worker hears of routers stands in its reports, and nothing stops for it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.report import WindowReport
from paritygate.streams import roll_call as module
from paritygate.streams.roll_call import RollCall
from tests.unit.rollouts.conftest import report

NOW_MS = 10_000_000
#: The records of ``router.acks.v1``: the last one is no acknowledgement.
LOG = [
    (NOW_MS - 1_000, RouterAck(rollout_id="r1", router_id="a", sequence=3, weight=5, applied_at_ms=1).to_bytes()),
    (NOW_MS - 500, RouterAck(rollout_id="r2", router_id="b", sequence=1, weight=0, applied_at_ms=1).to_bytes()),
    (NOW_MS, b"{not json"),
]


class Acks:
    """A consumer of that log, which breaks once after its first record; ``asked`` is where it was told to begin."""

    def __init__(self) -> None:
        self.position = 0
        self.asked: list[Any] = []
        self.broken = False

    def assign(self, places: list[TopicPartition]) -> None:
        self.places = places

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        self.asked.append(next(iter(times.values())))
        return dict.fromkeys(times, SimpleNamespace(offset=0))

    def seek(self, _place: TopicPartition, offset: int) -> None:
        self.asked.append(f"offset {offset}")
        self.position = offset

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        if self.position == 1 and not self.broken:
            self.broken = True
            raise TopicAuthorizationFailedError
        found = LOG[self.position : self.position + 1]
        self.position += len(found)
        first = self.position - len(found)
        return {self.places[0]: [SimpleNamespace(offset=first, timestamp=t, value=v) for t, v in found]}

    async def stop(self) -> None:
        pass


async def heard(until: int) -> WindowReport:
    """The report of ``r1`` as the worker tells it once it has heard so much."""
    call = RollCall(KafkaSettings(bootstrap="b:1"), lambda: NOW_MS)
    call.start()
    for _ in range(1_000):
        await asyncio.sleep(0.001)
        if call.tell(report(0)).acks_next >= until:
            break
    await call.stop()
    return call.tell(report(0))


@pytest.fixture
def acks(monkeypatch: pytest.MonkeyPatch) -> Acks:
    made = Acks()

    async def start(_settings: KafkaSettings, **_: Any) -> Acks:
        return made

    monkeypatch.setattr(module, "start_consumer", start)
    monkeypatch.setattr(module, "_AGAIN_S", 0)
    return made


@pytest.mark.usefixtures("acks")
def test_a_report_carries_the_routers_of_its_rollout() -> None:
    """With the offset up to which was heard; other rollouts' routers and broken records are passed over."""
    told = asyncio.run(heard(3))

    assert told.acks_next == 3
    assert [(g.sequence, g.weight, g.named) for g in told.routers] == [(3, 5, ("a",))]


def test_a_connection_that_breaks_is_made_again_where_it_stood(
    acks: Acks, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins an hour back, goes on after the last record heard, and says once what was wrong."""
    with caplog.at_level(logging.WARNING):
        asyncio.run(heard(3))

    assert acks.asked == [NOW_MS - 3_600_000, "offset 0", "offset 1"]
    assert [r.message for r in caplog.records] == [
        "router.acks.v1 cannot be followed (TopicAuthorizationFailedError); trying on"
    ]


def test_before_anything_was_heard_a_report_says_nothing_of_routers() -> None:
    """Offset 0 is "not read", which takes back nothing that another worker told."""
    call = RollCall(KafkaSettings(bootstrap="b:1"), lambda: NOW_MS)

    assert call.tell(report(0)) == report(0)
