"""Pending: rows that wait for their other arm, in slots, and the bytes of their texts behind one another.

Law: a row comes out as it went in, whatever else came and went; slots and bytes are used again. What came out stays
as it is, for texts are only written behind those that are there: where there is no room they move to other memory.

Memory: 90 bytes a slot, whose number never shrinks, and at most twice the bytes of the texts that wait and come in.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.rows import KEPT, Rows
from paritygate.schemas.apart import zero_bytes
from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled, copy
from paritygate.schemas.texts import Texts, read_only

_SMALLEST: Final = 64
_SMALLEST_BYTES: Final = 1 << 12
#: A row and where its texts lie: one line of the cache, for slots that are asked for together lie anywhere.
_SLOT: Final = np.dtype(
    [
        *KEPT.descr,
        ("label_at", np.int64),
        ("output_at", np.int64),
        ("label_size", np.int32),
        ("output_size", np.int32),
    ]
)
#: The same memory as numbers of 64 bits: so many of the row, of the slot, and then where the first text lies.
_OF_ROW: Final = KEPT.itemsize // 8
_OF_SLOT: Final = _SLOT.itemsize // 8
_TEXTS: Final = 2
#: As numbers of 32 bits: the size of the first text.
_SIZES: Final = 2 * (_OF_ROW + _TEXTS)


class Pending:
    """Rows that wait for their other arm, in slots. ``numbers``: how many each has.

    ``place``: by slot, where the request of its row stands in :class:`~paritygate.comparators.requests.Requests`;
    ids are kept there alone.
    """

    def __init__(self, numbers: int = 0) -> None:
        self._slots: npt.NDArray[np.void] = np.zeros(_SMALLEST, _SLOT)
        self._numbers = np.zeros((_SMALLEST, numbers))
        self._text: U8 = zero_bytes(_SMALLEST_BYTES)
        self._text_end = 0
        self.place: I64 = np.zeros(_SMALLEST, np.int64)
        self._live: B1 = np.zeros(_SMALLEST, np.bool_)
        self._free: I64 = np.arange(_SMALLEST - 1, -1, -1, dtype=np.int64)
        self._free_count = _SMALLEST

    def __len__(self) -> int:
        return len(self._live) - self._free_count

    def free(self, count: int) -> I64:
        """As many free slots; those that :meth:`add` fills are to be taken from the end."""
        if count > self._free_count:
            self._grow(count)
        return self._free[self._free_count - count : self._free_count]

    def add(self, rows: Rows, places: I64) -> I64:
        """Let rows wait in the slots that :meth:`free` names last, in their order; returns the slot of each."""
        count = len(rows)
        slots = self.free(count)[::-1].copy()
        self._free_count -= count
        label, output = rows.label, rows.output
        self._make_room(sum(int(np.maximum(texts.size, 0).sum()) for texts in (label, output)))
        self._text_end = _put(
            _numbers(rows.kept), label.buffer, label.at, label.size, output.buffer, output.at, output.size,
            slots, _numbers(self._slots), _sizes(self._slots), self._text, self._text_end,
        )  # fmt: skip
        self._numbers[slots] = rows.numbers
        self.place[slots] = places
        self._live[slots] = True
        return slots

    def peek(self, slots: I64, ids: Texts) -> Rows:
        """The rows in these slots, with the ids of their requests."""
        count = len(slots)
        kept = np.empty(count, KEPT)
        at, size = np.empty((_TEXTS, count), np.int64), np.empty((_TEXTS, count), np.int32)
        _get(_numbers(self._slots), _sizes(self._slots), slots, _numbers(kept), at, size)
        label, output = (Texts(read_only(self._text), at[k], size[k]) for k in range(_TEXTS))
        return Rows(ids, kept, label, output, self._numbers.take(slots, axis=0))

    def release(self, slots: I64, ids: Texts) -> Rows:
        """The same; the slots become free."""
        rows = self.peek(slots, ids)
        self._live[slots] = False
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)
        return rows

    @property
    def event_at_ms(self) -> I64:
        """By slot, the time of the row; without meaning where none waits."""
        return self._slots["event_at_ms"]

    def before(self, event_at_ms: int) -> I64:
        """Slots of all rows of an earlier time."""
        return np.flatnonzero(self._live & (self.event_at_ms < event_at_ms))

    def oldest(self, count: int) -> I64:
        """Slots of the ``count`` oldest rows by (event time, source, offset)."""
        live = np.flatnonzero(self._live)
        if count <= 0:
            return live[:0]
        if count < len(live):
            times = self.event_at_ms[live]
            last = np.partition(times, count - 1)[count - 1]
            older, tied = live[times < last], live[times == last]
            order = np.lexsort((self._slots["offset"][tied], self._slots["source"][tied]))
            live = np.concatenate((older, tied[order][: count - len(older)]))
        return live

    def oldest_ms(self) -> int | None:
        """Event time of the oldest waiting row; None where none waits."""
        return int(self.event_at_ms[self._live].min()) if len(self) else None

    def offsets(self, source: int) -> I64:
        """Sorted offsets of the rows of one source."""
        offsets: I64 = np.sort(self._slots["offset"][self._live & (self._slots["source"] == source)])
        return offsets

    def _grow(self, room: int) -> None:
        old = len(self._live)
        size = old
        while size - old + self._free_count < room:
            size *= 2

        def grown(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.concatenate((array, np.zeros((size - old, *array.shape[1:]), array.dtype)))

        self._slots, self._numbers = grown(self._slots), grown(self._numbers)
        self.place, self._live = grown(self.place), grown(self._live)
        free = np.empty(size, np.int64)
        free[: self._free_count] = self._free[: self._free_count]
        free[self._free_count : self._free_count + size - old] = np.arange(size - 1, old - 1, -1)
        self._free, self._free_count = free, self._free_count + size - old

    def _make_room(self, more: int) -> None:
        """Room for so many more bytes of texts, elsewhere where there is none here."""
        if self._text_end + more + SPARE_BYTES <= len(self._text):
            return
        live = np.flatnonzero(self._live)
        held = int(np.maximum(_sizes(self._slots)[live, _SIZES:], 0).sum())
        text = zero_bytes(max(_SMALLEST_BYTES, 2 * (held + more)) + SPARE_BYTES)
        self._text_end = _move(_numbers(self._slots), _sizes(self._slots), live, self._text, text)
        self._text = text


def _numbers(kept: npt.NDArray[np.void]) -> I64:
    """The same memory as 64-bit numbers, a row of them for each."""
    return kept.view(np.int64).reshape(len(kept), kept.itemsize // 8)


def _sizes(slots: npt.NDArray[np.void]) -> I32:
    """The same memory as 32-bit numbers."""
    return slots.view(np.int32).reshape(len(slots), slots.itemsize // 4)


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _put(
    kept: Any, labels: Any, label_at: Any, label_size: Any, outputs: Any, output_at: Any, output_size: Any,
    slots: Any, table: Any, sizes: Any, text: Any, end: int,
) -> int:  # fmt: skip
    """Write rows into slots and their texts behind those that are there; returns where the last one ends."""
    label, output, to = address(labels), address(outputs), address(text)
    for row in range(len(slots)):
        slot = slots[row]
        for number in range(_OF_ROW):
            table[slot, number] = kept[row, number]
        table[slot, _OF_ROW], sizes[slot, _SIZES] = end, label_size[row]
        copy(to + end, label + label_at[row], label_size[row])
        end += max(label_size[row], 0)
        table[slot, _OF_ROW + 1], sizes[slot, _SIZES + 1] = end, output_size[row]
        copy(to + end, output + output_at[row], output_size[row])
        end += max(output_size[row], 0)
    return end


@compiled
def _get(table: Any, sizes: Any, slots: Any, kept: Any, at: Any, size: Any) -> None:
    """Read rows out of slots, and where their texts lie."""
    for row in range(len(slots)):
        slot = slots[row]
        for number in range(_OF_ROW):
            kept[row, number] = table[slot, number]
        for which in range(_TEXTS):
            at[which, row], size[which, row] = table[slot, _OF_ROW + which], sizes[slot, _SIZES + which]


@compiled
def _move(table: Any, sizes: Any, slots: Any, text: Any, to: Any) -> int:
    """Copy the texts of some slots into other memory, one behind the other; returns where the last one ends."""
    source, target, end = address(text), address(to), 0
    for slot in slots:
        for which in range(_TEXTS):
            copy(target + end, source + table[slot, _OF_ROW + which], sizes[slot, _SIZES + which])
            table[slot, _OF_ROW + which] = end
            end += max(sizes[slot, _SIZES + which], 0)
    return end
