"""Pairing: full outer join of the two arms of one rollout, by whole request id.

Law: an event of an arm is one of: first of its request and waiting (pending), first and paired, a repeat
(duplicate, or conflict where it says something else than the event it repeats), or too late. Ids are compared
as strings; no two requests ever merge. What is remembered of settled events depends only on the events that
were read and on the horizon, never on when they were paired: so re-reading them rebuilds the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np

from paritygate.comparators.rows import B1, I64, Rows
from paritygate.comparators.seen import MAX_KEYS, Seen

BASELINE: Final = 0
CANDIDATE: Final = 1

_SMALLEST: Final = 64
_NOWHERE: Final = -1


class Pending:
    """Rows that wait for their other arm: slots of columns, and a dict from request id to slot.

    Memory: 70 bytes a slot and the strings of the rows; slots are reused, their number never shrinks.
    """

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self._columns = Rows.empty(_SMALLEST)
        self._live: B1 = np.zeros(_SMALLEST, np.bool_)
        self._free: I64 = np.arange(_SMALLEST - 1, -1, -1, dtype=np.int64)
        self._free_count = _SMALLEST

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, rows: Rows) -> None:
        """Let rows wait. Their ids must not be waiting already."""
        count = len(rows)
        if count > self._free_count:
            self._grow(count)
        self._free_count -= count
        slots = self._free[self._free_count : self._free_count + count].copy()
        for mine, theirs in zip(self._columns.columns(), rows.columns(), strict=True):
            mine[slots] = theirs
        self._live[slots] = True
        self.slots.update(zip(rows.request_id.tolist(), slots.tolist(), strict=True))

    def find(self, request_ids: Iterable[str]) -> I64:
        """Slot of each id that waits, -1 of the others; the ids found wait no longer (see :meth:`release`)."""
        return np.fromiter(map(self.slots.pop, request_ids, repeat(_NOWHERE)), np.int64)

    def peek(self, request_id: str) -> Rows | None:
        """The waiting row of an id."""
        slot = self.slots.get(request_id)
        return None if slot is None else self._columns.take(np.array([slot], np.int64))

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

    def expire(self, before_ms: int) -> Rows:
        """Take out all rows with ``event_at_ms < before_ms``."""
        return self._drop(np.flatnonzero(self._live & (self._columns.event_at_ms < before_ms)))

    def evict(self, count: int) -> Rows:
        """Take out the ``count`` oldest rows by (event time, source, offset)."""
        live = np.flatnonzero(self._live)
        if count <= 0:
            return self._drop(live[:0])
        if count < len(live):
            times = self._columns.event_at_ms[live]
            last = np.partition(times, count - 1)[count - 1]
            older, tied = live[times < last], live[times == last]
            order = np.lexsort((self._columns.offset[tied], self._columns.source[tied]))
            live = np.concatenate((older, tied[order][: count - len(older)]))
        return self._drop(live)

    def oldest_ms(self) -> int | None:
        """Event time of the oldest waiting row; None where none waits."""
        return int(self._columns.event_at_ms[self._live].min()) if self.slots else None

    def offsets(self, source: int) -> I64:
        """Sorted offsets of the rows of one source."""
        offsets: I64 = np.sort(self._columns.offset[self._live & (self._columns.source == source)])
        return offsets

    def _drop(self, slots: I64) -> Rows:
        rows = self.release(slots)
        for request_id in rows.request_id.tolist():
            del self.slots[request_id]
        return rows

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
        self.seen: Seen[str] = Seen(dedupe_ms, max_seen)

    def arrive(self, arm: int, rows: Rows, horizon_ms: int | None) -> Arrival:
        """Take in rows of one arm, in offset order.

        ``horizon_ms``: requests before it are settled for good; a row before it that pairs with nothing is
        late. None: nothing is settled yet. So is one
        of a time that had to be forgotten for want of room.
        """
        ids: list[str] = rows.request_id.tolist()
        distinct = set(ids)
        unfiled = self.seen.has_none(distinct)
        fresh = self._first_of_request(arm, ids, distinct, unfiled=unfiled)
        first = rows if fresh is None else rows.take(fresh)
        other = 1 - arm
        slots = self.pending[other].find(ids if fresh is None else first.request_id.tolist())
        hit = slots >= 0
        partners = self.pending[other].release(slots[hit])
        mine, alone = _parted(first, hit)
        baseline, candidate = (mine, partners) if arm == BASELINE else (partners, mine)
        self.seen.add_pairs(mine.request_id.tolist(), baseline.event_at_ms, candidate.event_at_ms, unfiled=unfiled)
        late = self._wait(arm, alone, horizon_ms, unfiled=unfiled) if len(alone) else alone
        repeats = rows.take(~fresh) if fresh is not None else Rows.empty()
        return Arrival(first, baseline, candidate, late, repeats, self._conflicts(arm, repeats))

    def expire(self, arm: int, horizon_ms: int) -> Rows:
        """Rows whose other arm did not come before the horizon; they are settled now."""
        rows = self.pending[arm].expire(horizon_ms)
        self.seen.add(arm, rows.request_id.tolist(), rows.event_at_ms)
        return rows

    def evict(self, arm: int, max_pending: int) -> Rows:
        """The oldest rows beyond the bound; they are settled now."""
        rows = self.pending[arm].evict(len(self.pending[arm]) - max_pending)
        self.seen.add(arm, rows.request_id.tolist(), rows.event_at_ms)
        return rows

    def replay(self, arm: int, rows: Rows, was_pending: B1) -> None:
        """Take in rows that were counted before a restart: let them wait again, or only remember them."""
        self.pending[arm].add(rows.take(was_pending))
        settled = rows.take(~was_pending)
        self.seen.add(arm, settled.request_id.tolist(), settled.event_at_ms)

    def _first_of_request(self, arm: int, ids: list[str], distinct: set[str], *, unfiled: bool) -> B1 | None:
        """Mask of the rows whose id this arm has not shown before; None where that is all of them."""
        waiting = self.pending[arm].slots.keys()
        known = set() if unfiled else self.seen.known(arm, distinct)
        if not waiting.isdisjoint(distinct):
            known |= waiting & distinct
        if not known and len(distinct) == len(ids):
            return None
        fresh = np.zeros(len(ids), np.bool_)
        for i, request_id in enumerate(ids):
            if request_id not in known:
                known.add(request_id)
                fresh[i] = True
        return fresh

    def _wait(self, arm: int, rows: Rows, horizon_ms: int | None, *, unfiled: bool) -> Rows:
        """Let unpaired rows wait, except the late ones, which are returned."""
        # Before what is remembered nobody can say whether it is a repeat.
        known = [ms for ms in (horizon_ms, self.seen.horizon.from_ms) if ms is not None]
        late = rows.event_at_ms < max(known) if known else np.zeros(len(rows), np.bool_)
        ids = [] if unfiled else rows.request_id.tolist()
        settled = self.seen.settled_without(arm, set(ids))
        if settled:
            late |= np.fromiter((i in settled for i in ids), np.bool_, len(ids))
        if not late.any():
            self.pending[arm].add(rows)
            return Rows.empty()
        self.pending[arm].add(rows.take(~late))
        too_late = rows.take(late)
        self.seen.add(arm, too_late.request_id.tolist(), too_late.event_at_ms)
        return too_late

    def _conflicts(self, arm: int, repeats: Rows) -> B1:
        """Which repeats say something else than the event that still waits."""
        found = np.zeros(len(repeats), np.bool_)
        if not len(repeats):
            return found
        for i, request_id in enumerate(repeats.request_id.tolist()):
            waiting = self.pending[arm].peek(request_id)
            if waiting is not None:
                found[i] = _content(waiting, 0) != _content(repeats, i)
        self.seen.add(arm, repeats.request_id.tolist(), repeats.event_at_ms)
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
