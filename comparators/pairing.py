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

from paritygate.comparators.places import NOWHERE, Fate
from paritygate.comparators.requests import Requests
from paritygate.comparators.rows import Rows
from paritygate.comparators.seen import MAX_KEYS
from paritygate.schemas.arrays import B1, I64
from paritygate.schemas.ids import Ids

BASELINE: Final = 0
CANDIDATE: Final = 1

_SMALLEST: Final = 64
#: Stands for a number that is not there: no event carries it.
_NONE: Final = -np.inf
_NEVER_LATE_MS: Final = int(np.iinfo(np.int64).min)


class Pending:
    """Rows that wait for their other arm, in slots. ``numbers``: how many each has.

    ``place``: by slot, where the request of its row stands in :class:`Requests`; ids are kept there alone.
    Memory: 80 bytes a slot and the texts of the rows; slots are reused, their number never shrinks.
    """

    def __init__(self, numbers: int = 0) -> None:
        self._rows = Rows.empty(_SMALLEST, numbers)
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
        self._rows.put(slots, rows)
        self.place[slots] = places
        self._live[slots] = True
        return slots

    def peek(self, slots: I64, ids: Ids) -> Rows:
        """The rows in these slots, with the ids of their requests."""
        return self._rows.named(slots, ids)

    def release(self, slots: I64, ids: Ids) -> Rows:
        """The same; the slots become free."""
        rows = self.peek(slots, ids)
        self._live[slots] = False
        self._rows.label[slots] = self._rows.output[slots] = None  # let go of the strings
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)
        return rows

    @property
    def event_at_ms(self) -> I64:
        """By slot, the time of the row; without meaning where none waits."""
        return self._rows.event_at_ms

    def before(self, event_at_ms: int) -> I64:
        """Slots of all rows of an earlier time."""
        return np.flatnonzero(self._live & (self._rows.event_at_ms < event_at_ms))

    def oldest(self, count: int) -> I64:
        """Slots of the ``count`` oldest rows by (event time, source, offset)."""
        live = np.flatnonzero(self._live)
        if count <= 0:
            return live[:0]
        if count < len(live):
            times = self._rows.event_at_ms[live]
            last = np.partition(times, count - 1)[count - 1]
            older, tied = live[times < last], live[times == last]
            order = np.lexsort((self._rows.offset[tied], self._rows["source"][tied]))
            live = np.concatenate((older, tied[order][: count - len(older)]))
        return live

    def oldest_ms(self) -> int | None:
        """Event time of the oldest waiting row; None where none waits."""
        return int(self._rows.event_at_ms[self._live].min()) if len(self) else None

    def offsets(self, source: int) -> I64:
        """Sorted offsets of the rows of one source."""
        offsets: I64 = np.sort(self._rows.offset[self._live & (self._rows["source"] == source)])
        return offsets

    def _grow(self, room: int) -> None:
        old = len(self._live)
        size = old
        while size - old + self._free_count < room:
            size *= 2
        grown = Rows.empty(size, self._rows.numbers.shape[1])
        grown.put(np.arange(old), self._rows)
        self._rows = grown
        self.place = np.concatenate((self.place, np.zeros(size - old, np.int64)))
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

    def __init__(self, dedupe_ms: int, max_seen: int = MAX_KEYS, numbers: int = 0) -> None:
        self._none = Rows.empty(numbers=numbers)
        self.pending: tuple[Pending, Pending] = (Pending(numbers), Pending(numbers))
        self.requests = Requests(dedupe_ms, max_seen, moved=self._follow)

    def arrive(self, arm: int, rows: Rows, horizon_ms: int | None) -> Arrival:
        """Take in rows of one arm, in offset order.

        ``horizon_ms``: requests before it are settled for good; a row before it that pairs with nothing is
        late. None: nothing is settled yet. So is one of a time that had to be forgotten for want of room.
        """
        mine, other = self.pending[arm], self.pending[1 - arm]
        # Before what is remembered nobody can say whether it is a repeat.
        known = [ms for ms in (horizon_ms, self.requests.horizon.from_ms) if ms is not None]
        places, fates, slots = self.requests.arrive(
            arm, rows.request_id, rows.event_at_ms,
            late_ms=max(known, default=_NEVER_LATE_MS), other_at_ms=other.event_at_ms, free=mine.free(len(rows)),
        )  # fmt: skip
        waits, late, repeat = fates == Fate.WAITS, fates == Fate.LATE, fates == Fate.REPEAT
        if waits.any():
            mine.add(rows.take(waits), places[waits])
        paired, partners = rows, slots
        if not (fates == Fate.PAIRED).all():
            pairs = np.flatnonzero(fates == Fate.PAIRED)
            paired, partners = rows.take(pairs), slots[pairs]
        partner = other.release(partners, paired.request_id)
        baseline, candidate = (paired, partner) if arm == BASELINE else (partner, paired)
        repeats = rows.take(repeat) if repeat.any() else self._none
        return Arrival(
            first=rows.take(~repeat) if len(repeats) else rows,
            baseline=baseline,
            candidate=candidate,
            late=rows.take(late) if late.any() else self._none,
            repeats=repeats,
            conflicting=self._conflicts(arm, repeats, slots[repeat]),
        )

    def expire(self, arm: int, horizon_ms: int) -> Rows:
        """Rows whose other arm did not come before the horizon; they are settled now."""
        return self._give_up(arm, self.pending[arm].before(horizon_ms))

    def evict(self, arm: int, max_pending: int) -> Rows:
        """The oldest rows beyond the bound; they are settled now."""
        return self._give_up(arm, self.pending[arm].oldest(len(self.pending[arm]) - max_pending))

    def replay(self, arm: int, rows: Rows, was_pending: B1) -> None:
        """Take in rows that were counted before a restart: let them wait again, or only remember them."""
        places = self.requests.enter(rows.request_id)
        waiting = places[was_pending]
        self.requests.waiting[waiting, arm] = self.pending[arm].add(rows.take(was_pending), waiting)
        self.requests.settle(arm, places[~was_pending], rows.event_at_ms[~was_pending])

    def _follow(self) -> None:
        """Places have changed: tell the rows that wait."""
        baseline, candidate = self.pending
        self.requests.tell(baseline.place, candidate.place)

    def _give_up(self, arm: int, slots: I64) -> Rows:
        if not len(slots):
            return self._none
        places = self.pending[arm].place[slots]
        rows = self.pending[arm].release(slots, self.requests.ids(places))
        self.requests.waiting[places, arm] = NOWHERE
        self.requests.settle(arm, places, rows.event_at_ms)
        return rows

    def _conflicts(self, arm: int, repeats: Rows, slots: I64) -> B1:
        """Which repeats say something else than the event that still waits."""
        found = np.zeros(len(repeats), np.bool_)
        some = np.flatnonzero(slots != NOWHERE)
        if len(some):
            waiting = self.pending[arm].peek(slots[some], repeats.request_id.take(some))
            found[some] = [_content(waiting, n) != _content(repeats, i) for n, i in enumerate(some.tolist())]
        return found


def _content(rows: Rows, i: int) -> tuple[object, ...]:
    return (
        int(rows.status[i]),
        rows.label[i],
        *np.nan_to_num((rows["confidence"][i], *rows.numbers[i]), nan=_NONE).tolist(),
        float(rows.latency_ms[i]),
        rows.output[i],
    )
