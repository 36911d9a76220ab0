"""Frames: Kafka's framing of the records in whole batches, as columns of places in one buffer.

Law: what :func:`read_frames` returns is exactly what :func:`~paritygate.schemas.record_batches.records` sees of the
same bodies, or it raises; it takes no record with headers, without a key or without a value. Source: Kafka
protocol, "Record".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled, varint

#: Bound of timestamps and of their deltas: the sum of two such cannot overflow.
SAFE_MS: Final = 1 << 62
#: The fewest bytes that a record has.
_RECORD_BYTES: Final = 7


class LayoutError(ValueError):
    """These batches are not as the layout says: read them record by record."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Records of some whole batches of one partition, in their order.

    ``buffer``: the bodies one after the other, and spare bytes. ``batch``: number of the batch in the call;
    ``start``: byte in its body at which the record begins. ``offset_delta``, ``delta_ms``: as in the record.
    ``key_at`` and ``key_size``, ``value_at`` and ``value_size``: where key and value lie in the buffer.
    """

    buffer: U8
    batch: I64
    start: I64
    offset_delta: I64
    delta_ms: I64
    key_at: I64
    key_size: I32
    value_at: I64
    value_size: I32

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: B1) -> Frames:
        """Some of the records."""
        columns = (getattr(self, f.name) for f in fields(self) if f.name != "buffer")
        return Frames(self.buffer, *(column[rows] for column in columns))


def read_frames(bodies: Sequence[tuple[int, bytes | memoryview]]) -> Frames:
    """The frames of batches, given as (count of records, uncompressed body).

    :raises LayoutError: headers, a null key or value, timestamps out of range, or bytes that are no records.
    """
    counts = np.array([count for count, _ in bodies], np.int64)
    sizes = np.array([len(body) for _, body in bodies], np.int64)
    # Room must not be reserved for more records than can be there.
    if (counts * _RECORD_BYTES > sizes).any():
        raise LayoutError("more records declared than there are bytes")
    buffer = np.frombuffer(b"".join([*(body for _, body in bodies), bytes(SPARE_BYTES)]), np.uint8)
    count = int(counts.sum())
    numbers = np.empty((5, count), np.int64)
    lengths = np.empty((2, count), np.int32)
    if not _read(buffer, counts, sizes, numbers, lengths):
        raise LayoutError("headers, nulls, or no records")
    start, offset_delta, delta_ms, key_at, value_at = numbers
    key_size, value_size = lengths
    return Frames(
        buffer, np.repeat(np.arange(len(counts)), counts), start, offset_delta, delta_ms,
        key_at, key_size, value_at, value_size,
    )  # fmt: skip


@compiled
def _read(buffer: Any, counts: Any, sizes: Any, numbers: Any, lengths: Any) -> bool:
    """Fill one column per record; false where the bodies are not what is read here."""
    base = address(buffer)
    row, begin = 0, base
    for k in range(len(counts)):
        at, last = begin, begin + sizes[k]
        for _ in range(counts[k]):
            numbers[0, row] = at - begin
            length, at = varint(at, last)
            end = at + length
            # One byte of attributes, which Kafka does not use.
            if at < 0 or not 1 <= length <= last - at:
                return False
            delta_ms, at = varint(at + 1, end)
            if at < 0 or not -SAFE_MS <= delta_ms <= SAFE_MS:
                return False
            numbers[2, row] = delta_ms
            numbers[1, row], at = varint(at, end)
            if at < 0:
                return False
            for column in range(2):
                size, at = varint(at, end)
                if at < 0 or not 0 <= size <= end - at:
                    return False
                numbers[3 + column, row], lengths[column, row] = at - base, size
                at += size
            headers, at = varint(at, end)
            if headers != 0 or at != end:
                return False
            row += 1
        if at != last:
            return False
        begin = last
    return True
