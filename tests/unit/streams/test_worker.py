from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import AUDIT, BULK, OUTCOMES, PREDICTIONS_SHADOW, TOPICS
from paritygate.streams import worker
from paritygate.streams.app import state_topic
from paritygate.streams.settings import WorkerSettings
from paritygate.streams.worker import check_counts, check_topics

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
        await check_topics(settings)


async def test_silent_port_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that accepts and never answers is given up after the time set."""
    monkeypatch.setattr(worker, "ANSWER_WITHIN_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerUnavailableError, match=address):
            await asyncio.wait_for(check_topics(replace(SETTINGS, kafka=KafkaSettings(bootstrap=address))), 10)
