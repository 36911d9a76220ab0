"""Fuzzing for a time: ``PARITYGATE_FUZZ_S`` seconds (``make test`` says 60), 2 s where nothing is set.

A failure prints seed and bytes; ``PARITYGATE_FUZZ_SEED`` runs the same cases again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson
import pytest

from paritygate.schemas.codec import any_record_to_json, decode_outcome, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY
from paritygate.schemas.topics import BULK
from paritygate.streams.decode import decode_rows
from tests.support.event_batches import assert_same

BUDGET_S = float(os.environ.get("PARITYGATE_FUZZ_S", "2"))
SEED = int(os.environ.get("PARITYGATE_FUZZ_SEED", time.time_ns() % 2**32))
#: One buffer of a few kB takes a millisecond or two; so long means that it hangs.
HANGS_AFTER_S = 20.0
IDS = {7: REGISTRY.newest("PredictionEvent")}
Batch = Callable[..., bytes]


@contextmanager
def ended_if_it_hangs() -> Iterator[None]:
    """Break off what takes too long. Python only: native code that hangs is ended with the test run."""

    def give_up(*_: Any) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def corpus(prediction: Callable[..., PredictionEvent], build_batch: Batch) -> list[bytes]:
    """Sound buffers of every kind that is read: framings, codecs, headers, null keys, several batches."""
    values = [
        encode(prediction()),
        encode(prediction(label=None, output="x" * 300, segments={}, measures={})),
        b"\0\0\0\0\7" + encode(prediction())[10:],
        orjson.dumps(asdict(prediction())),
    ]
    buffers = []
    for codec in range(5):
        for value in values:
            entries: list[Any] = [(5, b"request-1", value, [])] * 3
            buffers.append(build_batch(entries, 0, codec) + build_batch(entries, 3, codec))
    mixed: list[Any] = [(5, b"request-1", v, []) for v in values] + [(5, None, values[0], [("h", b"1")])]
    return [*buffers, build_batch(mixed, 0, 0), build_batch(mixed, 0, 4) + buffers[0]]


def harmed(rng: random.Random, sound: list[bytes], seal: Callable[[bytearray], bytes]) -> bytes:
    """One of them with some bytes changed, cut, doubled or taken from another, often under a valid CRC."""
    raw = bytearray(rng.choice(sound))
    for _ in range(rng.randrange(1, 6)):
        at, size = rng.randrange(len(raw) or 1), rng.randrange(1, 12)
        kind = rng.randrange(6)
        if kind == 0 and raw:
            raw[at] = rng.randrange(256)
        elif kind == 1:
            raw[at : at + size] = rng.randbytes(size)
        elif kind == 2:
            del raw[at : at + size]
        elif kind == 3:
            raw[at:at] = raw[at : at + size]
        elif kind == 4:
            raw[at : at + size] = rng.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * size
        else:
            other = rng.choice(sound)
            start = rng.randrange(len(other))
            raw[at : at + size] = other[start : start + size]
    if len(raw) > 61 and rng.random() < 0.7:
        if rng.random() < 0.8:
            raw[8:12] = (len(raw) - 12).to_bytes(4, "big")
        return seal(raw)
    return bytes(raw)


def read_every_way(buffer: bytes) -> None:
    """Both decoders agree, offsets rise, nothing but PoisonError comes out of any reader."""
    fast = decode_batches("t", 0, buffer, 0, confluent_ids=IDS, skip_damaged=True)
    slow = decode_batches("t", 0, buffer, 0, confluent_ids=IDS, skip_damaged=True, columnar=False)
    assert_same(fast.batch, slow.batch)
    assert (fast.poison, fast.next_offset) == (slow.poison, slow.next_offset)
    assert fast.next_offset >= 0
    decode_rows(buffer, 0, partial(decode_outcome, confluent_ids=IDS), lambda o: o.request_id)
    for topic in BULK:
        try:
            any_record_to_json(topic.name, buffer[61:])
        except PoisonError:
            continue


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm clock")
def test_no_bytes_crash_hang_or_escape(
    prediction: Callable[..., PredictionEvent], build_batch: Batch, seal: Callable[[bytearray], bytes]
) -> None:
    """Whatever a topic holds, decoding ends with rows and poison: no exception of native code, no hang."""
    rng, sound = random.Random(SEED), corpus(prediction, build_batch)
    for buffer in sound:
        read_every_way(buffer)
    deadline, cases = time.monotonic() + BUDGET_S, 0
    while time.monotonic() < deadline:
        buffer = harmed(rng, sound, seal)
        cases += 1
        try:
            with ended_if_it_hangs():
                read_every_way(buffer)
        except BaseException as e:
            if isinstance(e, KeyboardInterrupt):
                raise
            pytest.fail(f"case {cases} of seed {SEED}: {type(e).__name__}: {e}\n{buffer.hex()}")
    assert cases
