"""A wire that stands for librdkafka, and builders of events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from paritygate.producers.publisher import PredictionPublisher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status


@dataclass
class Sent:
    """One message as the wire got it."""

    topic: str
    value: bytes
    key: str
    timestamp: int


@dataclass
class FakeWire:
    """Acknowledges at each poll; ``room`` bounds what it holds, ``error`` is given to every message."""

    config: dict[str, Any]
    sent: list[Sent] = field(default_factory=list)
    error: Any = None
    holds: bool = False
    room: int = 1_000_000
    raises: Exception | None = None
    purged: int = 0
    _waiting: list[Callable[[Any, Any], None]] = field(default_factory=list)

    def produce(
        self, topic: str, value: bytes, key: str, *, on_delivery: Callable[[Any, Any], None], timestamp: int
    ) -> None:
        if self.raises is not None:
            raise self.raises
        if len(self._waiting) >= self.room:
            raise BufferError("queue full")
        self.sent.append(Sent(topic, value, key, timestamp))
        self._waiting.append(on_delivery)

    def poll(self, timeout: float, /) -> int:
        return 0 if self.holds else self._settle(self.error)

    def flush(self, timeout: float, /) -> int:
        self.poll(timeout)
        return len(self._waiting)

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        self.purged += self._settle("purged")

    def _settle(self, error: Any) -> int:
        settled, self._waiting = self._waiting, []
        for on_delivery in settled:
            on_delivery(error, None)
        return len(settled)


class MakePublisher(Protocol):
    def __call__(self, **kwargs: Any) -> tuple[PredictionPublisher, FakeWire]: ...


@pytest.fixture
def make_publisher() -> Iterator[MakePublisher]:
    """Publishers on a fake wire; closed after the test."""
    made: list[PredictionPublisher] = []

    def make(**kwargs: Any) -> tuple[PredictionPublisher, FakeWire]:
        wires: list[FakeWire] = []

        def wire(config: dict[str, Any]) -> FakeWire:
            wires.append(FakeWire(config))
            return wires[-1]

        options: dict[str, Any] = {"instance_id": "pod-1", "linger_ms": 0, "wire": wire} | kwargs
        publisher = PredictionPublisher(KafkaSettings(bootstrap="127.0.0.1:1", topic_prefix="t."), **options)
        made.append(publisher)
        return publisher, wires[0]

    yield make
    for publisher in made:
        publisher.close(1.0)


def an_event(**changes: Any) -> PredictionEvent:
    values: dict[str, Any] = {
        "request_id": "r-1",
        "rollout_id": "ro",
        "arm": Arm.CANDIDATE,
        "role": Role.SHADOW,
        "event_at_ms": 1_700_000_000_000,
        "latency_ms": 1.5,
        "status": Status.OK,
        "model_version": "v2",
        "output": '{"prediction":"late"}',
    }
    return PredictionEvent(**(values | changes))


def an_outcome(**changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "request_id": "r-1",
        "rollout_id": "ro",
        "measure": "human_review_score",
        "event_at_ms": 1_700_000_000_000,
        "baseline": 0.5,
        "candidate": 0.75,
    }
    return Outcome(**(values | changes))


def a_platform_event(**changes: Any) -> PlatformEvent:
    values: dict[str, Any] = {
        "rollout_id": "ro",
        "arm": Arm.CANDIDATE,
        "model_version": "v2",
        "instance_id": "pod-1",
        "event_at_ms": 1_700_000_000_000,
        "running_ms": 1000,
    }
    return PlatformEvent(**(values | changes))


@dataclass
class Builders:
    """Records with sound values; keyword arguments change single ones."""

    event: Callable[..., PredictionEvent] = an_event
    outcome: Callable[..., Outcome] = an_outcome
    platform: Callable[..., PlatformEvent] = a_platform_event


@pytest.fixture
def make() -> Builders:
    return Builders()


class Gate:
    """An encoder that waits until it is opened: it holds the sender's thread in a known place."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, record: object) -> bytes:
        self.entered.set()
        assert self.opened.wait(10)
        return b"x"


@pytest.fixture
def gate() -> Iterator[Gate]:
    held = Gate()
    yield held
    held.opened.set()
