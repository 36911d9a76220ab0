"""Raw fetched bytes of outcomes and platform reports into rows; what nothing reads becomes poison.

Prediction events take the columnar path of ``schemas.columnar``. These two topics carry a record a request at
most and are read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from paritygate.schemas.dead_letter import Poison
from paritygate.schemas.errors import DecodeError, InvalidRecordError, PoisonError
from paritygate.schemas.record_batches import Record, RecordBatch, records, split

R = TypeVar("R")


@dataclass(slots=True)
class Rows(Generic[R]):
    """Records of one topic partition in offset order: ``(offset, appended_at_ms, record)``."""

    next_offset: int
    rows: list[tuple[int, int, R]] = field(default_factory=list)
    poison: list[Poison] = field(default_factory=list)


def decode_rows(
    buffer: bytes | memoryview,
    start_offset: int,
    decode: Callable[[bytes | None], R],
    key_of: Callable[[R], str] | None = None,
) -> Rows[R]:
    """Decode from ``start_offset`` on; never raises on content: what cannot be read is in ``poison``.

    ``key_of``: what a record's key must be in UTF-8. It decides the partition, and a record on another one
    than its repetition would be counted twice.
    """
    found = split(buffer, start_offset, skip_damaged=True)
    out: Rows[R] = Rows(found.next_offset)
    for batch in found.batches:
        if batch.is_control:
            continue
        for record in _readable(batch, out):
            if record.offset < start_offset:
                continue
            try:
                if record.key is None:
                    raise InvalidRecordError("key is null; it must name the request or the instance")
                row = decode(record.value)
                if key_of is not None and record.key != key_of(row).encode():
                    raise InvalidRecordError(f"key is not the {type(row).__name__}'s request id")
                out.rows.append((record.offset, record.timestamp_ms, row))
            except PoisonError as e:
                out.poison.append(
                    Poison(
                        offset=record.offset, timestamp_ms=record.timestamp_ms, key=record.key, value=record.value,
                        headers=record.headers, kind=e.kind, reason=str(e),
                    )
                )  # fmt: skip
    return out


def _readable(batch: RecordBatch, out: Rows[R]) -> Iterator[Record]:
    """Records up to the first that is broken; from there on the rest of the batch is one poison."""
    following = batch.base_offset
    try:
        if batch.damage:
            raise DecodeError(f"record batch {batch.damage}")
        for record in records(batch, bytes(batch.body())):
            following = record.offset + 1
            yield record
    except DecodeError as e:
        out.poison.append(
            Poison(
                offset=following, timestamp_ms=batch.max_timestamp_ms, key=None, value=bytes(batch.payload),
                headers=(), kind=e.kind, reason=str(e),
            )
        )  # fmt: skip
