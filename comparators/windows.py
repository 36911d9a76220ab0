"""Windows: half-open spans of event time, open, closed or gone, and what was counted in each.

Law: a window is closed once the watermark has passed its end and no request of it waits for its other arm:
then its cohort is settled, fast answers and slow ones alike. At the horizon (watermark minus grace) it closes
whatever waits, for an unpaired event of it would be late. A closed window stays updatable until ``retain_ms``
after the horizon and is reported again as a whole; after that it is never made anew, for an emptier twin
would replace the full one. What belongs to a window that is gone is counted in the oldest open one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.segments import Vocabulary
from paritygate.comparators.tally import COUNT_NAMES, Counts, Tally
from paritygate.schemas.arrays import I64
from paritygate.schemas.report import Example

_NAMES = len(COUNT_NAMES)


@dataclass(slots=True)
class Window:
    """Content of one window. ``counts`` has a row per cell; ``changed`` since it was last reported."""

    counts: Counts = field(default_factory=lambda: np.zeros((0, _NAMES), np.int64))
    histograms: dict[str, Counts] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    changed: bool = True
    #: Counts and histograms as plain data; None since something was added to them.
    _plain: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    def add_counts(self, counts: Counts) -> None:
        """Add counts of the first ``len(counts)`` cells."""
        self._plain = None
        if len(counts) > len(self.counts):
            grown = np.zeros((len(counts), _NAMES), np.int64)
            grown[: len(self.counts)] = self.counts
            self.counts = grown
        self.counts[: len(counts)] += counts

    def add_histogram(self, name: str, counts: Counts) -> None:
        """Add dense bucket counts."""
        self._plain = None
        have = self.histograms.get(name)
        if have is None:
            self.histograms[name] = counts.copy()
        else:
            have += counts

    def bump(self, key: str, by: int) -> None:
        """Add to a total."""
        if by:
            self.totals[key] = self.totals.get(key, 0) + by

    def tally(self, vocabulary: Vocabulary) -> Tally:
        """The content in its public form."""
        tally = Tally(vocabulary.dimensions, totals=dict(self.totals))
        some, cells = np.asarray(self.counts.any(axis=1)), vocabulary.in_order()
        cells = cells[cells < len(some)]
        cells = cells[some[cells]]
        tally.cells = dict(zip(map(vocabulary.values, cells.tolist()), self.counts[cells], strict=True))
        tally.histograms = {name: h.copy() for name, h in self.histograms.items() if h.any()}
        return tally

    def to_plain(self) -> dict[str, Any]:
        """The content as plain data, sparse; cells by the codes of the snapshot's vocabulary.

        Most windows of a snapshot are those of the one before, so their arrays are packed once.
        """
        if self._plain is None:
            self._plain = self._packed_arrays()
        return {
            **self._plain, "totals": dict(self.totals), "changed": self.changed,
            "examples": [[e.request_id, e.kind, e.detail, list(e.values)] for e in self.examples],
            # Apart, so that a worker that knows of no traces reads the rest.
            "traces": [e.trace_id for e in self.examples],
        }  # fmt: skip

    def _packed_arrays(self) -> dict[str, Any]:
        cells = np.flatnonzero(self.counts.any(axis=1))
        histograms = []
        for name, counts in self.histograms.items():
            index = np.flatnonzero(counts)
            histograms.append([name, _packed(index), _packed(counts[index])])
        return {
            "cells": _packed(cells), "counts": _packed(self.counts[cells].ravel()), "names": list(COUNT_NAMES),
            "histograms": histograms,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Window:
        """Read :meth:`to_plain` back; counts are found by name, so older snapshots stay readable."""
        window = cls(totals=dict(plain["totals"]), changed=plain["changed"])
        examples = plain["examples"]
        window.examples = tuple(
            Example(request_id=r, kind=k, detail=d, values=tuple(v), trace_id=t)
            for (r, k, d, v), t in zip(examples, plain.get("traces", [""] * len(examples)), strict=True)
        )
        cells, names = _unpacked(plain["cells"]), list(plain["names"])
        counts = np.zeros((int(cells.max()) + 1 if len(cells) else 0, _NAMES), np.int64)
        stored = _unpacked(plain["counts"]).reshape(len(cells), len(names))
        for place, name in enumerate(COUNT_NAMES):
            if name in names:
                counts[cells, place] = stored[:, names.index(name)]
        window.counts = counts
        for name, index, values in plain["histograms"]:
            dense = np.zeros(BUCKET_COUNTS[name.partition(".")[0]], np.int64)
            dense[_unpacked(index)] = _unpacked(values)
            window.histograms[name] = dense
        return window


class Windows:
    """The windows of one rollout in one partition, by index (``start // window_ms``)."""

    def __init__(self, window_ms: int, retain_ms: int) -> None:
        self.window_ms, self.retain_ms = window_ms, retain_ms
        self.by_index: dict[int, Window] = {}
        #: Index of the oldest open window, and of the oldest that may still be written; None: no horizon yet.
        self.oldest_open: int | None = None
        self.oldest_kept: int | None = None
        #: Nothing waits in the windows below. It may step back: an event can still come to a closed window.
        self.settled: int | None = None

    def place(self, event_at_ms: I64) -> I64:
        """Index of the window in which each event time is counted."""
        index = event_at_ms // self.window_ms
        if self.oldest_kept is None or self.oldest_open is None:
            return index
        placed: I64 = np.where(index < self.oldest_kept, self.oldest_open, index)
        return placed

    def at(self, index: int) -> Window:
        """The window to write to; it counts as changed."""
        window = self.by_index.get(index)
        if window is None:
            window = self.by_index[index] = Window()
        window.changed = True
        return window

    def late(self, oldest_event_at_ms: int) -> Window:
        """Where late events are counted: the oldest open window."""
        if self.oldest_open is None:
            return self.at(oldest_event_at_ms // self.window_ms)
        return self.at(self.oldest_open)

    def bump(self, key: str, event_at_ms: I64) -> None:
        """Count events under a total, each in its window."""
        for index, rows in groups(self.place(event_at_ms)):
            self.at(index).bump(key, len(rows))

    def move(self, horizon_ms: int, settled_ms: int | None = None) -> None:
        """Close what is settled; forget what is too old, but never before it was reported.

        ``settled_ms``: no request before it waits; counts where it is beyond the horizon.
        """
        self.settled = max(horizon_ms, horizon_ms if settled_ms is None else settled_ms) // self.window_ms
        oldest_kept = (horizon_ms - self.retain_ms) // self.window_ms
        self.oldest_open = self.settled if self.oldest_open is None else max(self.oldest_open, self.settled)
        self.oldest_kept = oldest_kept if self.oldest_kept is None else max(self.oldest_kept, oldest_kept)
        for index in [i for i, w in self.by_index.items() if i < self.oldest_kept and not w.changed]:
            del self.by_index[index]

    def changed_and_closed(self) -> Iterator[tuple[int, Window]]:
        """What is to be reported, oldest first; a closed window in which an event waits again is not."""
        if self.settled is None:
            return
        for index in sorted(self.by_index):
            if index < self.settled and self.by_index[index].changed:
                yield index, self.by_index[index]


def groups(index: I64) -> Iterator[tuple[int, I64]]:
    """Each distinct index with the rows that have it, smallest first."""
    if not len(index):
        return
    lowest, highest = int(index.min()), int(index.max())
    if lowest == highest:
        yield lowest, np.arange(len(index))
        return
    for value in np.unique(index).tolist():
        yield value, np.flatnonzero(index == value)


def _packed(values: I64) -> bytes:
    return values.astype("<i8").tobytes()


def _unpacked(data: bytes) -> I64:
    return np.frombuffer(data, "<i8").astype(np.int64)
