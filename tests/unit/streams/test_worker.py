from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import AUDIT, BULK, OUTCOMES, PREDICTIONS_SHADOW, TOPICS
from paritygate.streams import worker
from paritygate.streams.app import state_topic
from paritygate.streams.settings import WorkerSettings
from paritygate.streams.worker import check_cluster, check_counts, check_session

SETTINGS = WorkerSettings(kafka=KafkaSettings(bootstrap="b:1", topic_prefix="x."))


def counts(**changes: int) -> dict[str, int]:
    found = {"x." + t.name: t.partition_count(4) for t in TOPICS}
    return found | {"x." + name: count for name, count in changes.items()}


def test_topics_of_the_table_are_accepted() -> None:
    """All topics with their counts pass, with a state topic or before there is one."""
    check_counts(SETTINGS, counts())
    check_counts(SETTINGS, counts() | {state_topic(SETTINGS): 4})


@pytest.mark.parametrize("topic", BULK, ids=lambda t: t.name)
def test_every_joined_topic_must_have_the_count(topic: object) -> None:
    """Each of the four is looked at; the line has both counts."""
    name = "x." + str(getattr(topic, "name", ""))
    with pytest.raises(ConfigError, match=f"all have 4 partitions .*{name} has 3"):
        check_counts(SETTINGS, counts() | {name: 3})


def test_equal_counts_must_be_the_ones_set() -> None:
    """Eight partitions everywhere need the setting, which the line names."""
    eight = counts() | {"x." + t.name: 8 for t in BULK}
    with pytest.raises(ConfigError, match="PARITYGATE_WORKER_PARTITIONS"):
        check_counts(SETTINGS, eight)
    check_counts(replace(SETTINGS, partitions=8), eight)


def test_missing_and_split_topics_are_refused() -> None:
    """A topic that is not there and an order that is none are told apart."""
    found = counts()
    del found["x." + PREDICTIONS_SHADOW.name], found["x." + OUTCOMES.name]
    with pytest.raises(ConfigError, match=r"missing: x\.predictions\.shadow\.v1, x\.outcomes\.v1; .*topics create"):
        check_counts(SETTINGS, found)
    with pytest.raises(ConfigError, match=r"x\.audit\.v1 has 2 partitions, not 1"):
        check_counts(SETTINGS, counts() | {"x." + AUDIT.name: 2})
    with pytest.raises(ConfigError, match=r"join-state-changelog.* has 6 partitions, not 4"):
        check_counts(SETTINGS, counts() | {state_topic(SETTINGS): 6})


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", "no-such-host.invalid:9092"])
async def test_absent_broker_is_named(bootstrap: str) -> None:
    """Refused connections and unknown hosts end with the address."""
    settings = replace(SETTINGS, kafka=KafkaSettings(bootstrap=bootstrap))
    with pytest.raises(BrokerUnavailableError, match=f"no Kafka broker answers at {bootstrap}: "):
        await check_cluster(settings)


async def test_silent_port_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that accepts and never answers is given up after the time set."""
    monkeypatch.setattr(worker, "ANSWER_WITHIN_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerUnavailableError, match=address):
            await asyncio.wait_for(check_cluster(replace(SETTINGS, kafka=KafkaSettings(bootstrap=address))), 10)


@pytest.mark.parametrize(
    ("limits_ms", "said"),
    [
        ({"group.min.session.timeout.ms": 12_000}, "TIMEOUT_S is 10, but the brokers' group.min.session.*12000"),
        ({"group.max.session.timeout.ms": 9_000}, "TIMEOUT_S is 10, but the brokers' group.max.session.*9000"),
    ],
)
def test_session_that_the_brokers_refuse_is_refused(limits_ms: dict[str, int], said: str) -> None:
    """Both limits are the brokers' own; without it Faust would try to join for ever and say nothing."""
    with pytest.raises(ConfigError, match=said):
        check_session(SETTINGS, limits_ms)


def test_session_within_the_limits_is_accepted() -> None:
    """On the limit, between them, and where the brokers do not tell."""
    check_session(SETTINGS, {})
    check_session(SETTINGS, {"group.min.session.timeout.ms": 10_000, "group.max.session.timeout.ms": 10_000})


def test_hanging_loop_ends_the_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Faust's heartbeats come from a thread of their own: only another thread can see that the join hangs."""

    class EndedError(Exception):
        pass

    def end(code: int) -> None:
        assert code == 1
        raise EndedError

    class Steps(threading.Event):
        """Each wait is one step of the clock; the process is told to stop after ten."""

        steps = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == worker.LOOK_EVERY_S
            self.steps += 1
            return self.steps > 10

    monkeypatch.setattr(os, "_exit", end)
    process: Any = SimpleNamespace(
        _ended=Steps(), _looked_at_s=time.monotonic(), _stuck_after_s=60.0, _code=None, _failure=None
    )
    worker.Process._watch_the_loop(process)
    assert not caplog.records

    process._ended, process._looked_at_s = Steps(), time.monotonic() - 61
    with pytest.raises(EndedError):
        worker.Process._watch_the_loop(process)
    assert caplog.records[-1].getMessage() == "the worker ends: it has done one thing for 61 s and nothing else"
