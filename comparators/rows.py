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

from paritygate.schemas.arrays import B1, F64, I8, I32, I64
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.texts import Texts

#: What is kept of a row, its texts apart, in one piece: eight bytes are moved at once.
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

    ``label`` and ``output`` lie where they were read. ``confidence`` is NaN where the event has none.
    ``event_at_ms`` is clamped.
    ``numbers``: a column for each number asked for, NaN where the event has none.
    """

    request_id: Texts
    kept: npt.NDArray[np.void]
    label: Texts
    output: Texts
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

    def take(self, rows: I64 | B1) -> Self:
        """The given rows, in the given order."""
        places: I64 = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64, copy=False)
        # take() moves whole rows; what indexing does costs ten times as much.
        return type(self)(
            self.request_id.take(places), self.kept.take(places), self.label.take(places), self.output.take(places),
            self.numbers.take(places, axis=0),
        )  # fmt: skip

    def says_the_same(self, other: Rows) -> B1:
        """Row by row, whether an event says what the other one says, wherever and whenever that was said."""
        same: B1 = (self.status == other.status) & (self.latency_ms == other.latency_ms)
        same &= self.label.equal(other.label) & self.output.equal(other.output)
        columns = np.column_stack((self["confidence"], self.numbers))
        its_columns = np.column_stack((other["confidence"], other.numbers))
        neither = np.isnan(columns) & np.isnan(its_columns)
        same &= ((columns == its_columns) | neither).all(axis=1)
        return same

    @classmethod
    def empty(cls, numbers: int = 0) -> Self:
        """No rows, of so many numbers each."""
        none = Texts.of([])
        return cls(none, np.zeros(0, KEPT), none, none, np.zeros((0, numbers)))

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
            batch.request_id.take(rows), kept, batch.label.take(rows), batch.output.take(rows),
            _numbers(batch, rows, names),
        )  # fmt: skip


def _numbers(batch: EventBatch, rows: I64, names: Sequence[str]) -> F64:
    """The numbers of each event by name, in that order."""
    found = np.full((len(rows), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in batch.measures:
            found[:, column] = batch.measures[name][rows]
    return found
