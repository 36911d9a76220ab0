"""Known: segment values that have codes, and combinations of codes that have cells, found by a compiled loop.

Law: what is found is what a dict of values for each dimension and a dict of combinations say; where either has no
more room, what is in neither is "other". Values are compared whole, up to where they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import I32, I64, U8
from paritygate.schemas.codes import begin_of, place_of
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, is_same, put, word
from paritygate.schemas.ids import KEYS

#: Code of the value, and number of the cell, of all that found no place of its own.
OTHER_CODE: Final = 0
#: Longest segment value kept; longer ones are cut, so that a vocabulary has a bound in bytes too.
MAX_VALUE_CHARS: Final = 128
#: What is known of a value: its dimension and size, its first bytes, where it lies, and its code.
_MARK, _BEGIN, _AT, _CODE, _WIDTH = range(5)
_SIZE_BITS: Final = 32
_ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


class Known:
    """Values and cells of a vocabulary that has room for ``max_values`` and ``max_cells`` beside "other"."""

    def __init__(self, dimensions: int, max_values: int, max_cells: int) -> None:
        self._max_values, self._max_cells = max_values, max_cells
        values = dimensions * (max_values + 1)
        # Memory that nobody has written to is not there yet: all room at once costs nothing.
        self._values: I64 = np.zeros((values, _WIDTH), np.int64)
        self._value_slots: I64 = np.zeros(_power(2 * values), np.int64)
        self._cells: I64 = np.zeros((max_cells + 1, dimensions), np.int64)
        self._cell_slots: I64 = np.zeros(_power(2 * max_cells + 2), np.int64)
        self._text: U8 = np.zeros(SPARE_BYTES, np.uint8)
        self._of_dimension: I64 = np.zeros(dimensions, np.int64)
        self._cell_count = 0

    def add_value(self, dimension: int, value: str) -> None:
        """The next value of a dimension; its code is how many there were before."""
        raw, entry = value.encode(), int(self._of_dimension.sum())
        at = len(self._text) - SPARE_BYTES
        self._text = np.concatenate((self._text[:at], np.frombuffer(raw + bytes(SPARE_BYTES), np.uint8)))
        self._values[entry, _AT], self._values[entry, _CODE] = at, self._of_dimension[dimension]
        _add_value(KEYS[0], KEYS[1], self._values, self._value_slots, self._text, dimension, entry, len(raw))
        self._of_dimension[dimension] += 1

    def add_cell(self, codes: Sequence[int]) -> None:
        """The next combination of codes; the number of its cell is how many there were before."""
        self._cells[self._cell_count] = codes
        _add_cell(self._cells, self._cell_slots, self._cell_count)
        self._cell_count += 1

    def find(self, spots: I64, size: I32, row: int, found: I32) -> int:
        """Fill the cell of each row from ``row`` on; returns the first that must be added before, or their number.

        ``spots`` and ``size``: by dimension and row, where in memory the value begins, and its bytes.
        """
        return _find(
            KEYS[0], KEYS[1], spots, size, row, self._values, self._value_slots, self._text,
            self._of_dimension > self._max_values, self._cells, self._cell_slots,
            self._cell_count > self._max_cells, found,
        )  # fmt: skip


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << max(4, (count - 1).bit_length())


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _number(at: int) -> Any:
    return np.int64(word(at))


@compiled
def _cut(at: int, size: int) -> int:
    """The bytes of a value that are kept."""
    if size <= MAX_VALUE_CHARS:
        return size
    characters = 0
    for place in range(at, at + size):
        characters += byte(place) & 0xC0 != 0x80
        if characters > MAX_VALUE_CHARS:
            return place - at
    return size


@compiled
def _value_slot(
    k0: Any, k1: Any, values: int, slots: int, mask: int, texts: int, dimension: int, at: int, size: int
) -> int:
    """The address of the slot in which a value stands, or would."""
    begin = begin_of(at, size)
    mark = (dimension << _SIZE_BITS) | size
    place = (place_of(k0, k1, at, size, begin) + 37 * dimension) & mask
    while True:
        slot: int = slots + 8 * place
        entry = _number(slot)
        known = values + (entry - 1) * (8 * _WIDTH)
        if entry == 0 or (
            _number(known + 8 * _MARK) == mark
            and word(known + 8 * _BEGIN) == begin
            and (size <= 8 or is_same(texts + _number(known + 8 * _AT), at, size))
        ):
            return slot
        place = (place + 1) & mask


@compiled
def _cell_slot(cells: int, slots: int, mask: int, codes: int, dimensions: int) -> int:
    """The address of the slot in which a combination of codes stands, or would."""
    mixed = np.uint64(0)
    for k in range(dimensions):
        mixed = (mixed ^ word(codes + 8 * k)) * _ODD
        mixed ^= mixed >> np.uint64(32)
    place: Any = np.int64(mixed) & mask
    while True:
        slot: int = slots + 8 * place
        entry = _number(slot)
        known, same = cells + (entry - 1) * (8 * dimensions), True
        for k in range(dimensions if entry > 0 else 0):
            same = same and word(known + 8 * k) == word(codes + 8 * k)
        if same:
            return slot
        place = (place + 1) & mask


@compiled
def _add_value(k0: Any, k1: Any, values: Any, slots: Any, text: Any, dimension: int, entry: int, size: int) -> None:
    texts = address(text)
    at = texts + values[entry, _AT]
    slot = _value_slot(k0, k1, address(values), address(slots), len(slots) - 1, texts, dimension, at, size)
    values[entry, _MARK] = (dimension << _SIZE_BITS) | size
    values[entry, _BEGIN] = np.int64(begin_of(at, size))
    put(slot, np.uint64(entry + 1))


@compiled
def _add_cell(cells: Any, slots: Any, cell: int) -> None:
    dimensions = cells.shape[1]
    codes = address(cells) + cell * 8 * dimensions
    put(_cell_slot(address(cells), address(slots), len(slots) - 1, codes, dimensions), np.uint64(cell + 1))


@compiled
def _find(
    k0: Any, k1: Any, at: Any, size: Any, row: int, values: Any, value_slots: Any, text: Any, is_full: Any,
    cells: Any, cell_slots: Any, are_full: bool, found: Any,
) -> int:  # fmt: skip
    """See :meth:`Known.find`."""
    texts, of_values, of_cells = address(text), address(values), address(cells)
    value_places, value_mask = address(value_slots), len(value_slots) - 1
    cell_places, cell_mask = address(cell_slots), len(cell_slots) - 1
    dimensions = len(at)
    codes = np.empty(dimensions, np.int64)
    for i in range(row, len(found)):
        for k in range(dimensions):
            place = at[k, i]
            bytes_kept = _cut(place, max(size[k, i], 0))
            slot = _value_slot(k0, k1, of_values, value_places, value_mask, texts, k, place, bytes_kept)
            entry = _number(slot)
            if entry == 0 and not is_full[k]:
                return i
            codes[k] = OTHER_CODE if entry == 0 else _number(of_values + (entry - 1) * (8 * _WIDTH) + 8 * _CODE)
        cell = _number(_cell_slot(of_cells, cell_places, cell_mask, address(codes), dimensions))
        if cell == 0 and not are_full:
            return i
        found[i] = OTHER_CODE if cell == 0 else cell - 1
    return len(found)
