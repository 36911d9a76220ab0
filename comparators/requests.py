"""Requests: what is known of each request id, for both arms at once: where its event waits, or when it was settled.

Law: ids are compared whole; a hash only says where to look. What is known of a settled event depends on the events
that were read, on the horizon and on the oldest slice remembered, so a restart rebuilds it by reading again from
:meth:`~paritygate.comparators.seen.Horizon.first_offset` on. A settled event is forgotten when the horizon has left
the slice of its own time ``dedupe_ms`` behind, or earlier, oldest slice first, where more than ``max_keys`` are
remembered. What is forgotten early is counted, and an event of that time that pairs with nothing is late, never a
new request: a repeat that is not recognised must not look like one. Times that the horizon has not passed are kept,
for their events are not late yet, up to twice ``max_keys``.

It is a hash table with linear probing whose columns are arrays, so that a whole batch is looked up, entered and
settled at once. Memory: 44 bytes a place, 60 to 160 a request, and the id itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from paritygate.comparators.rows import B1, I32, I64, Objects
from paritygate.comparators.seen import MAX_KEYS, Horizon

#: Hash of each id, as 64 bits.
Hashes = Callable[[Sequence[str]], I64]

_SMALLEST: Final = 1 << 10
#: Fullest that the table gets, and how full it is at most when it is made anew, each in sixteenths.
_FULL, _ROOMY = 12, 9
_EMPTY: Final = 0
_NOWHERE: Final = -1
_NEVER: Final = int(np.iinfo(np.int64).min)


def hashes(ids: Sequence[str]) -> I64:
    """Python's own keyed hash: nobody outside can choose ids that fall together."""
    return np.fromiter(map(hash, ids), np.int64, len(ids))


class Requests:
    """Known requests of one rollout in one partition.

    ``waiting``: by arm and place, the slot in which the arm's event waits, or -1. A place holds until the next
    :meth:`enter`. ``forgotten``: how many requests had to go before ``dedupe_ms`` was over, since this was made.
    """

    def __init__(self, dedupe_ms: int, max_keys: int = MAX_KEYS, hashed: Hashes = hashes) -> None:
        self.horizon = Horizon(dedupe_ms)
        self.forgotten = 0
        self._max_keys = max_keys
        self._hashed = hashed
        #: How many requests are remembered as settled, by the newest slice of the two arms.
        self._settled: dict[int, int] = {}
        self._clear(_SMALLEST)

    def _clear(self, places: int) -> None:
        self._used, self._mask = 0, places - 1
        self._hash: I64 = np.full(places, _EMPTY, np.int64)
        self._id: Objects = np.empty(places, np.object_)
        self.waiting: I32 = np.full((2, places), _NOWHERE, np.int32)
        self._slice: I64 = np.full((2, places), _NEVER, np.int64)
        self._mark: I32 = np.zeros(places, np.int32)

    def __len__(self) -> int:
        """How many requests are remembered as settled."""
        return sum(self._settled.values())

    # -- places ------------------------------------------------------------------------------------------------

    def enter(self, ids: Objects) -> I64:
        """The place of each id, made where it has none."""
        self._make_places(len(ids))
        keys = self._keys(ids)
        places, found = self._look(keys, ids)
        if not found.all():
            self._settle_down(np.flatnonzero(~found), keys, ids, places)
        return places

    def find(self, ids: Objects) -> I64:
        """The place of each id, -1 where it has none."""
        places, found = self._look(self._keys(ids), ids)
        places[~found] = _NOWHERE
        return places

    def ids(self, arm: int) -> list[str]:
        """The requests whose event of this arm waits."""
        return self._id[self.waiting[arm] != _NOWHERE].tolist()  # type: ignore[no-any-return]

    def is_first(self, places: I64) -> B1:
        """Which rows are the first of some with their place."""
        rows = np.arange(len(places), dtype=np.int32)
        self._mark[places[::-1]] = rows[::-1]  # of a place that comes again the last one written stays
        first: B1 = self._mark[places] == rows
        return first

    def is_settled(self, arm: int, places: I64) -> B1:
        """Whether the arm's event of these requests is remembered as settled."""
        settled: B1 = self._slice[arm][places] >= self._oldest
        return settled

    # -- what is settled -----------------------------------------------------------------------------------------

    def settle_pairs(self, places: I64, baseline_at_ms: I64, candidate_at_ms: I64) -> None:
        """Both arms' events of these requests, each named once, are settled."""
        if not len(places):
            return
        before = self._newest(places)
        for arm, at_ms in enumerate((baseline_at_ms, candidate_at_ms)):
            slices = self._slice[arm]
            slices[places] = np.maximum(slices[places], self.horizon.of(at_ms))
        self._recount(before, self._newest(places))

    def settle(self, arm: int, places: I64, event_at_ms: I64) -> None:
        """One arm's events of these requests are settled; a request may be named more than once."""
        if not len(places):
            return
        distinct = np.unique(places)
        before = self._newest(distinct)
        np.maximum.at(self._slice[arm], places, self.horizon.of(event_at_ms))
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
        newest: I64 = np.maximum(self._slice[0][places], self._slice[1][places])
        return newest

    def _recount(self, before: I64, after: I64) -> None:
        changed = after > before
        for slices, by in ((before[changed], -1), (after[changed], 1)):
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

    def _keys(self, ids: Objects) -> I64:
        keys = self._hashed(ids.tolist())
        keys[keys == _EMPTY] = 1
        return keys

    def _look(self, keys: I64, ids: Objects) -> tuple[I64, B1]:
        """The place of each id, or the empty one at which the search for it ended; and which were found."""
        places = keys & self._mask
        there = self._hash[places]
        found: B1 = there == keys
        rest = np.flatnonzero(~found & (there != _EMPTY))
        while len(rest):
            places[rest] = at = (places[rest] + 1) & self._mask
            there = self._hash[at]
            same = there == keys[rest]
            found[rest[same]] = True
            rest = rest[~same & (there != _EMPTY)]
        hit = np.flatnonzero(found)
        asked, stored = ids[hit].tolist(), self._id[places[hit]].tolist()
        if asked != stored:
            for row, mine, theirs in zip(hit.tolist(), asked, stored, strict=True):
                if mine != theirs:
                    places[row], found[row] = self._look_on(int(places[row]), int(keys[row]), mine)
        return places, found

    def _look_on(self, place: int, key: int, wanted: str) -> tuple[int, bool]:
        """The same for one id, from a place on at which another id of the same hash stands."""
        while True:
            place = (place + 1) & self._mask
            there = int(self._hash[place])
            if there == _EMPTY:
                return place, False
            if there == key and self._id[place] == wanted:
                return place, True

    def _settle_down(self, rows: I64, keys: I64, ids: Objects, places: I64) -> None:
        """Give the rows places of their own, from the empty ones that their search found; equal ids share one."""
        at = places[rows]
        while len(rows):
            free = self._hash[at] == _EMPTY
            self._mark[at[free]] = rows[free]
            taken: B1 = free & (self._mark[at] == rows)
            mine = at[taken]
            self._hash[mine], self._id[mine] = keys[rows[taken]], ids[rows[taken]]
            self.waiting[:, mine], self._slice[:, mine] = _NOWHERE, _NEVER
            places[rows[taken]] = mine
            self._used += len(mine)
            rows, at = rows[~taken], at[~taken]
            equal: B1 = self._hash[at] == keys[rows]
            if equal.any():
                equal[equal] = self._id[at[equal]] == ids[rows[equal]]
            places[rows[equal]] = at[equal]
            rows, at = rows[~equal], (at[~equal] + 1) & self._mask

    def _make_places(self, count: int) -> None:
        """Make the table anew, without what is forgotten, where so many more would fill it too much."""
        if 16 * (self._used + count) <= _FULL * (self._mask + 1):
            return
        live = (self.waiting != _NOWHERE).any(axis=0) | (self._slice >= self._oldest).any(axis=0)
        keys, ids = self._hash[live], self._id[live]
        waiting, slices = self.waiting[:, live], self._slice[:, live]
        size = _SMALLEST
        while 16 * (len(keys) + count) > _ROOMY * size:
            size *= 2
        self._clear(size)
        places = keys & self._mask
        self._settle_down(np.arange(len(keys)), keys, ids, places)
        self.waiting[:, places], self._slice[:, places] = waiting, slices


def _counted(slices: I64) -> list[tuple[int, int]]:
    """Each distinct slice with how often it is there."""
    if not len(slices):
        return []
    lowest = int(slices.min())
    if lowest == slices.max():
        return [(lowest, len(slices))]
    distinct, counts = np.unique(slices, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))
