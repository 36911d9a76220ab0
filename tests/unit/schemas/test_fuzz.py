from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.schemas.codec import AvroRecord, any_record_to_json, decode, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY
from paritygate.schemas.topics import TOPICS
from tests.support.event_batches import assert_same

FRAMES = [b"", b"\xc3\x01", *(REGISTRY.newest(r).header for r in REGISTRY.records), b"\0\0\0\0\7", b"{", b'{"arm":']
IDS = {7: REGISTRY.newest("PredictionEvent")}


def harmed(value: bytes, flips: list[int], end: int) -> bytes:
    """The value with some bits flipped and its end cut off."""
    other = bytearray(value)
    for flip in flips:
        other[flip // 8 % len(other)] ^= 1 << flip % 8
    return bytes(other[: len(other) - end % len(other)])


def read_or_poison(read: Callable[[], Any]) -> Any:
    """What was read, or the poison error with its reason; any other exception goes on."""
    try:
        return read()
    except PoisonError as e:
        return e


HARM = st.tuples(st.lists(st.integers(0, 2**14), max_size=4), st.just(0) | st.integers(0, 400))


@settings(max_examples=250)
@given(st.sampled_from(FRAMES), st.binary(max_size=120))
def test_random_bytes_are_a_record_or_poison(samples: tuple[AvroRecord, ...], frame: bytes, junk: bytes) -> None:
    """Whatever follows a frame, every reader gives a record or raises PoisonError."""
    value = frame + junk
    for record in samples[::2]:
        assert read_or_poison(partial(decode, type(record), value, confluent_ids=IDS))
    for topic in TOPICS:
        assert read_or_poison(partial(any_record_to_json, topic.name, value))


@settings(max_examples=250)
@given(st.integers(0, 7), HARM)
def test_harmed_values_are_a_record_or_poison(
    samples: tuple[AvroRecord, ...], which: int, harm: tuple[list[int], int]
) -> None:
    """Bit flips and truncations of a valid value never raise anything but PoisonError."""
    record = samples[which]
    value = harmed(encode(record), *harm)

    got = read_or_poison(partial(decode, type(record), value))

    assert isinstance(got, PoisonError) or decode(type(record), encode(got)) == got


@settings(max_examples=150)
@given(st.lists(HARM, min_size=1, max_size=6), st.sampled_from([0, 3]))
def test_harmed_values_in_batches_are_rows_or_poison(
    prediction: Callable[..., PredictionEvent],
    build_batch: Callable[..., bytes],
    harms: list[tuple[list[int], int]],
    codec: int,
) -> None:
    """In both decode paths each harmed value is one row or one poison, the same in both."""
    entries: list[Any] = [(5, b"request-1", harmed(encode(prediction()), *harm), []) for harm in harms]
    buffer = build_batch(entries, 0, codec)

    fast = decode_batches("t", 0, buffer, 0, confluent_ids=IDS)
    slow = decode_batches("t", 0, buffer, 0, confluent_ids=IDS, columnar=False)

    assert fast.records == len(entries)
    assert_same(fast.batch, slow.batch)
    assert fast.poison == slow.poison


@settings(max_examples=150)
@given(HARM, st.booleans())
def test_harmed_batches_are_rows_or_poison(
    prediction: Callable[..., PredictionEvent],
    build_batch: Callable[..., bytes],
    seal: Callable[[bytearray], bytes],
    harm: tuple[list[int], int],
    sealed: bool,
) -> None:
    """Harm to the batch itself, even under a valid CRC, gives rows and poison, the same in both paths."""
    entries: list[Any] = [(5, b"request-1", encode(prediction()), [])] * 4
    raw = bytearray(harmed(build_batch(entries), *harm))
    buffer = seal(raw) if sealed and len(raw) > 61 else bytes(raw)

    fast = decode_batches("t", 0, buffer, 0, skip_damaged=True)
    slow = decode_batches("t", 0, buffer, 0, skip_damaged=True, columnar=False)

    assert fast.batch.offset.tolist() == slow.batch.offset.tolist()
    assert fast.batch.appended_at_ms.tolist() == slow.batch.appended_at_ms.tolist()
    assert fast.poison == slow.poison
    assert fast.next_offset == slow.next_offset
