"""Segments: combinations of declared dimension values, in bounded number.

Law: no request is lost to a bound. A value beyond ``max_values_per_dimension``, or a combination beyond
``max_cells``, counts under ``__other__`` and nothing ever leaves a cell again.

Which values are admitted is first come, first served, so with more values than places it depends on the
order in which a partition read its topics. It never changes within a partition once decided: the vocabulary
is part of the snapshot. Sums over all cells do not depend on it, and ``segment_overflow`` in the totals tells
a reader that single cells might.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, I32, I64
from paritygate.schemas.columns import Codes, EventBatch, segment_values

#: Value under which all counts that found no place of their own. Always code 0 of its dimension.
OTHER: Final = "__other__"
#: Longest segment value kept; longer ones are cut, so that a vocabulary has a bound in bytes too.
MAX_VALUE_CHARS: Final = 128
_OTHER_CODE: Final = 0
_CODES_FIT: Final = 1 << 62
#: So many places are cheap to look through for any batch.
_FEW: Final = 4_096


class Vocabulary:
    """The values and cells that one rollout has admitted in one partition."""

    def __init__(self, dimensions: tuple[str, ...], max_values: int, max_cells: int) -> None:
        self.dimensions = dimensions
        self._max_values, self._max_cells = max_values, max_cells
        self._values: list[dict[str, int]] = [{OTHER: _OTHER_CODE} for _ in dimensions]
        self._cells: dict[tuple[int, ...], int] = {}
        self._names: list[tuple[str, ...]] = []
        self._overflowed: list[bool] = []
        self._other = self._admit((_OTHER_CODE,) * len(dimensions))

    def __len__(self) -> int:
        return len(self._names)

    def values(self, cell: int) -> tuple[str, ...]:
        """Values of a cell, one per dimension."""
        return self._names[cell]

    def overflowed(self) -> B1:
        """Per cell, whether part of it is ``__other__``."""
        return np.array(self._overflowed, np.bool_)

    def cells(self, batch: EventBatch, rows: I64) -> I32:
        """Cell of each of the rows; new values and combinations are admitted while there is room.

        A missing value is the empty string.
        """
        if not self.dimensions or not len(rows):
            return np.zeros(len(rows), np.int32)
        columns = segment_values(batch, self.dimensions)
        codes = [self._codes(k, columns[d], rows) for k, d in enumerate(self.dimensions)]
        first, inverse = _combinations(codes)
        found = np.zeros(len(first), np.int32)
        order = np.argsort(first)  # in order of appearance
        found[order] = list(map(self._cell, zip(*(c[first[order]].tolist() for c in codes), strict=True)))
        cells: I32 = found[inverse]
        return cells

    def _codes(self, dimension: int, column: Codes, rows: I64) -> I64:
        index = column.index[rows] + 1
        used = np.flatnonzero(np.bincount(index, minlength=len(column.values) + 1))
        lookup = np.zeros(len(column.values) + 1, np.int64)
        for i in used.tolist():
            lookup[i] = self._code(dimension, column.values[i - 1] if i else "")
        codes: I64 = lookup[index]
        return codes

    def _code(self, dimension: int, value: str) -> int:
        value = value[:MAX_VALUE_CHARS]
        known = self._values[dimension]
        code = known.get(value)
        if code is None:
            if len(known) > self._max_values:
                return _OTHER_CODE
            code = known[value] = len(known)
        return code

    def _cell(self, codes: tuple[int, ...]) -> int:
        cell = self._cells.get(codes)
        if cell is not None:
            return cell
        return self._admit(codes) if len(self._cells) <= self._max_cells else self._other

    def _admit(self, codes: tuple[int, ...]) -> int:
        names = [list(known) for known in self._values]
        self._cells[codes] = cell = len(self._names)
        self._names.append(tuple(names[k][c] for k, c in enumerate(codes)))
        self._overflowed.append(_OTHER_CODE in codes)
        return cell

    def to_plain(self) -> dict[str, Any]:
        """Values and cells in the order of their codes: codes mean nothing outside this object."""
        return {"values": [list(known) for known in self._values], "cells": [list(c) for c in self._cells]}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Take over what :meth:`to_plain` wrote, codes included."""
        self._values = [{value: code for code, value in enumerate(known)} for known in plain["values"]]
        self._cells, self._names, self._overflowed = {}, [], []
        for codes in plain["cells"]:
            self._admit(tuple(codes))


def _combinations(codes: Sequence[I64]) -> tuple[I64, I64]:
    """First row of each distinct combination, and which combination each row has."""
    combined, bound = codes[0], int(codes[0].max()) + 1
    for column in codes[1:]:
        size = int(column.max()) + 1
        if bound > _CODES_FIT // size:
            combined = np.unique(combined, return_inverse=True)[1]
            bound = len(combined)
        combined, bound = combined * size + column, bound * size
    count = len(combined)
    if bound <= 4 * count + _FEW:
        # Written backwards, so that the first row of each stands at last; without sorting.
        first = np.full(bound, count, np.int64)
        first[combined[::-1]] = np.arange(count - 1, -1, -1)
        used = np.flatnonzero(first < count)
        number = np.zeros(bound, np.int64)
        number[used] = np.arange(len(used))
        return first[used], number[combined]
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)
