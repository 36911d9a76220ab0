"""Requests: what is known of each request id, for both arms at once: where its event waits, or when it was settled.

Law: ids are compared whole; a hash only says where to look. What is known of a settled event depends on the events
that were read, on the horizon and on the oldest slice remembered, so a restart rebuilds it by reading again from
:meth:`~paritygate.comparators.seen.Horizon.first_offset` on. A settled event is forgotten when the horizon has left
the slice of its own time ``dedupe_ms`` behind, or earlier, oldest slice first, where more than ``max_keys`` are
remembered. What is forgotten early is counted, and an event of that time that pairs with nothing is late, never a
new request: a repeat that is not recognised must not look like one. Times that the horizon has not passed are kept,
for their events are not late yet, up to twice ``max_keys``.

It is a hash table with linear probing. A place is four numbers that lie together, for the table is larger than any
cache, and to look up a request should cost one miss for its place and one for its id. Memory: 32 bytes a place, 40
to 57 a request, and the bytes of its id once or up to half as much again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import numpy as np

from paritygate.comparators.seen import MAX_KEYS, Horizon
from paritygate.schemas.arrays import B1, I8, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled, is_same, put, word
from paritygate.schemas.ids import Hashes, Ids, hashes, read_only

_SMALLEST: Final = 1 << 10
_SMALLEST_BYTES: Final = 1 << 14
#: Fullest that the table gets, and how full it is at most when it is made anew, each in sixteenths.
_FULL, _ROOMY = 13, 9
_EMPTY: Final = 0
NOWHERE: Final = -1
_NEVER: Final = int(np.iinfo(np.int64).min)

# The numbers of a place: where its id lies; the slots in which the arms' events wait, 32 bits each; the slices in
# which the arms' events were settled.
_TEXT, _WAITING, _SLICES, _WIDTH = 0, 1, 2, 4
# Where an id lies: its first byte in the text, its size, and bits of its hash that tell most other ids apart. No id
# lies at byte 0, so an empty place is 0.
_AT_BITS, _SIZE_BITS = 36, 16
_AT_MASK, _SIZE_MASK = (1 << _AT_BITS) - 1, (1 << _SIZE_BITS) - 1
_FIRST_BYTE: Final = 1


class Fate(IntEnum):
    """What became of an arriving event."""

    WAITS = 0
    PAIRED = 1
    LATE = 2
    REPEAT = 3


class Requests:
    """Known requests of one rollout in one partition.

    ``waiting[place, arm]``: the slot in which the arm's event waits, or -1. A place holds until the next
    :meth:`enter` or :meth:`arrive`; then ``moved`` is called where places have changed. ``forgotten``: how many
    requests had to go before ``dedupe_ms`` was over, since this was made.
    """

    def __init__(
        self,
        dedupe_ms: int,
        max_keys: int = MAX_KEYS,
        hashed: Hashes = hashes,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.horizon = Horizon(dedupe_ms)
        self.forgotten = 0
        self._max_keys = max_keys
        self._hashed = hashed
        self._moved = moved
        #: How many requests are remembered as settled, by the newest slice of the two arms.
        self._settled: dict[int, int] = {}
        self._clear(_SMALLEST, _SMALLEST_BYTES)

    def _clear(self, places: int, text_bytes: int) -> None:
        self._table: I64 = np.zeros((places, _WIDTH), np.int64)
        self._text: U8 = np.zeros(_FIRST_BYTE + text_bytes + SPARE_BYTES, np.uint8)
        #: How many places and how many bytes of the text are taken.
        self._used: I64 = np.array((0, _FIRST_BYTE), np.int64)
        self.waiting: I32 = self._table.view(np.int32)[:, 2 * _WAITING : 2 * _WAITING + 2]
        self._slices: I64 = self._table[:, _SLICES : _SLICES + 2]

    def __len__(self) -> int:
        """How many requests are remembered as settled."""
        return sum(self._settled.values())

    # -- places ------------------------------------------------------------------------------------------------

    def enter(self, ids: Ids) -> I64:
        """The place of each id, made where it has none."""
        self._make_places(len(ids), int(ids.size.sum()))
        places = np.empty(len(ids), np.int64)
        keys = self._hashed(ids.buffer, ids.at, ids.size)
        _enter(self._table, self._text, self._used, ids.buffer, ids.at, ids.size, keys, places)
        return places

    def ids(self, places: I64) -> Ids:
        """The ids of some places; they stay readable whatever becomes of the table."""
        return _ids(read_only(self._text), self._table[places, _TEXT])

    def waits(self, arm: int) -> I64:
        """The places of the requests whose event of this arm waits."""
        return np.flatnonzero((self.waiting[:, arm] != NOWHERE) & (self._table[:, _TEXT] != _EMPTY))

    def is_settled(self, arm: int, places: I64) -> B1:
        """Whether the arm's event of these requests is remembered as settled."""
        settled: B1 = self._slices[places, arm] >= self._oldest
        return settled

    # -- arrival -----------------------------------------------------------------------------------------------

    def arrive(
        self, arm: int, ids: Ids, event_at_ms: I64, *, late_ms: int, other_at_ms: I64, free: I64
    ) -> tuple[I64, I8, I64]:
        """Take in events of one arm, in offset order; the place, fate and slot of each.

        An event of a request that this arm has spoken of is a repeat. Else it pairs with the other arm's event
        where that waits. Else it is late where it is older than ``late_ms`` or the other arm's was settled, or it
        waits. All are settled but those that wait.

        ``other_at_ms``: by slot, the time of the other arm's waiting events. ``free``: slots for those that will
        wait, taken from its end; as many as there are events.

        The slot is the one in which it waits, of a pair that of its partner, of a repeat that of the event that it
        repeats where that waits, else -1.
        """
        places = self.enter(ids)
        fates, slots = np.empty(len(ids), np.int8), np.empty(len(ids), np.int64)
        changes = np.empty((len(ids), 2), np.int64)
        changed = _settle(
            self._table, self.waiting, arm, places, event_at_ms, late_ms, other_at_ms, free,
            self._oldest, self.horizon.width_ms, fates, slots, changes,
        )  # fmt: skip
        self._recount(changes[:changed, 0], changes[:changed, 1])
        return places, fates, slots

    def settle(self, arm: int, places: I64, event_at_ms: I64) -> None:
        """One arm's events of these requests are settled; a request may be named more than once."""
        if not len(places):
            return
        distinct = np.unique(places)
        before = self._newest(distinct)
        np.maximum.at(self._slices[:, arm], places, self.horizon.of(event_at_ms))
        self._recount(before, self._newest(distinct))

    def move(self, horizon_ms: int) -> None:
        """Forget what no repeat within ``dedupe_ms`` can ask for."""
        self.horizon.move(horizon_ms)
        self._drop()

    @property
    def _oldest(self) -> int:
        """The oldest slice that is remembered; above "never"."""
        return _NEVER + 1 if self.horizon.oldest is None else self.horizon.oldest

    def _newest(self, places: I64) -> I64:
        newest: I64 = self._slices[places].max(axis=1)
        return newest

    def _recount(self, before: I64, after: I64) -> None:
        for slices, by in ((before, -1), (after, 1)):
            for piece, count in _counted(slices[slices >= self._oldest]):
                self._settled[piece] = self._settled.get(piece, 0) + by * count
        if len(self) > self._max_keys:
            self._make_room()

    def _make_room(self) -> None:
        before = len(self)
        while len(self) > self._max_keys:
            oldest = min(piece for piece, count in self._settled.items() if count)
            if not self.horizon.gives_up(oldest, must=len(self) > 2 * self._max_keys):
                break
            self._drop()
        self.forgotten += before - len(self)

    def _drop(self) -> None:
        oldest = self._oldest
        for piece in [p for p in self._settled if p < oldest]:
            del self._settled[piece]

    # -- the table -----------------------------------------------------------------------------------------------

    def _make_places(self, count: int, text_bytes: int) -> None:
        """Make the table anew, without what is forgotten, where so many more would fill it or its text too much."""
        used, used_bytes = self._used.tolist()
        room_bytes = len(self._text) - SPARE_BYTES
        if 16 * (used + count) <= _FULL * len(self._table) and used_bytes + text_bytes <= room_bytes:
            return
        taken = self._table[:, _TEXT] != _EMPTY
        live = self._table[
            taken & ((self.waiting != NOWHERE).any(axis=1) | (self._slices >= self._oldest).any(axis=1))
        ]
        ids = _ids(read_only(self._text), live[:, _TEXT])
        held_bytes = int(ids.size.sum())
        # As much text as fills up together with the places, at this size of ids.
        places = max(_SMALLEST, 16 * (len(live) + count) // _ROOMY)
        share = max(1.0, _FULL * places / 16 / max(1, len(live) + count))
        self._clear(places, max(_SMALLEST_BYTES, int((held_bytes + text_bytes) * share)))
        entered = np.empty(len(live), np.int64)
        keys = self._hashed(ids.buffer, ids.at, ids.size)
        _enter(self._table, self._text, self._used, ids.buffer, ids.at, ids.size, keys, entered)
        self._table[entered, _WAITING:] = live[:, _WAITING:]
        self._moved()


def _ids(text: U8, stored: I64) -> Ids:
    """Ids by where they lie."""
    return Ids(text, stored & _AT_MASK, (stored >> _AT_BITS & _SIZE_MASK).astype(np.int32))


def _counted(slices: I64) -> list[tuple[int, int]]:
    """Each distinct slice with how often it is there."""
    if not len(slices):
        return []
    lowest = int(slices.min())
    if lowest == slices.max():
        return [(lowest, len(slices))]
    distinct, counts = np.unique(slices, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


# -- compiled ------------------------------------------------------------------------------------------------------

_WAITS, _PAIRED, _LATE, _REPEAT = (int(fate) for fate in Fate)
_NO_SLOTS: Final = -1  # both halves of it are -1


@compiled
def _copy(to: int, source: int, size: int) -> None:
    """Copy some bytes, and up to seven more."""
    for done in range(0, size, 8):
        put(to + done, word(source + done))


@compiled
def _enter(table: Any, text: Any, used: Any, buffer: Any, at: Any, size: Any, keys: Any, places: Any) -> None:
    """Fill in the place of each id, made where it has none."""
    ids, texts = address(buffer), address(text)
    for row in range(len(at)):
        key, id_at = np.uint64(keys[row]), ids + at[row]
        # The high half of the hash says where to look, the low bits stand in the place. Source: Lemire, "Fast
        # random integer generation in an interval", 2019.
        place: Any = np.int64(((key >> np.uint64(32)) * np.uint64(len(table))) >> np.uint64(32))
        marked = (np.int64(key) << (_AT_BITS + _SIZE_BITS)) | (np.int64(size[row]) << _AT_BITS)
        while table[place, _TEXT] != _EMPTY:
            stored = table[place, _TEXT]
            if stored & ~_AT_MASK == marked and is_same(texts + (stored & _AT_MASK), id_at, size[row]):
                break
            place += 1
            if place == len(table):
                place = 0
        else:
            _copy(texts + used[1], id_at, size[row])
            table[place, _TEXT] = marked | used[1]
            table[place, _WAITING] = _NO_SLOTS
            table[place, _SLICES] = table[place, _SLICES + 1] = _NEVER
            used[0] += 1
            used[1] += size[row]
        places[row] = place


@compiled
def _settle(
    table: Any, waiting: Any, arm: int, places: Any, event_at_ms: Any, late_ms: int, other_at_ms: Any, free: Any,
    oldest: int, width_ms: int, fates: Any, slots: Any, changes: Any,
) -> int:  # fmt: skip
    """See :meth:`Requests.arrive`. ``changes``: the newest slice of a request before and after, if it changed."""
    other, changed, next_free = 1 - arm, 0, len(free)
    for row in range(len(places)):
        place = places[row]
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
