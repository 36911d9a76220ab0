from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from paritygate.schemas.dead_letter import Poison
from paritygate.schemas.topics import OUTCOMES, dead_letter_topic
from paritygate.streams.bury import TELL_EVERY_MS, Graves
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.settings import WorkerSettings
from tests.unit.streams.conftest import Memory


def poison(offset: int) -> Poison:
    return Poison(
        offset=offset,
        timestamp_ms=1,
        key=b"k",
        value=b"v",
        headers=(("h", b"1"),),
        kind="decode",
        reason="it is cut",
    )


@pytest.fixture
def graves(settings: WorkerSettings, memory: Memory) -> Graves:
    outbox: Any = memory
    return Graves(settings, outbox, WorkerMetrics())


async def test_letter_says_where_and_why(graves: Graves, memory: Memory) -> None:
    """The record as it came, its own headers first, then place and reason."""
    await graves.bury(OUTCOMES.name, 2, [poison(7)], now_ms=0)
    (letter,) = memory.sent
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("dlq.outcomes.v1", 0, b"k", b"v")
    assert letter.headers[0] == ("h", b"1")
    assert dict(letter.headers[1:]) == {
        "__dlq.errors.topic": b"outcomes.v1",
        "__dlq.errors.partition": b"2",
        "__dlq.errors.offset": b"7",
        "__dlq.errors.group": b"paritygate",
        "__dlq.errors.message": b"it is cut",
        "paritygate.error.kind": b"decode",
    }


async def test_largest_record_fits_the_topic(graves: Graves, memory: Memory) -> None:
    """Key, value and headers of many megabytes are cut to what the dead letter topic takes, with their sizes."""
    huge = b"x" * (3 << 20)
    await graves.bury(
        OUTCOMES.name, 0, [replace(poison(1), key=huge, value=huge, headers=(("h", huge),))], now_ms=0
    )
    (letter,) = memory.sent
    size = (
        len(letter.key or b"") + len(letter.value or b"") + sum(len(n) + len(v or b"") for n, v in letter.headers)
    )
    assert size < int(dead_letter_topic(OUTCOMES).config["max.message.bytes"])
    about = dict(letter.headers)
    assert about["paritygate.error.header_bytes"] == str(len(huge) + 1).encode()
    assert about["paritygate.error.key_bytes"] == about["paritygate.error.value_bytes"] == str(len(huge)).encode()


async def test_storm_does_not_fill_the_log(
    graves: Graves, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic partition is told of at once and then every 10 s, with the number since; all are written."""
    caplog.set_level(logging.INFO, logger="paritygate")
    for second in range(25):
        await graves.bury(OUTCOMES.name, 0, [poison(second)] * 3, now_ms=second * 1_000)
    await graves.bury(OUTCOMES.name, 1, [poison(99)], now_ms=24_000)

    assert len(memory.sent) == 76
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(": it is cut ")[0] for line in said] == [
        "outcomes.v1-0 offset 0 cannot be read", "outcomes.v1-0 offset 10 cannot be read",
        "outcomes.v1-0 offset 20 cannot be read", "outcomes.v1-1 offset 99 cannot be read",
    ]  # fmt: skip
    assert ["(3 since" in said[0], "(30 since" in said[1], "(30 since" in said[2]] == [True] * 3
    assert TELL_EVERY_MS == 10_000
