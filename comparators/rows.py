"""Rows: prediction events of one arm of one rollout, reduced to what a comparison needs.

Law: a row keeps where it came from (source, offset), so that state can name it without holding it; its
request id is kept whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from paritygate.schemas.arrays import B1, F64, I8, I32, I64, Objects
from paritygate.schemas.columns import Codes, EventBatch
from paritygate.schemas.ids import Ids

#: What is kept of a row, in one piece: rows that wait are spread over slots, and each costs one miss of the cache.
KEPT: Final = np.dtype(
    [
        ("offset", np.int64),
        ("event_at_ms", np.int64),
        ("latency_ms", np.float64),
        ("confidence", np.float64),
        ("cell", np.int32),
        ("source", np.int8),
        ("role", np.int8),
        ("status", np.int8),
        ("instance", np.int8),
    ]
)


@dataclass(slots=True)
class Rows:
    """Rows of equal number. ``kept``: by name, ``source`` numbers the topic, ``cell`` the combination of segment
    values, ``instance`` the place of the instance (``comparators.instances``; 0 where nobody asks).

    ``label`` is None where the event has none, ``confidence`` is NaN there. ``event_at_ms`` is clamped.
    ``numbers``: a column for each number asked for, NaN where the event has none.
    """

    request_id: Ids
    kept: npt.NDArray[np.void]
    label: Objects
    output: Objects
    numbers: F64

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """One of the columns of ``KEPT``, to read and to write."""
        column: npt.NDArray[Any] = self.kept[name]
        return column

    @property
    def offset(self) -> I64:
        """Where each row lies in its source."""
        return self["offset"]

    @property
    def event_at_ms(self) -> I64:
        """When each event happened."""
        return self["event_at_ms"]

    @property
    def status(self) -> I8:
        """Codes of ``STATUSES``."""
        return self["status"]

    @property
    def role(self) -> I8:
        """Codes of ``ROLES``."""
        return self["role"]

    @property
    def latency_ms(self) -> F64:
        """How long each answer took."""
        return self["latency_ms"]

    def parts(self) -> tuple[npt.NDArray[Any], ...]:
        """The arrays, in the order of the fields behind the request id."""
        return self.kept, self.label, self.output, self.numbers

    def take(self, rows: I64 | B1) -> Self:
        """The given rows, in the given order."""
        places: I64 = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        return self.named(places, self.request_id.take(places))

    def named(self, rows: I64, request_id: Ids) -> Self:
        """The given rows, with these request ids."""
        # take() moves whole rows; what indexing does costs ten times as much.
        return type(self)(request_id, *(part.take(rows, axis=0) for part in self.parts()))

    def put(self, rows: I64, other: Rows) -> None:
        """Write over the given rows, their request ids apart."""
        _words(self.kept)[rows] = _words(other.kept)
        self.label[rows], self.output[rows] = other.label, other.output
        self.numbers[rows] = other.numbers

    @classmethod
    def empty(cls, count: int = 0, numbers: int = 0) -> Self:
        """``count`` rows without content, with so many numbers each."""
        label, output = (np.full(count, None, np.object_) for _ in range(2))
        return cls(Ids.of([""] * count), np.zeros(count, KEPT), label, output, np.full((count, numbers), np.nan))

    @classmethod
    def of(
        cls, batch: EventBatch, rows: I64, source: int, *, event_at_ms: I64, cell: I32, instance: I8,
        names: Sequence[str] = (),
    ) -> Self:  # fmt: skip
        """Some rows of a batch; times (clamped), cells and instances are worked out for exactly these rows.

        ``names``: which numbers to keep.
        """
        kept = np.empty(len(rows), KEPT)
        columns = {
            "offset": batch.offset[rows], "event_at_ms": event_at_ms, "latency_ms": batch.latency_ms[rows],
            "confidence": batch.confidence[rows], "cell": cell, "source": source, "role": batch.role[rows],
            "status": batch.status[rows], "instance": instance,
        }  # fmt: skip
        for name, column in columns.items():
            kept[name] = column
        return cls(
            batch.request_id.take(rows), kept, _decode(batch.label, rows), _decode(batch.output, rows),
            _numbers(batch, rows, names),
        )  # fmt: skip


def _words(kept: npt.NDArray[np.void]) -> I64:
    """The same memory, a row of numbers for each row: indexing copies these faster than it copies fields."""
    return kept.view(np.int64).reshape(len(kept), KEPT.itemsize // 8)


def _numbers(batch: EventBatch, rows: I64, names: Sequence[str]) -> F64:
    """The numbers of each event by name, in that order."""
    found = np.full((len(rows), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in batch.measures:
            found[:, column] = batch.measures[name][rows]
    return found


def _decode(codes: Codes, rows: I64) -> Objects:
    """The texts themselves: codes mean something in their own batch only."""
    values = np.empty(len(codes.values) + 1, np.object_)
    values[: len(codes.values)] = codes.values
    decoded: Objects = values[codes.index[rows]]  # index -1 reads the None at the end
    return decoded
