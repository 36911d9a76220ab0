from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.schemas.errors import DecodeError
from paritygate.schemas.record_batches import Record, RecordBatch, end_offset, records, split

Build = Callable[..., bytes]
Seal = Callable[[bytearray], bytes]

ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 2**42),
        st.none() | st.binary(max_size=80),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


def read(batch: RecordBatch) -> list[Record]:
    """All records of a batch."""
    return list(records(batch, bytes(batch.body())))


def changed(raw: bytes, at: int, value: int, size: int) -> bytearray:
    """The batch with one header number replaced."""
    other = bytearray(raw)
    other[at : at + size] = value.to_bytes(size, "big", signed=True)
    return other


@settings(max_examples=60)
@given(st.lists(st.tuples(ENTRIES, st.sampled_from([0, 1, 2, 3, 4])), max_size=4), st.integers(0, 30), st.data())
def test_records_come_back_as_they_were_built(
    build_batch: Build, parts: list[tuple[list[Any], int]], start: int, data: st.DataObject
) -> None:
    """Batches of any codec give back every record from the start offset's batch on; a cut last one is left."""
    buffer, expected, base, ends = b"", [], 3, [(0, 3)]
    for entries, codec in parts:
        buffer += build_batch(entries, base, codec)
        expected += [
            Record(offset=base + i, timestamp_ms=t, key=k, value=v, headers=tuple(h))
            for i, (t, k, v, h) in enumerate(entries)
        ]
        base += len(entries)
        ends.append((len(buffer), base))
    cut = data.draw(st.integers(0, len(buffer)))

    found = split(memoryview(buffer)[:cut], start)

    whole = max(end for end in ends if end[0] <= cut)
    got = [r for batch in found.batches for r in read(batch)]
    assert [r for r in got if r.offset >= start] == [r for r in expected if start <= r.offset < whole[1]]
    assert all(batch.last_offset >= start for batch in found.batches)
    assert found.next_offset == (max(start, whole[1]) if whole[0] else start)
    assert (found.needed_bytes > 0) == (cut - whole[0] >= 12)
    assert end_offset(buffer[:cut], start) == found.next_offset


def test_a_cut_batch_says_how_much_it_needs(build_batch: Build) -> None:
    """With only part of a batch the next fetch can ask for exactly its size."""
    raw = build_batch([(1, b"k", b"v" * 500, [])], 9)

    found = split(raw[:100], 9)

    assert (found.batches, found.next_offset, found.needed_bytes) == ((), 9, len(raw))


def test_a_damaged_batch_ends_the_split_then_raises_then_is_put_aside(build_batch: Build) -> None:
    """Good batches before a damaged one count; alone it raises; on demand it comes whole, with its reason."""
    first, second, third = (build_batch([(1, b"k", b"v", [])] * 2, base) for base in (0, 2, 4))
    broken = bytearray(second)
    broken[-2] ^= 1

    assert split(first + broken + third, 0).next_offset == 2
    with pytest.raises(DecodeError, match="offset 2 fails its CRC32C"):
        split(bytes(broken) + third, 2)
    skipped = split(bytes(broken) + third, 2, skip_damaged=True)

    assert [b.damage for b in skipped.batches] == ["fails its CRC32C", ""]
    assert bytes(skipped.batches[0].payload) == broken
    assert skipped.next_offset == 6


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ((8, 3, 4), "a length that cannot be"),
        ((8, -5, 4), "a length that cannot be"),
        ((16, 1, 1), "message format v1"),
        ((0, -7, 8), "offsets or a count"),
        ((0, 2**63 - 1, 8), "offsets or a count"),
        ((23, -1, 4), "offsets or a count"),
        ((57, -1, 4), "offsets or a count"),
    ],
)
def test_headers_that_cannot_be_are_damage(
    build_batch: Build, seal: Seal, number: tuple[int, int, int], text: str
) -> None:
    """Each number of the header that cannot be is damage, and skipping it gets on by at least one offset."""
    raw = seal(changed(build_batch([(1, b"k", b"v", [])], 5), *number))

    with pytest.raises(DecodeError, match=text):
        split(raw, 5)

    assert split(raw, 5, skip_damaged=True).next_offset >= 6


def test_headers_that_lie_promise_no_offset_that_cannot_be(build_batch: Build) -> None:
    """What is asked for ahead fits into a request, whatever a damaged header says."""
    raw = changed(build_batch([(1, b"k", b"v", [])], 9), 0, (1 << 63) - 1, 8)
    assert end_offset(bytes(raw), 9) == 9


def test_offsets_never_go_back(build_batch: Build) -> None:
    """A batch whose offsets lie before those of the batch before it is damage."""
    entries: list[Any] = [(1, b"k", b"v", [])] * 3
    buffer = build_batch(entries, 10) + build_batch(entries, 12)

    assert split(buffer, 0).next_offset == 13
    assert [b.damage for b in split(buffer, 0, skip_damaged=True).batches][1].startswith("has offsets")


def test_broker_time_stands_for_all_records(build_batch: Build, seal: Seal) -> None:
    """With LogAppendTime every record has the batch's highest timestamp."""
    raw = changed(build_batch([(100, b"k", b"v", []), (300, b"k", b"v", [])]), 21, 0x08, 2)

    (batch,) = split(seal(raw), 0).batches

    assert [r.timestamp_ms for r in read(batch)] == [300, 300]
    assert not batch.is_control


@pytest.mark.parametrize(("count", "text"), [(1, "left over"), (3, "truncated"), (0, "left over")])
def test_a_wrong_count_is_found(build_batch: Build, seal: Seal, count: int, text: str) -> None:
    """More or fewer records than the header says is an error once it shows, not before."""
    raw = seal(changed(build_batch([(1, b"k", b"v", [])] * 2), 57, count, 4))
    (batch,) = split(raw, 0).batches
    seen: list[Record] = []

    with pytest.raises(DecodeError, match=text):
        seen.extend(records(batch, bytes(batch.body())))


def test_offsets_within_a_batch_rise(build_batch: Build, seal: Seal) -> None:
    """A record whose offset is not after the one before it, or not in its batch, is malformed."""
    raw = bytearray(build_batch([(1, b"k", b"v", [])] * 2))
    second = raw.rindex(b"\x02\x02k")
    raw[second] = 0
    (batch,) = split(seal(raw), 0).batches

    with pytest.raises(DecodeError, match="out of the order"):
        read(batch)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_batches_or_a_decode_error(junk: bytes, skip: bool) -> None:
    """Bytes that are no batches raise DecodeError or give what can be told; nothing else happens."""
    assert 7 <= end_offset(junk, 7) < 1 << 63
    try:
        found = split(junk, 7, skip_damaged=skip)
    except DecodeError:
        assert not skip
    else:
        assert found.next_offset >= 7
