"""Report columns: window reports whose cells and histograms are written and read by compiled loops.

Law: :func:`encode_report` gives the bytes of ``codec.encode``, and :func:`decode_report` the record of
``codec.decode_report``, errors included: what is not as expected is left to the codec. Only the newest schema
version is read here. Source: Apache Avro 1.12, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from io import BytesIO
from itertools import accumulate
from typing import Any, Final

import numpy as np
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from paritygate.schemas import codec
from paritygate.schemas.arrays import I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, varint
from paritygate.schemas.contract import CONTRACTS
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.registry import REGISTRY, AvroSchema
from paritygate.schemas.report import Cells, Histograms, WindowReport

_CONTRACT: Final = CONTRACTS[WindowReport]
_COLUMNS: Final = ("cells", "histograms")
_TEXTS: Final = parse_schema({"type": "array", "items": "string"})
_HEADER_BYTES: Final = 10
#: Bytes of the longest varint.
_LONGEST: Final = 10
#: Combinations of values whose bytes are remembered: most of a report are those of the one before.
_MAX_REMEMBERED: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class _Parts:
    """The newest version's fields in front of its columns, and those behind, each as a record of its own."""

    schema: AvroSchema
    front: Any
    back: Any

    @classmethod
    @cache
    def newest(cls) -> _Parts:
        schema = REGISTRY.newest(_CONTRACT.name)
        names = [field["name"] for field in schema.fields]
        at = names.index(_COLUMNS[0])
        assert tuple(names[at : at + 2]) == _COLUMNS
        front, back = (
            parse_schema({"type": "record", "name": f"{_CONTRACT.name}{place}", "fields": list(fields)})
            for place, fields in (("Front", schema.fields[:at]), ("Back", schema.fields[at + 2 :]))
        )
        return cls(schema, front, back)


def encode_report(report: WindowReport) -> bytes:
    """A report as Avro single object, as ``codec.encode`` writes it.

    :raises InvalidRecordError: a value breaks the contract or does not fit its Avro type, or the whole is over the
        record's limit.
    """
    cells, histograms = report.cells, report.histograms
    if isinstance(cells, Cells) and isinstance(histograms, Histograms):
        try:
            data = _encoded(report, cells, histograms)
        except Exception:  # whatever it is, the codec words it
            data = b""
        if 0 < len(data) <= _CONTRACT.max_bytes:
            return data
    return codec.encode(report)


def decode_report(data: bytes | None) -> WindowReport:
    """A report from the bytes of a Kafka value, as ``codec.decode_report`` reads it.

    :raises DecodeError: see there.
    :raises InvalidRecordError: it decodes, but breaks the contract.
    """
    if data and len(data) <= _CONTRACT.max_bytes and data.startswith(_Parts.newest().schema.header):
        try:
            report = _decoded(data)
        except PoisonError:
            raise
        except Exception:  # fastavro's errors have no common root; the codec reads it once more
            report = None
        if report is not None:
            return report
    return codec.decode_report(data)


def _encoded(report: WindowReport, cells: Cells, histograms: Histograms) -> bytes:
    parts = _Parts.newest()
    if not all(type(getattr(report, field)) is int for field in _CONTRACT.integers):
        return b""
    _CONTRACT.check(report)
    out = BytesIO()
    out.write(parts.schema.header)
    _write(out, parts.front, report)
    out.write(_written_cells(cells))
    out.write(_written_histograms(histograms))
    _write(out, parts.back, report)
    return out.getvalue()


def _write(out: BytesIO, schema: Any, report: WindowReport) -> None:
    fields = (field["name"] for field in schema["fields"])
    schemaless_writer(out, schema, {name: _CONTRACT.plain_field(report, name) for name in fields})


def _written_cells(cells: Cells) -> bytes:
    if not len(cells):
        return b"\0"
    texts, ends = _joined([_texts_to_bytes(values) for values in cells.values])
    counts = np.ascontiguousarray(cells.counts, np.int64)
    out = np.empty(len(texts) + _LONGEST * (counts.size + 3 * len(cells) + 3), np.uint8)
    return out[: _write_cells(texts, ends, counts, out)].tobytes()


def _written_histograms(histograms: Histograms) -> bytes:
    if not len(histograms):
        return b"\0"
    names, name_ends = _joined([name.encode() for name in histograms.names])
    index, counts = (np.ascontiguousarray(part, np.int64) for part in (histograms.buckets, histograms.counts))
    out = np.empty(len(names) + _LONGEST * (index.size + counts.size + 5 * len(histograms) + 3), np.uint8)
    ends = np.array(histograms.ends, np.int64)
    return out[: _write_histograms(names, name_ends, ends, index, counts, out)].tobytes()


def _joined(raw: Sequence[bytes]) -> tuple[U8, I64]:
    """Pieces behind one another, and where each begins and the last one ends."""
    ends = np.array([0, *accumulate(map(len, raw))], np.int64)
    return np.frombuffer(b"".join([*raw, bytes(SPARE_BYTES)]), np.uint8), ends


def _decoded(data: bytes) -> WindowReport | None:
    """The report, None where it is not as expected."""
    parts = _Parts.newest()
    source = BytesIO(data)
    source.seek(_HEADER_BYTES)
    front: Any = schemaless_reader(source, parts.front, None)
    buffer = np.frombuffer(data + bytes(SPARE_BYTES), np.uint8)
    width = len(front["count_names"])
    many, at = _block(buffer, source.tell(), len(data))
    if at < 0 or many * (width + 2) > len(data):
        return None
    spans, counts = np.empty((many, 2), np.int64), np.empty((many, width), np.int64)
    at = _read_cells(buffer, at, len(data), spans, counts)
    if at < 0:
        return None
    values = [_bytes_to_texts(data[begin:end]) for begin, end in spans.tolist()]
    many, at = _block(buffer, at, len(data))
    if at < 0 or many * 3 > len(data):
        return None
    names, ends = np.empty((many, 2), np.int64), np.zeros(many + 1, np.int64)
    index, buckets = (np.empty(len(data) - at, np.int64) for _ in range(2))
    at = _read_histograms(buffer, at, len(data), names, ends, index, buckets)
    if at < 0:
        return None
    source.seek(at)
    back: Any = schemaless_reader(source, parts.back, None)
    if source.tell() != len(data):
        return None
    report: WindowReport = _CONTRACT.build({**front, **back, "cells": (), "histograms": ()})
    report = replace(
        report, cells=Cells(values, counts),
        histograms=Histograms(
            [data[begin:end].decode() for begin, end in names.tolist()], ends.tolist(),
            index[: ends[-1]].copy(), buckets[: ends[-1]].copy(),
        ),
    )  # fmt: skip
    _CONTRACT.check(report)
    return report


@lru_cache(maxsize=_MAX_REMEMBERED)
def _texts_to_bytes(texts: tuple[str, ...]) -> bytes:
    out = BytesIO()
    schemaless_writer(out, _TEXTS, texts)
    return out.getvalue()


@lru_cache(maxsize=_MAX_REMEMBERED)
def _bytes_to_texts(raw: bytes) -> tuple[str, ...]:
    texts: Any = schemaless_reader(BytesIO(raw), _TEXTS, None)
    return tuple(texts)


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _put_long(out: Any, at: int, number: int) -> int:
    """Write a zig-zag varint; returns where it ends."""
    rest = (np.uint64(number) << np.uint64(1)) ^ np.uint64(number >> 63)
    while rest >= np.uint64(0x80):
        out[at] = (rest & np.uint64(0x7F)) | np.uint64(0x80)
        rest >>= np.uint64(7)
        at += 1
    out[at] = rest
    return at + 1


@compiled
def _put_longs(out: Any, at: int, numbers: Any) -> int:
    """Write an array of numbers; returns where it ends."""
    if len(numbers) > 0:
        at = _put_long(out, at, len(numbers))
        for number in numbers:
            at = _put_long(out, at, number)
    out[at] = 0
    return at + 1


@compiled
def _put_bytes(out: Any, at: int, raw: Any, begin: int, end: int) -> int:
    for place in range(begin, end):
        out[at + place - begin] = raw[place]
    return at + end - begin


@compiled
def _write_cells(texts: Any, ends: Any, counts: Any, out: Any) -> int:
    """Write cells, of which there are some; returns the bytes."""
    at = _put_long(out, 0, len(counts))
    for cell in range(len(counts)):
        at = _put_bytes(out, at, texts, ends[cell], ends[cell + 1])
        at = _put_longs(out, at, counts[cell])
    out[at] = 0
    return at + 1


@compiled
def _write_histograms(names: Any, name_ends: Any, ends: Any, index: Any, counts: Any, out: Any) -> int:
    """Write histograms, of which there are some; returns the bytes."""
    at = _put_long(out, 0, len(name_ends) - 1)
    for k in range(len(name_ends) - 1):
        at = _put_long(out, at, name_ends[k + 1] - name_ends[k])
        at = _put_bytes(out, at, names, name_ends[k], name_ends[k + 1])
        at = _put_longs(out, at, index[ends[k] : ends[k + 1]])
        at = _put_longs(out, at, counts[ends[k] : ends[k + 1]])
    out[at] = 0
    return at + 1


@compiled
def _block(buffer: Any, at: int, end: int) -> Any:
    """How many items an array has, and where they begin; -1 where it is not in one plain block."""
    base = address(buffer)
    many, place = varint(base + at, base + end)
    return many, (place - base if place >= 0 and 0 <= many <= end else -1)


@compiled
def _skip_text(at: int, end: int) -> int:
    """Where a text ends, -1 where it does not."""
    size, at = varint(at, end)
    return at + size if at >= 0 and 0 <= size <= end - at else -1


@compiled
def _longs(at: int, end: int, numbers: Any, first: int, most: int) -> Any:
    """Read an array of up to so many numbers in one block; how many, and where it ends, -1 where it is none."""
    many, at = varint(at, end)
    if at < 0 or not 0 <= many <= most:
        return 0, -1
    for k in range(many):
        numbers[first + k], at = varint(at, end)
        if at < 0:
            return 0, -1
    if many > 0:
        if at >= end or byte(at) != 0:
            return 0, -1
        at += 1
    return many, at


@compiled
def _read_cells(buffer: Any, begin: int, stop: int, spans: Any, counts: Any) -> int:
    """Fill where the values of each cell lie, and its counts; returns where the array ends, -1 where it is odd."""
    base = address(buffer)
    at, end = base + begin, base + stop
    for cell in range(len(spans)):
        spans[cell, 0] = at - base
        many, at = varint(at, end)
        if at < 0 or not 0 <= many <= end - at:
            return -1
        for _ in range(many):
            at = _skip_text(at, end)
            if at < 0:
                return -1
        if many > 0:
            if at >= end or byte(at) != 0:
                return -1
            at += 1
        spans[cell, 1] = at - base
        many, at = _longs(at, end, counts[cell], 0, len(counts[cell]))
        if at < 0 or many != len(counts[cell]):
            return -1
    if len(spans) > 0:
        if at >= end or byte(at) != 0:
            return -1
        at += 1
    read: int = at - base
    return read


@compiled
def _read_histograms(buffer: Any, begin: int, stop: int, names: Any, ends: Any, index: Any, counts: Any) -> int:
    """Fill where each name lies, bucket numbers and counts; returns where the array ends, -1 where it is odd."""
    base = address(buffer)
    at, end, filled = base + begin, base + stop, 0
    for k in range(len(names)):
        size, at = varint(at, end)
        if at < 0 or not 0 <= size <= end - at:
            return -1
        names[k, 0], names[k, 1] = at - base, at - base + size
        many, at = _longs(at + size, end, index, filled, len(index) - filled)
        if at < 0:
            return -1
        same, at = _longs(at, end, counts, filled, len(counts) - filled)
        if at < 0 or same != many:
            return -1
        filled += many
        ends[k + 1] = filled
    if len(names) > 0:
        if at >= end or byte(at) != 0:
            return -1
        at += 1
    read: int = at - base
    return read
