"""Requests: what is known of each request id, for both arms at once: where its event waits, or when it was settled.

Law: ids are compared whole. What is known of a settled event depends on the events that were read, on the horizon
and on the oldest slice remembered, so a restart rebuilds it by reading again from
:meth:`~paritygate.comparators.seen.Horizon.first_offset` on. A settled event is forgotten when the horizon has left
the slice of its own time ``dedupe_ms`` behind, or earlier, oldest slice first, where more than ``max_keys`` are
remembered. What is forgotten early is counted, and an event of that time that pairs with nothing is late, never a
new request: a repeat that is not recognised must not look like one. Times that the horizon has not passed are kept,
for their events are not late yet, up to twice ``max_keys``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paritygate.comparators.places import NEVER, Places
from paritygate.comparators.seen import MAX_KEYS, Horizon
from paritygate.schemas.arrays import B1, I8, I32, I64
from paritygate.schemas.ids import Hashes, hashes
from paritygate.schemas.texts import Texts


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
        #: How many requests are remembered as settled, by the newest slice of the two arms.
        self._settled: dict[int, int] = {}
        self._places = Places(hashed, moved)

    @property
    def waiting(self) -> I32:
        """The slots in which events wait, by place and arm; -1 where none does."""
        return self._places.waiting

    def __len__(self) -> int:
        """How many requests are remembered as settled."""
        return sum(self._settled.values())

    def enter(self, ids: Texts) -> I64:
        """The place of each id, made where it has none."""
        return self._places.enter(ids, self._oldest)

    def ids(self, places: I64) -> Texts:
        """The ids of some places."""
        return self._places.ids(places)

    def tell(self, baseline: I64, candidate: I64) -> None:
        """Write by slot, for each arm, the place of the request whose event waits there."""
        self._places.tell(baseline, candidate)

    def is_settled(self, arm: int, places: I64) -> B1:
        """Whether the arm's event of these requests is remembered as settled."""
        settled: B1 = self._places.slices[places, arm] >= self._oldest
        return settled

    def arrive(
        self, arm: int, ids: Texts, event_at_ms: I64, *, late_ms: int, other_at_ms: I64, free: I64
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
        places, fates, slots, changes = self._places.arrive(
            arm, ids, event_at_ms, late_ms=late_ms, other_at_ms=other_at_ms, free=free,
            oldest=self._oldest, width_ms=self.horizon.width_ms,
        )  # fmt: skip
        self._recount(changes[:, 0], changes[:, 1])
        return places, fates, slots

    def settle(self, arm: int, places: I64, event_at_ms: I64) -> None:
        """One arm's events of these requests are settled; a request may be named more than once."""
        if not len(places):
            return
        distinct = np.unique(places)
        before = self._newest(distinct)
        np.maximum.at(self._places.slices[:, arm], places, self.horizon.of(event_at_ms))
        self._recount(before, self._newest(distinct))

    def move(self, horizon_ms: int) -> None:
        """Forget what no repeat within ``dedupe_ms`` can ask for."""
        self.horizon.move(horizon_ms)
        self._drop()

    @property
    def _oldest(self) -> int:
        """The oldest slice that is remembered; above "never"."""
        return NEVER + 1 if self.horizon.oldest is None else self.horizon.oldest

    def _newest(self, places: I64) -> I64:
        newest: I64 = self._places.slices[places].max(axis=1)
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


def _counted(slices: I64) -> list[tuple[int, int]]:
    """Each distinct slice with how often it is there."""
    if not len(slices):
        return []
    lowest = int(slices.min())
    if lowest == slices.max():
        return [(lowest, len(slices))]
    distinct, counts = np.unique(slices, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))
