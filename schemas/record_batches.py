"""Kafka's record batches (format v2): a fetched buffer to batches, a batch to records.

Law: only whole batches whose CRC32C holds are given out, in offset order; ``next_offset`` is where the next
fetch goes on, so that nothing is read twice or left out. Source: Kafka protocol, "Record Batch" and "Record".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

import google_crc32c
import numpy as np

from paritygate.schemas.compression import decompress
from paritygate.schemas.errors import DecodeError

# baseOffset, batchLength, partitionLeaderEpoch, magic, crc, attributes, lastOffsetDelta, baseTimestamp,
# maxTimestamp, producerId, producerEpoch, baseSequence, count
_HEADER = Struct(">qiibIhiqqqhii")
_LENGTH = Struct(">i")
_LENGTH_BYTES = 12  # base offset and batch length, which the length itself does not count
_CRC_FROM = 21  # the CRC covers attributes to end
_MAGIC = 2
_LOG_APPEND_TIME = 0x08
_CONTROL = 0x20
_INT64 = 2**63

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record; ``timestamp_ms`` is the producer's, or the broker's where the topic says LogAppendTime."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class RecordBatch:
    """One batch. ``payload`` is the body as it came, compressed or not, see :meth:`body`; ``payload_at``, where it
    begins in what was fetched.

    ``damage`` is empty, or says why the batch cannot be trusted; then ``payload`` is the whole raw batch.
    """

    base_offset: int
    last_offset_delta: int
    count: int
    attributes: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    payload_at: int
    payload: memoryview
    damage: str = ""

    @property
    def last_offset(self) -> int:
        """Offset of the last record; compaction may have removed it."""
        return self.base_offset + self.last_offset_delta

    @property
    def compression(self) -> int:
        """Codec number, see :class:`~paritygate.schemas.compression.Compression`."""
        return self.attributes & 7

    @property
    def is_control(self) -> bool:
        """Whether it holds transaction markers instead of data."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_log_append_time(self) -> bool:
        """Whether all records have the broker's ``max_timestamp_ms`` as their time."""
        return bool(self.attributes & _LOG_APPEND_TIME)

    def body(self) -> bytes | memoryview:
        """The records, decompressed.

        :raises DecodeError: unknown codec, broken data, or a bomb.
        """
        return decompress(self.compression, self.payload) if self.compression else self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSplit:
    """Batches of one fetched buffer that reach ``start_offset`` or beyond.

    ``needed_bytes``: size of a batch that stood at the end in part, 0 where there was none. With no batch
    before it, a fetch must ask for as many.
    """

    batches: tuple[RecordBatch, ...]
    next_offset: int
    needed_bytes: int = 0


def split(buffer: bytes | memoryview, start_offset: int, *, skip_damaged: bool = False) -> BatchSplit:
    """Cut the records of a fetch response into batches, leaving out a truncated last one.

    A damaged batch (CRC, unknown format, offsets that go backwards) ends the split before it. Where it is
    the first, the call raises: fetch again, the damage may lie on the way; if it stays, call with
    ``skip_damaged`` and get it as a batch with ``damage``, to be put aside whole.

    :raises DecodeError: the first batch is damaged and ``skip_damaged`` is false.
    """
    view = memoryview(buffer)
    # Its slices are no copies for the CRC either.
    octets = np.frombuffer(view, np.uint8)
    batches: list[RecordBatch] = []
    at, position, next_offset = 0, 0, start_offset
    while at + _LENGTH_BYTES <= len(view):
        (length,) = _LENGTH.unpack_from(view, at + 8)
        end = at + _LENGTH_BYTES + length
        if end > len(view):
            return BatchSplit(batches=tuple(batches), next_offset=next_offset, needed_bytes=end - at)
        if length >= _HEADER.size - _LENGTH_BYTES:
            batch = _read(view, octets, at, end, position)
        else:
            # Nothing to go by: the rest of the buffer is one damaged piece.
            end = len(view)
            batch = _damaged(view[at:], position, "has a length that cannot be")
        if batch.damage:
            if not skip_damaged:
                if batches:
                    break
                raise DecodeError(f"record batch at offset {max(batch.base_offset, start_offset)} {batch.damage}")
            batch = _placed(batch, start_offset)
        position = batch.base_offset + batch.last_offset_delta + 1
        if position > start_offset:
            batches.append(batch)
            next_offset = max(next_offset, position)
        at = end
    return BatchSplit(batches=tuple(batches), next_offset=next_offset)


def end_offset(buffer: bytes | memoryview, start_offset: int) -> int:
    """Where the next fetch goes on, as far as the headers say; only :func:`split` tells whether to trust them."""
    view = memoryview(buffer)
    at, found = 0, start_offset
    while at + _HEADER.size <= len(view):
        base, length, _, magic, _, _, last_delta, *_ = _HEADER.unpack_from(view, at)
        at += _LENGTH_BYTES + length
        end = base + last_delta + 1
        if magic != _MAGIC or length < _HEADER.size - _LENGTH_BYTES or at > len(view) or end >= _INT64:
            break
        found = max(found, end)
    return found


def records(batch: RecordBatch, body: bytes) -> Iterator[Record]:
    """The records of a batch, one by one; ``body`` is :meth:`RecordBatch.body` as bytes.

    :raises DecodeError: when it comes to the record that is malformed, out of order, missing or too much.
    """
    at, last = 0, batch.base_offset - 1
    for _ in range(batch.count):
        record, at = read_record(batch, body, at)
        if not last < record.offset <= batch.last_offset:
            raise DecodeError("record offset is out of the order of its batch")
        last = record.offset
        yield record
    if at != len(body):
        raise DecodeError("record batch has bytes left over after its last record")


def read_record(batch: RecordBatch, body: bytes, at: int) -> tuple[Record, int]:
    """The record that begins at byte ``at`` of the body, and where the next begins.

    :raises DecodeError: it is malformed or truncated.
    """
    try:
        length, at = _varint(body, at)
        end = at + length
        # One byte of attributes, which Kafka does not use.
        delta_ms, at = _varint(body, at + 1)
        offset_delta, at = _varint(body, at)
        key, at = _bytes(body, at, end)
        value, at = _bytes(body, at, end)
        header_count, at = _varint(body, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(header_count):
            name, at = _bytes(body, at, end)
            content, at = _bytes(body, at, end)
            headers.append(((name or b"").decode(), content))
    except (IndexError, UnicodeDecodeError):
        raise DecodeError("record is truncated or malformed") from None
    timestamp_ms = batch.max_timestamp_ms if batch.is_log_append_time else batch.base_timestamp_ms + delta_ms
    if at != end or header_count < 0 or not -_INT64 <= timestamp_ms < _INT64:
        raise DecodeError("record is malformed: its length, header count or timestamp cannot be")
    offset = batch.base_offset + offset_delta
    return Record(offset=offset, timestamp_ms=timestamp_ms, key=key, value=value, headers=tuple(headers)), end


def _read(view: memoryview, octets: Any, at: int, end: int, position: int) -> RecordBatch:
    """The batch from ``at`` to ``end``, with ``damage`` where it cannot be trusted."""
    base, _, _, magic, crc, attributes, last_delta, base_ms, max_ms, _, _, _, count = _HEADER.unpack_from(view, at)
    if magic != _MAGIC:
        return _damaged(view[at:end], base, f"has message format v{magic}, of which only v{_MAGIC} is read")
    if google_crc32c.value(octets[at + _CRC_FROM : end]) != crc:
        return _damaged(view[at:end], base, "fails its CRC32C")
    if base < position or not 0 <= last_delta < _INT64 - 1 - base or count < 0:
        return _damaged(view[at:end], base, "has offsets or a count that cannot be")
    payload_at = at + _HEADER.size
    return RecordBatch(base, last_delta, count, attributes, base_ms, max_ms, payload_at, view[payload_at:end])


def _damaged(raw: memoryview, base: int, damage: str) -> RecordBatch:
    return RecordBatch(base, 0, 0, 0, -1, -1, 0, raw, damage)


def _placed(batch: RecordBatch, start_offset: int) -> RecordBatch:
    """A damaged batch put at an offset that can be; its own numbers cannot be trusted, so it counts as one."""
    base = batch.base_offset if start_offset <= batch.base_offset < _INT64 - 1 else start_offset
    return _damaged(batch.payload, base, batch.damage)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint; an IndexError stands for the end of the body or more than ten bytes."""
    byte = body[at]
    at += 1
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        if shift > 63:
            raise IndexError
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
    return number >> 1 ^ -(number & 1), at


def _bytes(body: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    """Length-prefixed bytes that must end by ``end``; length -1 is null."""
    length, at = _varint(body, at)
    if length < 0:
        return None, at
    if at + length > min(end, len(body)):
        raise IndexError
    return body[at : at + length], at + length
