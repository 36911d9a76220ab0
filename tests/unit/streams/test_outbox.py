from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.exceptions import ProducerSendError

from paritygate.schemas.errors import RecoverableError
from paritygate.streams.outbox import Outbox, Outgoing


class Producer:
    """Acknowledges only when told to; fails for the topics named."""

    def __init__(self, failing: dict[str, Exception]) -> None:
        self.failing = failing
        self.sent: list[tuple[Any, ...]] = []
        self.acknowledge = asyncio.Event()

    async def send_and_wait(self, *record: Any) -> SimpleNamespace:
        self.sent.append(record)
        offset = len(self.sent) + 40
        await self.acknowledge.wait()
        if record[0] in self.failing:
            raise self.failing[record[0]]
        return SimpleNamespace(offset=offset)


class App:
    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def maybe_start_producer(self) -> Producer:
        return self._producer


def out(topic: str, value: bytes = b"v", headers: tuple[tuple[str, bytes | None], ...] = ()) -> Outgoing:
    return Outgoing(topic=topic, partition=0, key=b"k", value=value, headers=headers)


async def test_send_returns_when_all_are_acknowledged() -> None:
    """All records go out at once; the call ends with the last acknowledgement and tells the offsets."""
    producer = Producer({})
    sending = asyncio.create_task(Outbox(App(producer)).send([out("a"), out("b", headers=(("h", b"1"),))]))
    await asyncio.sleep(0.01)
    assert producer.sent == [("a", b"k", b"v", 0, None, None), ("b", b"k", b"v", 0, None, [("h", b"1")])]
    assert not sending.done()
    producer.acknowledge.set()
    assert await sending == [41, 42]


@pytest.mark.parametrize("error", [KafkaTimeoutError(), ProducerSendError("no metadata")])
async def test_failure_names_the_topic(error: Exception) -> None:
    """What could not be written is told by its topic, as something that may pass."""
    producer = Producer({"b": error})
    producer.acknowledge.set()
    with pytest.raises(RecoverableError, match=r"^b cannot be written: "):
        await Outbox(App(producer)).send([out("a"), out("b")])


async def test_nothing_to_send_is_nothing() -> None:
    """An empty list waits for nobody."""
    assert await Outbox(App(Producer({}))).send([]) == []
