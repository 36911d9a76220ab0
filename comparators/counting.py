"""Counting: settled requests into the windows of their times.

Law: what a window holds is the sum over its requests of what each of them alone would add, in whatever order and
batches they settle; only which examples are kept is a choice among them, and one that no order changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from paritygate.comparators import confidence, instances, labels, latency, numbers
from paritygate.comparators.measuring import Measured, examples_of
from paritygate.comparators.segments import Vocabulary
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import COUNT_NAMES, Counts, merge_examples
from paritygate.comparators.windows import Window, Windows, groups
from paritygate.schemas.arrays import B1, I64
from paritygate.schemas.codes import Codes
from paritygate.schemas.compiled import compiled
from paritygate.schemas.report import Example

#: The trace id of a settled request, by its row.
TraceOf = Callable[[int], str]
_NAMES: Final = len(COUNT_NAMES)


def untraced(_row: int) -> str:
    """What waited lies in no batch any more, and its trace is not kept."""
    return ""


class Counting:
    """Adds settled requests to the windows of one rollout in one partition."""

    def __init__(self, settings: JoinSettings, windows: Windows, vocabulary: Vocabulary) -> None:
        self._settings, self._windows, self._vocabulary = settings, windows, vocabulary

    def add(self, measured: Measured, trace_of: TraceOf = untraced) -> None:
        """Count requests, each once, in the window of its time."""
        for index, rows in groups(self._windows.place(measured.event_at_ms)):
            window = self._windows.at(index)
            self._count_cells(window, measured, rows)
            for found in self._histograms(measured, rows):
                for name, buckets in found.items():
                    window.add_histogram(name, buckets)
            if self._settings.numbers:
                self._count_numbers(window, measured, rows)
            _note_remarks(window, measured, rows)
            self._keep_examples(window, measured, rows, trace_of)

    def _count_cells(self, window: Window, measured: Measured, rows: I64) -> None:
        cell = measured.cell[rows].astype(np.int64)
        window.add_counts(_counts(measured.flags, rows, cell, len(self._vocabulary)))
        window.bump("segment_overflow", int(self._vocabulary.overflowed()[cell].sum()))

    def _histograms(self, measured: Measured, rows: I64) -> Iterator[Mapping[str, I64]]:
        timed = rows[measured.timed[rows]]
        if len(timed):
            yield latency.pair_histograms(
                measured.baseline_ms[timed], measured.candidate_ms[timed], self._settings.latency_shifts
            )
        if self._settings.instances:
            yield instances.count(measured, rows)
        yield confidence.pair_histograms(measured.baseline_confidence[rows], measured.candidate_confidence[rows])
        if self._settings.label_shares:
            both = rows[measured.answered[rows]]
            ours, theirs = measured.baseline_label, measured.candidate_label
            yield labels.pair_histograms(Codes.of(ours.take(both)), Codes.of(theirs.take(both)))
            for arm, texts, seen in (
                ("baseline", ours, measured.baseline_seen), ("candidate", theirs, measured.candidate_seen),
            ):  # fmt: skip
                yield labels.live_histogram(arm, Codes.of(texts.take(rows[seen[rows]])))

    def _count_numbers(self, window: Window, measured: Measured, rows: I64) -> None:
        both = rows[measured.answered[rows]]
        histograms, totals = numbers.pair_counts(
            self._settings.numbers, measured.baseline_numbers[both], measured.candidate_numbers[both]
        )
        for name, buckets in histograms.items():
            window.add_histogram(name, buckets)
        for key, count in totals.items():
            window.bump(key, count)

    def _keep_examples(self, window: Window, measured: Measured, rows: I64, trace_of: TraceOf) -> None:
        examples = tuple(
            Example(
                request_id=r, kind=k, detail=d, values=self._vocabulary.values(int(measured.cell[i])),
                trace_id=trace_of(i),
            )
            for k, r, d, i in examples_of(measured, rows, self._settings.max_examples)
        )  # fmt: skip
        if examples:
            window.examples = merge_examples(window.examples, examples, self._settings.max_examples)


def _note_remarks(window: Window, measured: Measured, rows: I64) -> None:
    inside = np.zeros(len(measured.cell), np.bool_)
    inside[rows] = True
    for key, noted in measured.remarks.items():
        window.bump(key, int(inside[noted].sum()))


def _counts(flags: B1, rows: I64, cell: I64, cells: int) -> Counts:
    """How many of some requests have each flag, by their cell."""
    counts = np.zeros((cells, _NAMES), np.int64)
    _add(flags, np.flatnonzero(flags.any(axis=1)), rows, cell, counts)
    return counts


@compiled
def _add(flags: Any, up: Any, rows: Any, cell: Any, counts: Any) -> None:
    for name in up:
        for i in range(len(rows)):
            counts[cell[i], name] += flags[name, rows[i]]
