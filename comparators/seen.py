"""Seen: which events of which arm were read and wait no longer, for as long as repeats must be recognised.

Law: a key is filed under the slice of its own event's time and forgotten when the horizon has left that slice
``dedupe_ms`` behind, or earlier, oldest slice first, where more than ``max_keys`` are filed. So the memory is a
function of the events read, of the horizon and of the oldest slice remembered, and a restart rebuilds it by
reading again from :meth:`Horizon.first_offset` on. What is forgotten early is counted, and an event of that time
that pairs with nothing is late, never a new request: a repeat that is not recognised must not look like one.
Times that the horizon has not passed are kept, for their events are not late yet, up to twice ``max_keys``.

Memory: about 100 bytes a key and the key itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import numpy as np

from paritygate.comparators.rows import I64

Key = TypeVar("Key", bound=Hashable)

#: Keys kept of a rollout in a partition, whatever arrives; a key is the same for both arms.
MAX_KEYS: Final = 1 << 18
#: Widest slice, and how many ``dedupe_ms`` has at least: how finely time is forgotten.
_WIDEST_MS: Final = 250
_SLICES: Final = 8
#: Slice of the baseline's event and of the candidate's, each None where it is not remembered.
_Slices = tuple[int | None, int | None]
_UNKNOWN: Final[_Slices] = (None, None)


class Horizon:
    """Which slices of event time are remembered, and where in each source they begin."""

    def __init__(self, dedupe_ms: int) -> None:
        self.dedupe_ms = dedupe_ms
        self.width_ms = max(1, min(_WIDEST_MS, dedupe_ms // _SLICES))
        self.oldest: int | None = None
        #: Slices below are settled.
        self.settled: int | None = None
        self._first: dict[tuple[int, int], int] = {}

    @property
    def from_ms(self) -> int | None:
        """Events before it are not remembered; None: all are."""
        return None if self.oldest is None else self.oldest * self.width_ms

    def of(self, event_at_ms: I64) -> I64:
        """Slice of each event time."""
        return event_at_ms // self.width_ms

    def remembers(self, piece: int) -> bool:
        """Whether keys of this slice are still filed."""
        return self.oldest is None or piece >= self.oldest

    def note(self, source: int, event_at_ms: I64, offset: I64) -> None:
        """Events of a source were read, in offset order."""
        if not len(offset):
            return
        slices = self.of(event_at_ms)
        if slices[0] == slices.max() == slices.min():
            self._note(source, int(slices[0]), int(offset[0]))
            return
        distinct, place = np.unique(slices, return_index=True)
        for piece, first in zip(distinct.tolist(), offset[place].tolist(), strict=True):
            self._note(source, piece, first)

    def _note(self, source: int, piece: int, first: int) -> None:
        if self.remembers(piece):
            self._first[source, piece] = min(first, self._first.get((source, piece), first))

    def first_offset(self, source: int) -> int | None:
        """Where re-reading the source must begin to remember all; None where nothing is remembered of it."""
        return min((o for (s, _), o in self._first.items() if s == source), default=None)

    def move(self, horizon_ms: int) -> None:
        """Requests before ``horizon_ms`` are settled for good."""
        settled = horizon_ms // self.width_ms
        self.settled = settled if self.settled is None else max(settled, self.settled)
        self.forget_before((horizon_ms - self.dedupe_ms) // self.width_ms)

    def forget_before(self, oldest: int) -> None:
        """Remember only this slice and later ones; it never steps back."""
        if self.oldest is None or oldest > self.oldest:
            self.oldest = oldest
            self._first = {k: o for k, o in self._first.items() if k[1] >= oldest}


class Seen(Generic[Key]):
    """Keys of both arms. ``forgotten``: how many had to go before ``dedupe_ms`` was over, since it was made."""

    def __init__(self, dedupe_ms: int, max_keys: int = MAX_KEYS) -> None:
        self.horizon = Horizon(dedupe_ms)
        self.forgotten = 0
        self._max_keys = max_keys
        self._slices: dict[Key, _Slices] = {}
        self._filed: dict[int, list[list[Key]]] = {}

    def __len__(self) -> int:
        return len(self._slices)

    def has_none(self, keys: set[Key]) -> bool:
        """Whether none of the keys is filed, of either arm."""
        return self._slices.keys().isdisjoint(keys)

    def known(self, arm: int, keys: set[Key]) -> set[Key]:
        """Those of the keys whose event of this arm was read and waits no longer."""
        return {key for key in self._slices.keys() & keys if self._has(arm, self._slices[key])}

    def settled_without(self, arm: int, keys: set[Key]) -> set[Key]:
        """Those of the keys that were settled by the other arm's event alone."""
        hits = {key: self._slices[key] for key in self._slices.keys() & keys}
        return {key for key, found in hits.items() if not self._has(arm, found) and self._has(1 - arm, found)}

    def _has(self, arm: int, slices: _Slices) -> bool:
        piece = slices[arm]
        return piece is not None and self.horizon.remembers(piece)

    def add_pairs(
        self, keys: list[Key], baseline_at_ms: I64, candidate_at_ms: I64, *, unfiled: bool = False
    ) -> None:
        """Both arms' events of these requests are settled. ``unfiled``: none of them is filed, as was asked."""
        if keys:
            ours, theirs = (self.horizon.of(at_ms) for at_ms in (baseline_at_ms, candidate_at_ms))
            self._file(keys, ours, theirs, unfiled=unfiled)

    def add(self, arm: int, keys: list[Key], event_at_ms: I64) -> None:
        """One arm's events of these requests are settled."""
        if keys:
            pieces = self.horizon.of(event_at_ms)
            if arm:
                self._file(keys, None, pieces)
            else:
                self._file(keys, pieces, None)

    def move(self, horizon_ms: int) -> None:
        """Forget what no repeat within ``dedupe_ms`` can ask for."""
        self.horizon.move(horizon_ms)
        self._drop()

    def _file(self, keys: list[Key], ours: I64 | None, theirs: I64 | None, *, unfiled: bool = False) -> None:
        newest = max(int(pieces.max()) for pieces in (ours, theirs) if pieces is not None)
        if not self.horizon.remembers(newest):
            return
        slices = _coded(len(keys), ours, theirs)
        if unfiled or self._slices.keys().isdisjoint(keys):
            before = len(self._slices)
            self._slices.update(zip(keys, slices, strict=True))
            fresh = keys if len(self._slices) - before == len(keys) else list(dict.fromkeys(keys))
        else:
            fresh = []
            for key, new in zip(keys, slices, strict=True):
                known = self._slices.get(key)
                merged = new if known is None else (_later(known[0], new[0]), _later(known[1], new[1]))
                if merged != known:  # a key that comes again and again is listed once a slice
                    self._slices[key] = merged
                    fresh.append(key)
        # By the newest of the batch: the others are not known any more when their own slice is forgotten.
        self._filed.setdefault(newest, []).append(fresh)
        if len(self._slices) > self._max_keys:
            self._make_room()

    def _make_room(self) -> None:
        before = len(self._slices)
        while len(self._slices) > self._max_keys:
            oldest = min(self._filed)
            is_settled = self.horizon.settled is not None and oldest < self.horizon.settled
            if not is_settled and len(self._slices) <= 2 * self._max_keys:
                break
            self.horizon.forget_before(oldest + 1)
            self._drop()
        self.forgotten += before - len(self._slices)

    def _drop(self) -> None:
        """Delete what is not remembered any more, as far as it was filed under such a slice."""
        oldest = self.horizon.oldest
        if oldest is None:
            return
        slices = self._slices
        for piece in [p for p in self._filed if p < oldest]:
            for keys in self._filed.pop(piece):
                for key in keys:
                    ours, theirs = slices.get(key, _UNKNOWN)
                    if (ours is None or ours < oldest) and (theirs is None or theirs < oldest):
                        slices.pop(key, None)


def _coded(count: int, ours: I64 | None, theirs: I64 | None) -> list[_Slices]:
    """Both slices of each key; equal ones are one object."""
    if ours is not None and theirs is not None and not np.array_equal(ours, theirs):
        pairs = list(zip(ours.tolist(), theirs.tolist(), strict=True))
        one = {pair: pair for pair in pairs}
        return [one[pair] for pair in pairs]
    pieces = ours if ours is not None else theirs
    assert pieces is not None
    distinct, place = np.unique(pieces, return_inverse=True)
    made: list[_Slices] = [
        (p if ours is not None else None, p if theirs is not None else None) for p in distinct.tolist()
    ]
    return made * count if len(made) == 1 else [made[i] for i in place.tolist()]


def _later(known: int | None, new: int | None) -> int | None:
    if known is None or new is None:
        return new if known is None else known
    return max(known, new)
