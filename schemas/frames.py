"""Frames: Kafka's framing of the records in whole batches, as columns of places in one buffer.

Law: what :func:`read_frames` returns is exactly what :func:`~paritygate.schemas.record_batches.records` sees of the
same bodies, or it raises; it takes no record with headers, without a key or without a value. Source: Kafka
protocol, "Record".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, varint
from paritygate.schemas.record_batches import RecordBatch
from paritygate.schemas.texts import read_only

#: How many bytes of a value tell in what it is written.
BEGIN_BYTES: Final = 10
#: Bound of timestamps and of their deltas: the sum of two such cannot overflow.
_SAFE_MS: Final = 1 << 62
#: The fewest bytes that a record has.
_RECORD_BYTES: Final = 7


class LayoutError(ValueError):
    """These batches are not as the layout says: read them record by record."""


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Uncompressed bodies of some batches in one read-only buffer, with spare bytes behind the last.

    ``heads``: of each batch where its body begins and its bytes, and from its header the count of records, the base
    offset, the last offset's delta, the base timestamp, whether the broker's stands for all, and the highest.
    """

    buffer: U8
    heads: I64

    @classmethod
    def of(
        cls, batches: Sequence[tuple[RecordBatch, bytes | memoryview]], fetched: bytes | memoryview = b""
    ) -> Bodies:
        """Batches and their bodies.

        ``fetched``: where all of them were found. It is not copied where the bodies lie in it as they are, so it
        must never change.
        """
        size = [len(body) for _, body in batches]
        if any(batch.compression for batch, _ in batches) or len(fetched) < _end(batches) + SPARE_BYTES:
            buffer = np.frombuffer(b"".join([*(body for _, body in batches), bytes(SPARE_BYTES)]), np.uint8)
            at = [0, *accumulate(size[:-1])]
        else:
            buffer = read_only(np.frombuffer(fetched, np.uint8))
            at = [batch.payload_at for batch, _ in batches]
        heads = [
            (at, size, batch.count, batch.base_offset, batch.last_offset_delta, batch.base_timestamp_ms,
             batch.is_log_append_time, batch.max_timestamp_ms)
            for at, size, (batch, _) in zip(at, size, batches, strict=True)
        ]  # fmt: skip
        return cls(buffer, np.array(heads, np.int64))

    def __getitem__(self, part: slice) -> Bodies:
        """Some of them, in the same buffer."""
        return Bodies(self.buffer, self.heads[part])

    def begins(self) -> list[bytes]:
        """The first bytes of the first value of each, zeros behind a shorter one; zeros where there is none."""
        found = np.zeros((len(self.heads), BEGIN_BYTES), np.uint8)
        _begins(self.buffer, self.heads, found)
        raw = found.tobytes()
        return [raw[at : at + BEGIN_BYTES] for at in range(0, len(raw), BEGIN_BYTES)]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Records of some whole batches of one partition, in their order.

    ``buffer``: as of the bodies. ``batch``: number of the batch in the call; ``start``: byte in its body at which
    the record begins. ``key_at`` and ``key_size``, ``value_at`` and ``value_size``: where key and value lie in the
    buffer.
    """

    buffer: U8
    batch: I64
    start: I64
    offset: I64
    appended_at_ms: I64
    key_at: I64
    value_at: I64
    key_size: I32
    value_size: I32

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: B1) -> Frames:
        """Some of the records."""
        columns = (getattr(self, f.name) for f in fields(self) if f.name != "buffer")
        return Frames(self.buffer, *(column[rows] for column in columns))


def read_frames(bodies: Bodies) -> Frames:
    """The frames of batches.

    :raises LayoutError: headers, a null key or value, timestamps out of range, offsets out of order, or bytes that
        are no records.
    """
    size, count = bodies.heads[:, 1], bodies.heads[:, 2]
    # Room must not be reserved for more records than can be there.
    if (count * _RECORD_BYTES > size).any():
        raise LayoutError("more records declared than there are bytes")
    rows = int(count.sum())
    numbers, lengths = np.empty((6, rows), np.int64), np.empty((2, rows), np.int32)
    if not _read(bodies.buffer, bodies.heads, numbers, lengths):
        raise LayoutError("headers, nulls, or no records")
    return Frames(bodies.buffer, *numbers, *lengths)


def _end(batches: Sequence[tuple[RecordBatch, bytes | memoryview]]) -> int:
    batch, body = batches[-1]
    return batch.payload_at + len(body)


@compiled
def _record(at: int, last: int) -> Any:
    """Where the record at an address ends, or -1; its timestamp's and offset's delta; its key and its value."""
    length, at = varint(at, last)
    end = at + length
    # One byte of attributes, which Kafka does not use.
    if at < 0 or not 1 <= length <= last - at:
        return -1, 0, 0, 0, 0, 0, 0
    delta_ms, at = varint(at + 1, end)
    if at < 0 or not -_SAFE_MS <= delta_ms <= _SAFE_MS:
        return -1, 0, 0, 0, 0, 0, 0
    delta, at = varint(at, end)
    if at < 0:
        return -1, 0, 0, 0, 0, 0, 0
    key_size, key_at = varint(at, end)
    if key_at < 0 or not 0 <= key_size <= end - key_at:
        return -1, 0, 0, 0, 0, 0, 0
    value_size, value_at = varint(key_at + key_size, end)
    if value_at < 0 or not 0 <= value_size <= end - value_at:
        return -1, 0, 0, 0, 0, 0, 0
    headers, at = varint(value_at + value_size, end)
    if headers != 0 or at != end:
        return -1, 0, 0, 0, 0, 0, 0
    return end, delta_ms, delta, key_at, key_size, value_at, value_size


@compiled
def _begins(buffer: Any, heads: Any, found: Any) -> None:
    base = address(buffer)
    for k in range(len(heads)):
        begin, size, count = base + heads[k, 0], heads[k, 1], heads[k, 2]
        end, _, _, _, _, value_at, value_size = _record(begin, begin + size)
        if count > 0 and end >= 0:
            for i in range(min(value_size, found.shape[1])):
                found[k, i] = byte(value_at + i)


@compiled
def _read(buffer: Any, heads: Any, numbers: Any, lengths: Any) -> bool:
    """Fill one column per record; false where the bodies are not what is read here."""
    base, row, lowest = address(buffer), 0, -1
    for k in range(len(heads)):
        begin, last_delta, base_ms = base + heads[k, 0], heads[k, 4], heads[k, 5]
        at, last = begin, begin + heads[k, 1]
        if not -_SAFE_MS <= base_ms <= _SAFE_MS:
            return False
        for _ in range(heads[k, 2]):
            end, delta_ms, delta, key_at, key_size, value_at, value_size = _record(at, last)
            offset = heads[k, 3] + delta
            if end < 0 or not 0 <= delta <= last_delta or offset <= lowest:
                return False
            lowest = offset
            numbers[0, row], numbers[1, row], numbers[2, row] = k, at - begin, offset
            numbers[3, row] = heads[k, 7] if heads[k, 6] else base_ms + delta_ms
            numbers[4, row], numbers[5, row] = key_at - base, value_at - base
            lengths[0, row], lengths[1, row] = key_size, value_size
            row += 1
            at = end
        if at != last:
            return False
    return True
