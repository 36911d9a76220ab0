from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.standing import Standing
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from paritygate.streams import positions
from paritygate.streams.positions import GroupPositions, Membership

KAFKA = KafkaSettings(bootstrap="nowhere:1", topic_prefix="x.")
MEMBER = Membership(group="g", generation=7, member_id="m")
NO_COORDINATOR, ILLEGAL_GENERATION = 15, 22


class Client:
    """A coordinator that answers each commit with ``code``."""

    def __init__(self) -> None:
        self.code = 0
        self.away = False
        self.lookups = 0
        self.requests: list[Any] = []

    async def bootstrap(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        await asyncio.sleep(0)

    async def coordinator_lookup(self, _kind: int, group: str) -> int:
        assert group == "g"
        self.lookups += 1
        return 1

    async def send(self, node: int, request: Any, *, group: Any) -> Any:
        assert node == 1
        assert group
        if self.away:
            raise KafkaConnectionError("away")
        self.requests.append(request)
        return SimpleNamespace(topics=[("x.t", [(0, self.code)])])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(positions, "AIOKafkaClient", lambda **_: client)
    return client


def standing(after: int) -> Standing:
    ranges = {t.name: (0, after) for t in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES, PLATFORM)}
    return Standing(
        worker="w", generation=7, written_at_ms=1, ranges=ranges, bins={"paired": 4 * after}, pending=0, stages={}
    )


async def settle(group: GroupPositions) -> None:
    if group._task is not None:
        await asyncio.wait([group._task])


async def test_commit_carries_membership_positions_and_one_text(client: Client) -> None:
    """Topics that Faust does not commit, under the membership of this generation; the text once a partition."""
    group = GroupPositions(KAFKA)
    group.join(MEMBER)
    group.commit({2: standing(5)})
    await settle(group)
    await group.close()
    (request,) = client.requests
    assert (request._consumer_group, request._consumer_group_generation_id, request._consumer_id) == ("g", 7, "m")
    assert [(topic, [(p, o) for p, o, _ in parts]) for topic, parts in request._topics] == [
        ("x.predictions.primary.v1", [(2, 5)]), ("x.predictions.shadow.v1", [(2, 5)]), ("x.outcomes.v1", [(2, 5)]),
    ]  # fmt: skip
    texts = [text for _, parts in request._topics for _, _, text in parts]
    assert Standing.from_text(texts[0]) == standing(5)
    assert texts[1:] == ["", ""]


async def test_overtaken_positions_are_not_sent(client: Client) -> None:
    """What comes while a commit is under way replaces what waits; the newest is always sent."""
    group = GroupPositions(KAFKA)
    group.join(MEMBER)
    for after in range(1, 6):
        group.commit({0: standing(after)})
    await settle(group)
    group.commit({0: standing(6)})
    await group.leave()
    assert [r._topics[0][1][0][1] for r in client.requests] == [5, 6]
    group.commit({0: standing(7)})
    await asyncio.sleep(0.01)
    assert len(client.requests) == 2, "nobody commits who has left"


async def test_trouble_is_said_once_and_ends_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A coordinator that is away is looked up again; the log tells when it begins and when it is over."""
    caplog.set_level(logging.INFO, logger="paritygate")
    group = GroupPositions(KAFKA)
    group.join(MEMBER)
    for away, code in ((True, 0), (True, 0), (False, NO_COORDINATOR), (False, 0), (False, 0)):
        client.away, client.code = away, code
        group.commit({0: standing(1)})
        await settle(group)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split("group g ")[1][:10] for line in said] == ["(KafkaConn", "(GroupCoor", "again"]
    assert client.lookups == 4


async def test_lost_membership_is_the_next_owners_matter(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that was cut off is refused and says nothing: its snapshots are fenced in the same way."""
    group = GroupPositions(KAFKA)
    group.join(MEMBER)
    client.code = ILLEGAL_GENERATION
    group.commit({0: standing(1)})
    await settle(group)
    assert not caplog.records
