"""Seen: which keys were read, for as long as repeats must be recognised, and the horizon behind which none is.

Law: a key is filed under the slice of its own event's time and forgotten when the horizon has left that slice
``dedupe_ms`` behind, or earlier, oldest slice first, where more than ``max_keys`` are filed. So the memory is a
function of the events read, of the horizon and of the oldest slice remembered, and a restart rebuilds it by
reading again from :meth:`Horizon.first_offset` on. Times that the horizon has not passed are kept, for their events
are not late yet, up to twice ``max_keys``. What is forgotten early is counted.

Memory: about 100 bytes a key and the key itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import numpy as np

from paritygate.schemas.arrays import I64

Key = TypeVar("Key", bound=Hashable)

#: Keys kept of a rollout in a partition, whatever arrives; a key is the same for both arms.
MAX_KEYS: Final = 1 << 18
#: Widest slice, and how many ``dedupe_ms`` has at least: how finely time is forgotten.
_WIDEST_MS: Final = 250
_SLICES: Final = 8


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

    def gives_up(self, oldest: int, *, must: bool) -> bool:
        """Forget this slice for want of room, unless its events are not late yet; ``must``: those too."""
        if not must and (self.settled is None or oldest >= self.settled):
            return False
        self.forget_before(oldest + 1)
        return True


class Seen(Generic[Key]):
    """Keys of events. ``forgotten``: how many had to go before ``dedupe_ms`` was over, since it was made."""

    def __init__(self, dedupe_ms: int, max_keys: int = MAX_KEYS) -> None:
        self.horizon = Horizon(dedupe_ms)
        self.forgotten = 0
        self._max_keys = max_keys
        self._slices: dict[Key, int] = {}
        self._filed: dict[int, list[Key]] = {}

    def __len__(self) -> int:
        return len(self._slices)

    def __contains__(self, key: Key) -> bool:
        """Whether an event with this key was read."""
        return key in self._slices

    def add(self, key: Key, event_at_ms: int) -> None:
        """An event with this key was read; of several the newest counts."""
        piece = event_at_ms // self.horizon.width_ms
        if not self.horizon.remembers(piece) or piece <= self._slices.get(key, piece - 1):
            return
        self._slices[key] = piece
        self._filed.setdefault(piece, []).append(key)
        if len(self._slices) > self._max_keys:
            self._make_room()

    def move(self, horizon_ms: int) -> None:
        """Forget what no repeat within ``dedupe_ms`` can ask for."""
        self.horizon.move(horizon_ms)
        self._drop()

    def _make_room(self) -> None:
        before = len(self._slices)
        while len(self._slices) > self._max_keys:
            if not self.horizon.gives_up(min(self._filed), must=len(self._slices) > 2 * self._max_keys):
                break
            self._drop()
        self.forgotten += before - len(self._slices)

    def _drop(self) -> None:
        """Delete what is not remembered any more."""
        oldest = self.horizon.oldest
        if oldest is None:
            return
        for piece in [p for p in self._filed if p < oldest]:
            for key in self._filed.pop(piece):
                if self._slices.get(key, oldest) < oldest:
                    del self._slices[key]
