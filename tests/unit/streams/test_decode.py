from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from paritygate.schemas.codec import decode_outcome, encode
from paritygate.schemas.outcome import Outcome
from paritygate.streams.decode import Rows, decode_rows

OUTCOME = Outcome(request_id="r0", rollout_id="r", measure="m", event_at_ms=1, baseline=0.5, candidate=0.25)
Batch = Callable[..., bytes]


def entry(number: int) -> tuple[int, bytes | None, bytes | None]:
    outcome = replace(OUTCOME, request_id=f"r{number}")
    return 1_000 + number, outcome.request_id.encode(), encode(outcome)


def read(buffer: bytes, start: int = 0) -> Rows[Outcome]:
    return decode_rows(buffer, start, decode_outcome, lambda o: o.request_id)


def test_rows_come_with_offset_and_time(raw_batch: Batch) -> None:
    """Good records keep their order, offsets and the time of their record."""
    got = read(raw_batch([entry(n) for n in range(3)], 7), 7)
    assert [(o, t, r.request_id) for o, t, r in got.rows] == [(7, 1000, "r0"), (8, 1001, "r1"), (9, 1002, "r2")]
    assert (got.next_offset, got.poison) == (10, [])


def test_start_within_a_batch_skips_what_was_read(raw_batch: Batch) -> None:
    """A broker sends the whole batch; records before the start are neither rows nor poison."""
    entries = [entry(0), (1, None, b"bad"), entry(2), entry(3)]
    got = read(raw_batch(entries, 4), 6)
    assert [o for o, _, _ in got.rows] == [6, 7]
    assert got.poison == []


def test_bad_records_cost_themselves(raw_batch: Batch) -> None:
    """Null key, another key, empty and broken values become poison with what they held; the rest are rows."""
    good = entry(1)
    bad = [(1, None, good[2]), (2, b"other", good[2]), (3, b"k", b""), (4, b"k", None), (5, b"k", b"{no json")]
    got = read(raw_batch([entry(0), *bad, entry(9)]))
    assert [r.request_id for _, _, r in got.rows] == ["r0", "r9"]
    assert [(p.offset, p.timestamp_ms, p.key, p.value) for p in got.poison] == [
        (1 + i, *record) for i, record in enumerate(bad)
    ]
    assert [p.kind for p in got.poison] == ["invalid", "invalid", "decode", "decode", "decode"]
    assert all("no json" not in p.reason for p in got.poison)


def test_batch_cut_at_the_end_is_fetched_again(raw_batch: Batch) -> None:
    """A fetch may end within a batch: that batch is left for the next one."""
    first, second = raw_batch([entry(0)]), raw_batch([entry(1), entry(2)], 1)
    got = read(first + second[:-5])
    assert ([r.request_id for _, _, r in got.rows], got.next_offset, got.poison) == (["r0"], 1, [])


def test_damaged_batch_is_one_poison_and_no_obstacle(raw_batch: Batch) -> None:
    """A batch whose checksum fails is put aside whole; what follows is read."""
    broken = bytearray(raw_batch([entry(0), entry(1)]))
    broken[-2] ^= 0xFF
    got = read(bytes(broken) + raw_batch([entry(2)], 2))
    assert [(o, r.request_id) for o, _, r in got.rows] == [(2, "r2")]
    (poison,) = got.poison
    assert poison.offset == 0
    assert "CRC32C" in poison.reason
    assert got.next_offset == 3


@given(
    records=st.lists(st.tuples(st.one_of(st.none(), st.binary(max_size=8)), st.binary(max_size=64)), max_size=6),
    data=st.data(),
)
@hypothesis_settings(max_examples=60)
def test_nothing_raises_and_nothing_is_lost(
    raw_batch: Batch, records: list[tuple[bytes | None, bytes]], data: st.DataObject
) -> None:
    """Whatever the bytes are, every record is a row or poison, and the position moves past all of them."""
    entries: list[tuple[int, bytes | None, bytes | None]] = [(1, key, value) for key, value in records]
    entries = entries or [entry(0)]
    start = data.draw(st.integers(0, len(entries) - 1))
    got = read(raw_batch(entries), start)
    offsets = sorted([o for o, _, _ in got.rows] + [p.offset for p in got.poison])
    assert offsets == list(range(start, len(entries)))
    assert got.next_offset == len(entries)
