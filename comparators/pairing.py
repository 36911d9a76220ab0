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

from paritygate.comparators.pending import Pending
from paritygate.comparators.places import NOWHERE, Fate
from paritygate.comparators.requests import Requests
from paritygate.comparators.rows import Rows
from paritygate.comparators.seen import MAX_KEYS
from paritygate.schemas.arrays import B1, I64

BASELINE: Final = 0
CANDIDATE: Final = 1

_NEVER_LATE_MS: Final = int(np.iinfo(np.int64).min)


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
        self._none = Rows.empty(numbers)
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
            found[some] = ~waiting.says_the_same(repeats.take(some))
        return found
