"""Seen: which events of which arm were read and wait no longer, for as long as repeats must be recognised.

Law: an id is filed under the generation of its own event's time (``event_at_ms // dedupe_ms``) and forgotten
when the horizon has left that generation and one more behind. So the memory is a function of the events read
and of the horizon alone, and a restart rebuilds it by re-reading from :meth:`Generations.first_offset` on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np

from paritygate.comparators.rows import B1, I64

Key = TypeVar("Key", bound=Hashable)


class Generations(Generic[Key]):
    """A set of keys in generations of event time."""

    def __init__(self) -> None:
        self.sets: dict[int, set[Key]] = {}

    def add(self, generation: int, keys: Iterable[Key]) -> None:
        """File keys under a generation."""
        self.sets.setdefault(generation, set()).update(keys)

    def among(self, keys: set[Key]) -> set[Key]:
        """Those of the keys that are filed."""
        found: set[Key] = set()
        for filed in self.sets.values():
            if not filed.isdisjoint(keys):
                found |= filed & keys
        return found

    def forget(self, before: int) -> None:
        """Drop the generations below ``before``."""
        for generation in [g for g in self.sets if g < before]:
            del self.sets[generation]


class Horizon:
    """Which generations are remembered, and where in each source they begin."""

    def __init__(self, dedupe_ms: int) -> None:
        self.dedupe_ms = dedupe_ms
        self.oldest: int | None = None
        self._first: dict[tuple[int, int], int] = {}

    def of(self, event_at_ms: I64) -> I64:
        """Generation of each event time."""
        return event_at_ms // self.dedupe_ms

    def remembers(self, generation: int) -> bool:
        """Whether keys of this generation are still filed."""
        return self.oldest is None or generation >= self.oldest

    def note(self, source: int, event_at_ms: I64, offset: I64) -> None:
        """Events of a source were read, in offset order."""
        if not len(offset):
            return
        generations = self.of(event_at_ms)
        if generations[0] == generations.max() == generations.min():
            self._note(source, int(generations[0]), int(offset[0]))
            return
        distinct, place = np.unique(generations, return_index=True)
        for generation, first in zip(distinct.tolist(), offset[place].tolist(), strict=True):
            self._note(source, generation, first)

    def _note(self, source: int, generation: int, first: int) -> None:
        if self.remembers(generation):
            self._first[source, generation] = min(first, self._first.get((source, generation), first))

    def first_offset(self, source: int) -> int | None:
        """Where re-reading the source must begin to remember all; None where nothing is remembered of it."""
        return min((o for (s, _), o in self._first.items() if s == source), default=None)

    def move(self, horizon_ms: int) -> int:
        """Requests before ``horizon_ms`` are settled for good. Returns the oldest generation remembered."""
        oldest = horizon_ms // self.dedupe_ms - 1
        if self.oldest is None or oldest > self.oldest:
            self.oldest = oldest
            self._first = {k: o for k, o in self._first.items() if k[1] >= oldest}
        return self.oldest


class Seen:
    """Ids of both arms. An id that both arms showed in the same generation is kept once."""

    def __init__(self, dedupe_ms: int) -> None:
        self.horizon = Horizon(dedupe_ms)
        self._both: Generations[str] = Generations()
        self._alone: tuple[Generations[str], Generations[str]] = (Generations(), Generations())

    def known(self, arm: int, ids: set[str]) -> set[str]:
        """Those of the ids whose event of this arm was read and waits no longer."""
        return self._both.among(ids) | self._alone[arm].among(ids)

    def settled_without(self, arm: int, ids: set[str]) -> set[str]:
        """Those of the ids that were settled by the other arm's event alone."""
        return self._alone[1 - arm].among(ids)

    def add_pairs(self, ids: list[str], baseline_at_ms: I64, candidate_at_ms: I64) -> None:
        """Both arms' events of these requests are settled."""
        generation = self.horizon.of(baseline_at_ms)
        same = generation == self.horizon.of(candidate_at_ms)
        if same.all():
            self._file(self._both, ids, generation)
            return
        self._file(self._both, _pick(ids, same), generation[same])
        for arm, times in enumerate((baseline_at_ms, candidate_at_ms)):
            self.add(arm, _pick(ids, ~same), times[~same])

    def add(self, arm: int, ids: list[str], event_at_ms: I64) -> None:
        """One arm's events of these requests are settled."""
        self._file(self._alone[arm], ids, self.horizon.of(event_at_ms))

    def move(self, horizon_ms: int) -> None:
        """Forget what no repeat within ``dedupe_ms`` can ask for."""
        oldest = self.horizon.move(horizon_ms)
        for generations in (self._both, *self._alone):
            generations.forget(oldest)

    def fold(self) -> None:
        """Keep ids of both arms once, after a replay that read the arms one by one."""
        mine, theirs = self._alone
        for generation in mine.sets.keys() & theirs.sets.keys():
            both = mine.sets[generation] & theirs.sets[generation]
            self._both.add(generation, both)
            mine.sets[generation] -= both
            theirs.sets[generation] -= both

    def _file(self, into: Generations[str], ids: list[str], generations: I64) -> None:
        if not ids:
            return
        lowest = int(generations.min())
        if lowest == int(generations.max()):
            if self.horizon.remembers(lowest):
                into.add(lowest, ids)
            return
        for generation in np.unique(generations).tolist():
            if self.horizon.remembers(generation):
                into.add(generation, _pick(ids, generations == generation))


def _pick(ids: list[str], mask: B1) -> list[str]:
    return [ids[i] for i in np.flatnonzero(mask).tolist()]
