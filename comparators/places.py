"""Places: the table in which requests stand by their ids.

Law: ids are compared whole; a hash only says where to look. A place holds until the next :meth:`Places.enter` or
:meth:`Places.arrive`; then ``moved`` is called where places have changed.

It is a hash table with linear probing. A place is four numbers that lie together, for the table is larger than any
cache, and to look up a request should cost one miss for its place and one for its id. What is forgotten is swept
out in place, in one pass over the table in its order, when it is full. The ids lie in blocks in the order in which
they came; they are forgotten in about that order, so whole blocks become free, and no id is copied again. Memory:
32 bytes a place, 46 to 70 a request, and the bytes of its id with up to 9 more and a fourth of that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import numpy as np

from paritygate.schemas.apart import zero_bytes, zero_rows
from paritygate.schemas.arrays import I8, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled, copy, is_same, prefetch, put, word
from paritygate.schemas.ids import Hashes
from paritygate.schemas.texts import Texts, read_only

_SMALLEST: Final = 1 << 10
#: Fullest that the table gets, and how full it is at most after it was swept, each in sixteenths.
_FULL, _ROOMY = 11, 9
_EMPTY: Final = 0
NOWHERE: Final = -1
NEVER: Final = int(np.iinfo(np.int64).min)

# The numbers of a place: whose it is; the slots in which the arms' events wait, 32 bits each; the slices in which
# the arms' events were settled.
_TEXT, _WAITING, _SLICES, _WIDTH = 0, 1, 2, 4
# Whose it is: the high half of the hash, which also says where the place is looked for, and where the id lies, in
# steps of 8 bytes. No id lies at byte 0, so an empty place is 0. An id has its size in two bytes before it.
_AT_MASK: Final = (1 << 32) - 1
_STEP_BITS, _SIZE_BYTES = 3, 2
_BLOCK_BITS: Final = 16
_BLOCK_BYTES: Final = 1 << _BLOCK_BITS
# The numbers of ``_used``: places taken, where the next id goes, where its block ends, blocks that are free.
_PLACES, _NEXT, _END, _FREE = range(4)
#: How many rows ahead a place, and its id, are asked for from memory.
_SOON, _SOONER = 12, 6


class Fate(IntEnum):
    """What became of an arriving event."""

    WAITS = 0
    PAIRED = 1
    LATE = 2
    REPEAT = 3


class Places:
    """Places of known requests.

    ``waiting[place, arm]``: the slot in which the arm's event waits, or -1. ``slices[place, arm]``: the newest
    slice of time in which the arm's event was settled, or ``NEVER``.
    """

    def __init__(self, hashed: Hashes, moved: Callable[[], None]) -> None:
        self._hashed = hashed
        self._moved = moved
        self._use(zero_rows(_SMALLEST, _WIDTH))
        self._text: U8 = zero_bytes(_BLOCK_BYTES + SPARE_BYTES)
        #: Blocks of the text in which no id lies, those used next at the end of the first ``_used[_FREE]``.
        self._free_blocks: I64 = np.zeros(1, np.int64)
        self._used: I64 = np.array((0, 1 << _STEP_BITS, _BLOCK_BYTES, 0), np.int64)

    def _use(self, table: I64) -> None:
        self._table: I64 = table
        self.waiting: I32 = table.view(np.int32)[:, 2 * _WAITING : 2 * _WAITING + 2]
        self.slices: I64 = table[:, _SLICES : _SLICES + 2]

    def enter(self, ids: Texts, oldest: int) -> I64:
        """The place of each id, made where it has none. What was settled before slice ``oldest`` is forgotten."""
        self._make_room(ids, oldest)
        places = np.empty(len(ids), np.int64)
        _enter(
            self._table, self._text, self._used, self._free_blocks, ids.buffer, ids.at, ids.size,
            self._hashed(ids.buffer, ids.at, ids.size), places,
        )  # fmt: skip
        return places

    def ids(self, places: I64) -> Texts:
        """The ids of some places, copied: their blocks may be used again."""
        return self._ids(places).copied()

    def _ids(self, places: I64) -> Texts:
        at, size = np.empty(len(places), np.int64), np.empty(len(places), np.int32)
        _find(self._table, self._text, places, at, size)
        return Texts(read_only(self._text), at, size)

    def tell(self, baseline: I64, candidate: I64) -> None:
        """Write by slot, for each arm, the place of the request whose event waits there."""
        _tell(self._table, self.waiting, baseline, candidate)

    def arrive(
        self, arm: int, ids: Texts, event_at_ms: I64, *, late_ms: int, other_at_ms: I64, free: I64,
        oldest: int, width_ms: int,
    ) -> tuple[I64, I8, I64, I64]:  # fmt: skip
        """See :meth:`Requests.arrive`; the place, fate and slot of each.

        And, of those whose request is remembered in a newer slice now, the slices before and after, as two columns.
        ``width_ms``: of a slice.
        """
        self._make_room(ids, oldest)
        places, slots = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
        fates, changes = np.empty(len(ids), np.int8), np.empty((len(ids), 2), np.int64)
        changed = _arrive(
            self._table, self._text, self._used, self._free_blocks, ids.buffer, ids.at, ids.size,
            self._hashed(ids.buffer, ids.at, ids.size), places,
            self.waiting, arm, event_at_ms, late_ms, other_at_ms, free, oldest, width_ms, fates, slots, changes,
        )  # fmt: skip
        return places, fates, slots, changes[:changed]

    def _make_room(self, ids: Texts, oldest: int) -> None:
        """Make room for so many more requests: sweep out what is forgotten, and make larger what is too small."""
        count, blocks = len(ids), _blocks(ids)
        if 16 * (self._used[_PLACES] + count) <= _FULL * len(self._table) and blocks <= self._used[_FREE]:
            return
        held = np.zeros(len(self._free_blocks), np.bool_)
        held[(self._used[_END] - 1) >> _BLOCK_BITS] = True
        self._used[_PLACES] = _sweep(self._table, oldest, held)
        self._free(np.flatnonzero(~held))
        if 16 * (self._used[_PLACES] + count) > _ROOMY * len(self._table):
            needed = 16 * int(self._used[_PLACES] + count) // _ROOMY + 1
            grown = zero_rows(max(needed, 5 * len(self._table) // 4), _WIDTH)
            _move(self._table, grown)
            self._use(grown)
        # As much text to be filled before the next sweep as there are places.
        short = blocks + len(held) * (_FULL - _ROOMY) // _ROOMY - int(self._used[_FREE])
        if short > 0:
            self._make_text(short)
        self._moved()

    def _make_text(self, more: int) -> None:
        """More blocks; or, where what is known fills less than half of those there are, the same without gaps.

        A few ids that stay would else keep all the blocks of those that came with them.
        """
        old, have = self._text, len(self._free_blocks)
        live = _blocks(self._ids(np.flatnonzero(self._table[:, _TEXT] != _EMPTY)))
        if 2 * (live + more) < have:
            self._text = zero_bytes(len(old))
            self._used[_NEXT], self._used[_END] = 1 << _STEP_BITS, _BLOCK_BYTES
            self._free(np.arange(1, have))
            _keep_all(self._table, old, self._text, self._used, self._free_blocks)
            return
        free = self._free_blocks[: self._used[_FREE]][::-1]
        self._text = zero_bytes(len(old) + more * _BLOCK_BYTES)
        self._text[: len(old)] = old
        self._free_blocks = np.zeros(have + more, np.int64)
        self._free(np.concatenate((free, np.arange(have, have + more))))

    def _free(self, blocks: I64) -> None:
        """These blocks are free, and no others; the first is used first."""
        self._used[_FREE] = len(blocks)
        self._free_blocks[: len(blocks)] = blocks[::-1]


def _blocks(ids: Texts) -> int:
    """Blocks that so many ids fill at most."""
    largest = 2 * SPARE_BYTES + _SIZE_BYTES + int(ids.size.max(initial=0))
    return 1 + (int(ids.size.sum()) + len(ids) * (_SIZE_BYTES + SPARE_BYTES)) // (_BLOCK_BYTES - largest)


# -- compiled ------------------------------------------------------------------------------------------------------

_WAITS, _PAIRED, _LATE, _REPEAT = (int(fate) for fate in Fate)
_NO_SLOTS: Final = -1  # both halves of it are -1


@compiled
def _home(owner: int, places: int) -> int:
    """Where a place is looked for first. Source: Lemire, "Fast random integer generation in an interval", 2019."""
    return np.int64(((np.uint64(owner) >> np.uint64(32)) * np.uint64(places)) >> np.uint64(32))  # type: ignore[return-value]


@compiled
def _ahead(table: Any, tables: int, texts: int, keys: Any, row: int) -> None:
    """Ask for what the next rows will need."""
    if row + _SOON < len(keys):
        prefetch(tables + _home(keys[row + _SOON], len(table)) * (8 * _WIDTH))
    if row + _SOONER < len(keys):
        owner = table[_home(keys[row + _SOONER], len(table)), _TEXT]
        prefetch(texts + ((owner & _AT_MASK) << _STEP_BITS))


@compiled
def _keep(texts: int, used: Any, free_blocks: Any, id_at: int, size: int) -> int:
    """Copy an id behind the last one; returns where it lies."""
    if used[_NEXT] + _SIZE_BYTES + size + SPARE_BYTES > used[_END]:  # for what is copied beyond its end
        used[_FREE] -= 1
        used[_NEXT] = free_blocks[used[_FREE]] << _BLOCK_BITS
        used[_END] = used[_NEXT] + _BLOCK_BYTES
        if used[_NEXT] == 0:
            used[_NEXT] = 1 << _STEP_BITS
    at: int = used[_NEXT]
    copy(texts + at + _SIZE_BYTES, id_at, size)
    put(texts + at, (word(texts + at) & ~np.uint64(0xFFFF)) | np.uint64(size))
    used[_NEXT] = (at + _SIZE_BYTES + size + (1 << _STEP_BITS) - 1) >> _STEP_BITS << _STEP_BITS
    return at


@compiled
def _place(table: Any, texts: int, used: Any, free_blocks: Any, id_at: int, size: int, key: int) -> int:
    """The place of an id, made where it has none."""
    place = _home(key, len(table))
    marked = np.int64(key) & ~_AT_MASK
    while table[place, _TEXT] != _EMPTY:
        owner = table[place, _TEXT]
        if owner & ~_AT_MASK == marked:
            at = texts + ((owner & _AT_MASK) << _STEP_BITS)
            if np.int64(word(at)) & 0xFFFF == size and is_same(at + _SIZE_BYTES, id_at, size):
                return place
        place += 1
        if place == len(table):
            place = 0
    at = _keep(texts, used, free_blocks, id_at, size)
    used[_PLACES] += 1
    table[place, _TEXT] = marked | (at >> _STEP_BITS)
    table[place, _WAITING] = _NO_SLOTS
    table[place, _SLICES] = table[place, _SLICES + 1] = NEVER
    return place


@compiled
def _enter(
    table: Any, text: Any, used: Any, free_blocks: Any, buffer: Any, at: Any, size: Any, keys: Any, places: Any
) -> None:
    """Fill in the place of each id."""
    ids, texts, tables = address(buffer), address(text), address(table)
    for row in range(len(at)):
        _ahead(table, tables, texts, keys, row)
        places[row] = _place(table, texts, used, free_blocks, ids + at[row], size[row], keys[row])


@compiled
def _arrive(
    table: Any, text: Any, used: Any, free_blocks: Any, buffer: Any, at: Any, size: Any, keys: Any, places: Any,
    waiting: Any, arm: int, event_at_ms: Any, late_ms: int, other_at_ms: Any, free: Any,
    oldest: int, width_ms: int, fates: Any, slots: Any, changes: Any,
) -> int:  # fmt: skip
    """See :meth:`Places.arrive`; returns how many ``changes`` there are."""
    ids, texts, tables = address(buffer), address(text), address(table)
    other, changed, next_free = 1 - arm, 0, len(free)
    for row in range(len(places)):
        _ahead(table, tables, texts, keys, row)
        place = _place(table, texts, used, free_blocks, ids + at[row], size[row], keys[row])
        places[row] = place
        mine, theirs = table[place, _SLICES + arm], table[place, _SLICES + other]
        before = max(mine, theirs)
        slot, partner = waiting[place, arm], waiting[place, other]
        if slot != NOWHERE or mine >= oldest:
            fates[row], slots[row] = _REPEAT, slot
        elif partner != NOWHERE:
            fates[row], slots[row] = _PAIRED, partner
            waiting[place, other] = NOWHERE
            theirs = max(theirs, other_at_ms[partner] // width_ms)
            table[place, _SLICES + other] = theirs
        elif event_at_ms[row] < late_ms or theirs >= oldest:
            fates[row], slots[row] = _LATE, NOWHERE
        else:
            next_free -= 1
            fates[row], slots[row] = _WAITS, free[next_free]
            waiting[place, arm] = free[next_free]
            continue
        mine = max(mine, event_at_ms[row] // width_ms)
        table[place, _SLICES + arm] = mine
        after = max(mine, theirs)
        if after > before:
            changes[changed, 0], changes[changed, 1] = before, after
            changed += 1
    return changed


@compiled
def _find(table: Any, text: Any, places: Any, at: Any, size: Any) -> None:
    """Where the ids of some places lie."""
    texts = address(text)
    for row in range(len(places)):
        begin = (table[places[row], _TEXT] & _AT_MASK) << _STEP_BITS
        at[row], size[row] = begin + _SIZE_BYTES, np.int64(word(texts + begin)) & 0xFFFF


@compiled
def _keep_all(table: Any, old: Any, text: Any, used: Any, free_blocks: Any) -> None:
    """Copy the ids of all places from one text into another."""
    source, texts = address(old), address(text)
    for place in range(len(table)):
        owner = table[place, _TEXT]
        if owner != _EMPTY:
            at = source + ((owner & _AT_MASK) << _STEP_BITS)
            size: Any = np.int64(word(at)) & 0xFFFF
            kept = _keep(texts, used, free_blocks, at + _SIZE_BYTES, size)
            table[place, _TEXT] = (owner & ~_AT_MASK) | (kept >> _STEP_BITS)


@compiled
def _tell(table: Any, waiting: Any, baseline: Any, candidate: Any) -> None:
    for place in range(len(table)):
        if table[place, _WAITING] == _NO_SLOTS or table[place, _TEXT] == _EMPTY:
            continue
        if waiting[place, 0] != NOWHERE:
            baseline[waiting[place, 0]] = place
        if waiting[place, 1] != NOWHERE:
            candidate[waiting[place, 1]] = place


@compiled
def _empty(table: Any, owner: int) -> int:
    """The first empty place for a request that has none."""
    place = _home(owner, len(table))
    while table[place, _TEXT] != _EMPTY:
        place += 1
        if place == len(table):
            place = 0
    return place


@compiled
def _sweep(table: Any, oldest: int, held: Any) -> int:
    """Empty the places of what is forgotten; marks the blocks of the others, and returns how many they are.

    From an empty place on, each moves to the first empty one between its home and where it stands: all that lie
    between have been passed already.
    """
    start, kept = 0, 0
    while table[start, _TEXT] != _EMPTY:
        start += 1
    for step in range(1, len(table)):
        here = start + step
        if here >= len(table):
            here -= len(table)
        owner = table[here, _TEXT]
        if owner == _EMPTY:
            continue
        table[here, _TEXT] = _EMPTY
        waits = table[here, _WAITING] != _NO_SLOTS
        if not waits and table[here, _SLICES] < oldest and table[here, _SLICES + 1] < oldest:
            continue
        place = _empty(table, owner)
        table[place, _TEXT] = owner
        for number in range(_WAITING, _WIDTH):
            table[place, number] = table[here, number]
        held[((owner & _AT_MASK) << _STEP_BITS) >> _BLOCK_BITS] = True
        kept += 1
    return kept


@compiled
def _move(table: Any, grown: Any) -> None:
    """Enter all places of a table into a larger one."""
    for here in range(len(table)):
        owner = table[here, _TEXT]
        if owner == _EMPTY:
            continue
        place = _empty(grown, owner)
        for number in range(_WIDTH):
            grown[place, number] = table[here, number]
