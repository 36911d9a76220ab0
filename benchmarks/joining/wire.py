"""Record batches by array operations: millions of events a minute from one process.

Law: what comes out is what a producer would send, byte for byte: canonical varints, the CRC, one event per record.
Every record of a batch has the same width, so a batch is a matrix of bytes and a column of it one assignment.
Source: Kafka protocol, "Record Batch" and "Record"; Avro 1.12, "Binary Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import google_crc32c
import numpy as np
import numpy.typing as npt

Bytes2 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Piece = bytes | Bytes2

#: Offset deltas below it take one byte as a varint, those up to 8,191 take two.
_SHORT = 64
MAX_RECORDS = 8_192


def varint(number: int) -> bytes:
    """A zig-zag varint."""
    rest = number << 1 ^ number >> 63
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def text(value: str) -> bytes:
    """An Avro string, or a key or value of a record."""
    data = value.encode()
    return varint(len(data)) + data


def choice(values: Sequence[bytes], codes: I64) -> Bytes2:
    """``values[codes[i]]`` in row i; the values are equally long."""
    table = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)
    return table[codes]


def longs(values: I64) -> Bytes2:
    """Not negative Avro longs that all take as many bytes."""
    width = len(varint(int(values.max())))
    rest = values.astype(np.uint64) << np.uint64(1)
    out = np.empty((len(values), width), np.uint8)
    for place in range(width):
        out[:, place] = rest & np.uint64(0x7F) | np.uint64(0x80 if place < width - 1 else 0)
        rest >>= np.uint64(7)
    assert len(varint(int(values.min()))) == width, "these numbers are not equally wide"
    return out


def doubles(values: F64) -> Bytes2:
    """Avro doubles."""
    return values.astype("<f8").view(np.uint8).reshape(-1, 8)


def digits(values: I64, width: int) -> Bytes2:
    """Decimal digits with leading zeros."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def hexes(values: npt.NDArray[np.uint64]) -> Bytes2:
    """Sixteen hexadecimal digits each."""
    alphabet = np.frombuffer(b"0123456789abcdef", np.uint8)
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    return alphabet[(values[:, None] >> shifts & np.uint64(15)).astype(np.int64)]


def rows(count: int, pieces: Sequence[Piece]) -> Bytes2:
    """The pieces side by side, constants repeated in every row."""
    width = sum(len(p) if isinstance(p, bytes) else p.shape[1] for p in pieces)
    out = np.empty((count, width), np.uint8)
    at = 0
    for piece in pieces:
        if isinstance(piece, bytes):
            out[:, at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        else:
            out[:, at : at + piece.shape[1]] = piece
            at += piece.shape[1]
    return out


def keyed(keys: Bytes2, values: Bytes2) -> Bytes2:
    """The end of a record, from its key on."""
    return rows(len(keys), [varint(keys.shape[1]), keys, varint(values.shape[1]), values, b"\0"])


def batches(records: Bytes2, timestamp_ms: int, most: int) -> Iterator[tuple[int, bytes]]:
    """Record batches of up to ``most`` records, with their counts; ``records`` are from :func:`keyed`."""
    assert 0 < most <= MAX_RECORDS
    for start in range(0, len(records), most):
        part = records[start : start + most]
        short = _prefixed(part[:_SHORT], 0)
        body = short.tobytes() + _prefixed(part[_SHORT:], _SHORT).tobytes()
        # attributes, last offset delta, base and newest timestamp, no producer id, count
        tail = struct.pack(">hiqqqhii", 0, len(part) - 1, timestamp_ms, timestamp_ms, -1, -1, -1, len(part)) + body
        head = struct.pack(">qiibI", 0, len(tail) + 9, -1, 2, google_crc32c.value(tail))
        yield len(part), head + tail


def _prefixed(part: Bytes2, first_delta: int) -> Bytes2:
    """Records with length, attributes, timestamp delta 0 and offset delta before them."""
    if not len(part):
        return part
    deltas = longs(np.arange(first_delta, first_delta + len(part), dtype=np.int64))
    length = varint(2 + deltas.shape[1] + part.shape[1])
    return rows(len(part), [length, b"\0\0", deltas, part])


def murmur2(keys: Bytes2) -> npt.NDArray[np.uint32]:
    """The hash by which Kafka's default partitioner places a key; keys of a multiple of four bytes."""
    m = np.uint32(0x5BD1E995)
    h = np.full(len(keys), 0x9747B28C ^ keys.shape[1], np.uint32)
    for word in np.ascontiguousarray(keys).view("<u4").T:
        k = word * m
        k = (k ^ k >> np.uint32(24)) * m
        h = h * m ^ k
    h = (h ^ h >> np.uint32(13)) * m
    return h ^ h >> np.uint32(15)
