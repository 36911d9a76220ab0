"""Segments: combinations of declared dimension values, in bounded number.

Law: no request is lost to a bound. A value beyond ``max_values_per_dimension``, or a combination beyond
``max_cells``, counts under ``__other__`` and nothing ever leaves a cell again.

Which values are admitted is first come, first served, so with more values than places it depends on the
order in which a partition read its topics. It never changes within a partition once decided: the vocabulary
is part of the snapshot. Sums over all cells do not depend on it, and ``segment_overflow`` in the totals tells
a reader that single cells might.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from paritygate.comparators.known import MAX_VALUE_CHARS, OTHER_CODE, Known
from paritygate.schemas.arrays import B1, I32, I64
from paritygate.schemas.columns import EventBatch, segment_values

#: Value under which all counts that found no place of their own. Always code 0 of its dimension.
OTHER: Final = "__other__"


class Vocabulary:
    """The values and cells that one rollout has admitted in one partition."""

    def __init__(self, dimensions: tuple[str, ...], max_values: int, max_cells: int) -> None:
        self.dimensions = dimensions
        self._max_values, self._max_cells = max_values, max_cells
        other = (OTHER_CODE,) * len(dimensions)
        self.load({"values": [[OTHER] for _ in dimensions], "cells": [other]})

    def __len__(self) -> int:
        return len(self._names)

    def values(self, cell: int) -> tuple[str, ...]:
        """Values of a cell, one per dimension."""
        return self._names[cell]

    def in_order(self) -> I64:
        """All cells, by their values."""
        if len(self._in_order) < len(self):
            self._in_order: I64 = np.array(sorted(range(len(self)), key=self._names.__getitem__), np.int64)
        return self._in_order

    def overflowed(self) -> B1:
        """Per cell, whether part of it is ``__other__``."""
        return np.array(self._overflowed, np.bool_)

    def cells(self, batch: EventBatch, rows: I64) -> I32:
        """Cell of each of the rows; new values and combinations are admitted while there is room.

        A missing value is the empty string.
        """
        found = np.zeros(len(rows), np.int32)
        if not self.dimensions or not len(rows):
            return found
        columns = segment_values(batch, self.dimensions)
        if len(rows) < len(batch):
            columns = [texts.take(rows) for texts in columns]
        spots, size = (np.stack(parts) for parts in zip(*((c.spots(), c.size) for c in columns), strict=True))
        row = 0
        while (row := self._known.find(spots, size, row, found)) < len(rows):
            codes = tuple(self._code(k, texts.text(row)[:MAX_VALUE_CHARS]) for k, texts in enumerate(columns))
            if codes not in self._cells and len(self._cells) <= self._max_cells:
                self._admit(codes)
        return found

    def _code(self, dimension: int, value: str) -> int:
        """The code of a value, which takes a place where there is one."""
        known = self._values[dimension]
        if value not in known:
            if len(known) > self._max_values:
                return OTHER_CODE
            self._admit_value(dimension, value)
        return known[value]

    def _admit_value(self, dimension: int, value: str) -> None:
        known = self._values[dimension]
        known[value] = len(known)
        self._known.add_value(dimension, value)

    def _admit(self, codes: tuple[int, ...]) -> None:
        names = [list(known) for known in self._values]
        self._cells[codes] = len(self._names)
        self._names.append(tuple(names[k][c] for k, c in enumerate(codes)))
        self._overflowed.append(OTHER_CODE in codes)
        self._known.add_cell(codes)

    def to_plain(self) -> dict[str, Any]:
        """Values and cells in the order of their codes: codes mean nothing outside this object."""
        return {"values": [list(known) for known in self._values], "cells": [list(c) for c in self._cells]}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Take over what :meth:`to_plain` wrote, codes included."""
        self._known = Known(len(self.dimensions), self._max_values, self._max_cells)
        self._values: list[dict[str, int]] = [{} for _ in self.dimensions]
        self._cells: dict[tuple[int, ...], int] = {}
        self._names: list[tuple[str, ...]] = []
        self._in_order = np.zeros(0, np.int64)
        self._overflowed: list[bool] = []
        for dimension, values in enumerate(plain["values"]):
            for value in values:
                self._admit_value(dimension, value)
        for codes in plain["cells"]:
            self._admit(tuple(codes))
