"""Rows: prediction events of one arm of one rollout as columns, reduced to what a comparison needs.

Law: a row keeps where it came from (source, offset), so that state can name it without holding it; its
request id is kept whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from paritygate.schemas.arrays import B1, F64, I8, I32, I64, Objects
from paritygate.schemas.columns import Codes, EventBatch
from paritygate.schemas.ids import Ids

#: Column and type, in the order of the fields of :class:`Rows` behind the request id.
COLUMNS: Final[tuple[tuple[str, type], ...]] = (
    ("source", np.int8),
    ("offset", np.int64),
    ("event_at_ms", np.int64),
    ("role", np.int8),
    ("status", np.int8),
    ("latency_ms", np.float64),
    ("confidence", np.float64),
    ("label", np.object_),
    ("output", np.object_),
    ("numbers", np.object_),
    ("cell", np.int32),
    ("instance", np.int8),
)


@dataclass(slots=True)
class Rows:
    """Columns of equal length. ``source`` numbers the topic, ``cell`` the combination of segment values,
    ``instance`` the place of the instance (``comparators.instances``; 0 where nobody asks).

    ``label`` is None where the event has none, ``confidence`` is NaN there. ``event_at_ms`` is clamped.
    ``numbers``: a tuple of the numbers asked for, each None where the event has none; None if none was asked for.
    """

    request_id: Ids
    source: I8
    offset: I64
    event_at_ms: I64
    role: I8
    status: I8
    latency_ms: F64
    confidence: F64
    label: Objects
    output: Objects
    numbers: Objects
    cell: I32
    instance: I8

    def __len__(self) -> int:
        return len(self.offset)

    def columns(self) -> Iterator[npt.NDArray[Any]]:
        """The arrays, in the order of ``COLUMNS``."""
        for name, _ in COLUMNS:
            yield getattr(self, name)

    def take(self, rows: I64 | B1) -> Self:
        """The given rows, in the given order."""
        return type(self)(self.request_id.take(rows), *(column[rows] for column in self.columns()))

    @classmethod
    def empty(cls, count: int = 0) -> Self:
        """``count`` rows without content."""
        return cls(Ids.of([""] * count), *(np.zeros(count, dtype) for _, dtype in COLUMNS))

    @classmethod
    def of(
        cls, batch: EventBatch, rows: I64, source: int, *, event_at_ms: I64, cell: I32, instance: I8,
        names: Sequence[str] = (),
    ) -> Self:  # fmt: skip
        """Some rows of a batch; times (clamped), cells and instances are worked out for exactly these rows.

        ``names``: which numbers to keep.
        """
        return cls(
            request_id=batch.request_id.take(rows),
            source=np.full(len(rows), source, np.int8),
            offset=batch.offset[rows],
            event_at_ms=event_at_ms,
            role=batch.role[rows],
            status=batch.status[rows],
            latency_ms=batch.latency_ms[rows],
            confidence=batch.confidence[rows],
            label=_decode(batch.label, rows),
            output=_decode(batch.output, rows),
            numbers=_numbers(batch, rows, names),
            cell=cell,
            instance=instance,
        )


def _numbers(batch: EventBatch, rows: I64, names: Sequence[str]) -> Objects:
    """The numbers of each event by name, in that order."""
    kept = np.full(len(rows), None, np.object_)
    if names:
        none = [None] * len(rows)
        columns = [_or_none(batch.measures[name][rows]) if name in batch.measures else none for name in names]
        kept[:] = list(zip(*columns, strict=True))
    return kept


def _or_none(values: F64) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124  NaN alone is unequal


def _decode(codes: Codes, rows: I64) -> Objects:
    """The texts themselves: codes mean something in their own batch only."""
    values = np.empty(len(codes.values) + 1, np.object_)
    values[: len(codes.values)] = codes.values
    decoded: Objects = values[codes.index[rows]]  # index -1 reads the None at the end
    return decoded
