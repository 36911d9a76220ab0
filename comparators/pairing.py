"""Pairing: full outer join of the two arms of one rollout, by whole request id.

Law: an event of an arm is one of: first of its request and waiting (pending), first and paired, a repeat
(duplicate, or conflict where it says something else than the event it repeats), or too late. Ids are compared
as strings; no two requests ever merge. What is remembered of settled events depends only on the events that
were read and on the horizon, never on when they were paired: so re-reading them rebuilds the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from paritygate.comparators.requests import Requests
from paritygate.comparators.rows import B1, I64, Rows
from paritygate.comparators.seen import MAX_KEYS

BASELINE: Final = 0
CANDIDATE: Final = 1

_SMALLEST: Final = 64
_NOWHERE: Final = -1


class Pending:
    """Rows that wait for their other arm, in slots of columns.

    Memory: 70 bytes a slot and the strings of the rows; slots are reused, their number never shrinks.
    """

    def __init__(self) -> None:
        self._columns = Rows.empty(_SMALLEST)
        self._live: B1 = np.zeros(_SMALLEST, np.bool_)
        self._free: I64 = np.arange(_SMALLEST - 1, -1, -1, dtype=np.int64)
        self._free_count = _SMALLEST

    def __len__(self) -> int:
        return len(self._live) - self._free_count

    def add(self, rows: Rows) -> I64:
        """Let rows wait; returns the slot of each."""
        count = len(rows)
        if count > self._free_count:
            self._grow(count)
        self._free_count -= count
        slots = self._free[self._free_count : self._free_count + count].copy()
        for mine, theirs in zip(self._columns.columns(), rows.columns(), strict=True):
            mine[slots] = theirs
        self._live[slots] = True
        return slots

    def peek(self, slots: I64) -> Rows:
        """The rows in these slots."""
        return self._columns.take(slots)

    def release(self, slots: I64) -> Rows:
        """The rows in these slots; the slots become free."""
        rows = self._columns.take(slots)
        self._live[slots] = False
        columns = self._columns
        for column in (columns.request_id, columns.label, columns.output, columns.numbers):
            column[slots] = None  # let go of the strings
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)
        return rows

    def before(self, event_at_ms: int) -> I64:
        """Slots of all rows of an earlier time."""
        return np.flatnonzero(self._live & (self._columns.event_at_ms < event_at_ms))

    def oldest(self, count: int) -> I64:
        """Slots of the ``count`` oldest rows by (event time, source, offset)."""
        live = np.flatnonzero(self._live)
        if count <= 0:
            return live[:0]
        if count < len(live):
            times = self._columns.event_at_ms[live]
            last = np.partition(times, count - 1)[count - 1]
            older, tied = live[times < last], live[times == last]
            order = np.lexsort((self._columns.offset[tied], self._columns.source[tied]))
            live = np.concatenate((older, tied[order][: count - len(older)]))
        return live

    def oldest_ms(self) -> int | None:
        """Event time of the oldest waiting row; None where none waits."""
        return int(self._columns.event_at_ms[self._live].min()) if len(self) else None

    def offsets(self, source: int) -> I64:
        """Sorted offsets of the rows of one source."""
        offsets: I64 = np.sort(self._columns.offset[self._live & (self._columns.source == source)])
        return offsets

    def _grow(self, room: int) -> None:
        old = len(self._live)
        size = old
        while size - old + self._free_count < room:
            size *= 2
        grown = Rows.empty(size)
        for mine, new in zip(self._columns.columns(), grown.columns(), strict=True):
            new[:old] = mine
        self._columns = grown
        self._live = np.concatenate((self._live, np.zeros(size - old, np.bool_)))
        free = np.empty(size, np.int64)
        free[: self._free_count] = self._free[: self._free_count]
        free[self._free_count : self._free_count + size - old] = np.arange(size - 1, old - 1, -1)
        self._free, self._free_count = free, self._free_count + size - old


@dataclass(slots=True)
class Arrival:
    """What became of some arriving rows of one arm.

    ``first``: rows that are no repeat (pending, paired and late ones). ``baseline`` and ``candidate`` are the
    pairs, row by row. ``repeats``: duplicates and conflicts, told apart by ``conflicting``.
    """

    first: Rows
    baseline: Rows
    candidate: Rows
    late: Rows
    repeats: Rows
    conflicting: B1


class Pairing:
    """The join state of one rollout in one partition."""

    def __init__(self, dedupe_ms: int, max_seen: int = MAX_KEYS) -> None:
        self.pending: tuple[Pending, Pending] = (Pending(), Pending())
        self.requests = Requests(dedupe_ms, max_seen)

    def arrive(self, arm: int, rows: Rows, horizon_ms: int | None) -> Arrival:
        """Take in rows of one arm, in offset order.

        ``horizon_ms``: requests before it are settled for good; a row before it that pairs with nothing is
        late. None: nothing is settled yet. So is one
        of a time that had to be forgotten for want of room.
        """
        known, other = self.requests, 1 - arm
        places = known.enter(rows.request_id)
        fresh = known.is_first(places)
        fresh &= (known.waiting[arm][places] == _NOWHERE) & ~known.is_settled(arm, places)
        if fresh.all():
            first, at, repeats = rows, places, Rows.empty()
        else:
            first, at, repeats = rows.take(fresh), places[fresh], rows.take(~fresh)
        slots = known.waiting[other][at]
        hit = slots != _NOWHERE
        partners = self.pending[other].release(slots[hit])
        known.waiting[other, at[hit]] = _NOWHERE
        mine, alone = _parted(first, hit)
        baseline, candidate = (mine, partners) if arm == BASELINE else (partners, mine)
        known.settle_pairs(at[hit], baseline.event_at_ms, candidate.event_at_ms)
        late = self._wait(arm, alone, at[~hit], horizon_ms) if len(alone) else alone
        conflicting = self._conflicts(arm, repeats, places[~fresh])
        return Arrival(first, baseline, candidate, late, repeats, conflicting)

    def expire(self, arm: int, horizon_ms: int) -> Rows:
        """Rows whose other arm did not come before the horizon; they are settled now."""
        return self._give_up(arm, self.pending[arm].before(horizon_ms))

    def evict(self, arm: int, max_pending: int) -> Rows:
        """The oldest rows beyond the bound; they are settled now."""
        return self._give_up(arm, self.pending[arm].oldest(len(self.pending[arm]) - max_pending))

    def replay(self, arm: int, rows: Rows, was_pending: B1) -> None:
        """Take in rows that were counted before a restart: let them wait again, or only remember them."""
        places = self.requests.enter(rows.request_id)
        self.requests.waiting[arm, places[was_pending]] = self.pending[arm].add(rows.take(was_pending))
        self.requests.settle(arm, places[~was_pending], rows.event_at_ms[~was_pending])

    def _give_up(self, arm: int, slots: I64) -> Rows:
        rows = self.pending[arm].release(slots)
        if len(rows):
            places = self.requests.find(rows.request_id)
            self.requests.waiting[arm, places] = _NOWHERE
            self.requests.settle(arm, places, rows.event_at_ms)
        return rows

    def _wait(self, arm: int, rows: Rows, places: I64, horizon_ms: int | None) -> Rows:
        """Let unpaired rows wait, except the late ones, which are returned."""
        # Before what is remembered nobody can say whether it is a repeat.
        known = [ms for ms in (horizon_ms, self.requests.horizon.from_ms) if ms is not None]
        late = rows.event_at_ms < max(known) if known else np.zeros(len(rows), np.bool_)
        late |= self.requests.is_settled(1 - arm, places)
        if not late.any():
            self.requests.waiting[arm, places] = self.pending[arm].add(rows)
            return Rows.empty()
        self.requests.waiting[arm, places[~late]] = self.pending[arm].add(rows.take(~late))
        too_late = rows.take(late)
        self.requests.settle(arm, places[late], too_late.event_at_ms)
        return too_late

    def _conflicts(self, arm: int, repeats: Rows, places: I64) -> B1:
        """Which repeats say something else than the event that still waits."""
        found = np.zeros(len(repeats), np.bool_)
        if not len(repeats):
            return found
        slots = self.requests.waiting[arm][places]
        some = np.flatnonzero(slots != _NOWHERE)
        waiting = self.pending[arm].peek(slots[some])
        found[some] = [_content(waiting, n) != _content(repeats, i) for n, i in enumerate(some.tolist())]
        self.requests.settle(arm, places, repeats.event_at_ms)
        return found


def _parted(rows: Rows, hit: B1) -> tuple[Rows, Rows]:
    """The rows that are hit, and the others."""
    if hit.all():
        return rows, Rows.empty()
    return (rows.take(hit), rows.take(~hit)) if hit.any() else (Rows.empty(), rows)


def _content(rows: Rows, i: int) -> tuple[object, ...]:
    return (
        int(rows.status[i]),
        rows.label[i],
        None if np.isnan(rows.confidence[i]) else float(rows.confidence[i]),
        float(rows.latency_ms[i]),
        rows.output[i],
        rows.numbers[i],
    )
