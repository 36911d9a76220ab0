"""Tally: what happened in some set of windows, as integers that merge by ``+``.

Law: a tally is a vector in a free abelian group: ``a + b == b + a``, ``(a + b) - b == a``, and the tally of
a set of requests does not depend on their order, partition or batch. Only integers, so no rounding ever
depends on arrival order. This is the only kind of state that may feed a decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress, repeat
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from paritygate.schemas.report import Cells, Example, Histograms, WindowReport

Counts = npt.NDArray[np.int64]

#: Counts kept per segment cell. A *request* is a settled one: both arms answered or failed (``pair``), or
#: the baseline answered and the candidate's answer never came (``missing_candidate``, a failure of the
#: candidate). Requests whose baseline never came, or that were shed, are counted apart and never as good.
COUNT_NAMES: Final[tuple[str, ...]] = (
    "requests",  # pairs + missing_candidate: the denominator of every rate
    "pairs",  # both arms' events arrived
    "missing_candidate",  # candidate's event never came: a candidate failure
    "missing_baseline",  # baseline's event never came: completeness only
    "shed",  # an arm was not asked: completeness only
    "baseline_errors",  # status error or timeout
    "candidate_errors",  # status error or timeout, or missing
    "candidate_only_errors",  # candidate failed, baseline did not
    "baseline_only_errors",  # baseline failed, candidate did not
    "baseline_checked",  # outputs validated (status ok)
    "baseline_invalid",
    "candidate_checked",
    "candidate_invalid",
    "candidate_only_invalid",  # among pairs with both outputs checked
    "baseline_only_invalid",
    "labels_compared",  # pairs in which both arms gave a label
    "label_changes",
    "output_changes",  # pairs whose outputs differ structurally beyond tolerance
    "live_candidate",  # requests whose user got the candidate's answer, whatever became of the mirror
    "live_candidate_errors",
    "live_candidate_checked",
    "live_candidate_invalid",
    "live_baseline",  # requests whose user got the baseline's answer
    "live_baseline_errors",
    "slower",  # pairs, both answered: candidate clearly slower than it may be (comparators.measuring.CLEARLY)
    "faster",  # the mirror image: candidate as clearly faster
    "timeouts_counted",  # requests whose timeouts were counted: all of them, but none of an older version's report
    "baseline_timeouts",  # status timeout
    "candidate_timeouts",  # status timeout, or missing; each is one of the errors too
    "candidate_only_timeouts",  # candidate timed out, baseline did not
    "baseline_only_timeouts",
    "live_candidate_timeouts",
)
INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(COUNT_NAMES)}

Values = tuple[str, ...]
#: Where one of so many cells changes, all are put anew, as rows of one matrix, for that is faster. Where fewer do,
#: their rows stand alone: each would else keep a whole matrix.
_ANEW: Final = 4


def zero_counts() -> Counts:
    """A count vector of zeros, one place per name of ``COUNT_NAMES``."""
    return np.zeros(len(COUNT_NAMES), np.int64)


@dataclass(slots=True)
class Tally:  # noqa: PLW1641  mutable, so not hashable
    """Additive content of some windows of one rollout.

    ``cells``: per combination of segment values (one value per declared dimension) a vector of
    ``COUNT_NAMES``. ``histograms``: dense bucket counts by name (``latency.baseline``, …; see
    ``comparators.latency`` and ``comparators.scores`` for the buckets). ``totals``: counts without segment.
    """

    dimensions: Values
    cells: dict[Values, Counts] = field(default_factory=dict)
    histograms: dict[str, Counts] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def add(self, other: Tally, sign: int = 1) -> None:
        """Merge ``other`` into this tally, or take it out with ``sign=-1``. Zero entries are dropped."""
        if _ANEW * len(other.cells) >= len(self.cells):
            cells = [*self.cells, *(values for values in other.cells if values not in self.cells)]
            nothing = repeat(zero_counts())
            mine, theirs = (_stacked(map(of.cells.get, cells, nothing)) for of in (self, other))
            merged = mine + sign * theirs
            some = np.asarray(merged.any(axis=1))
            self.cells = dict(zip(compress(cells, some.tolist()), merged[some], strict=True))
        else:
            for values, counts in other.cells.items():
                total = self.cells.get(values, zero_counts()) + sign * counts
                if total.any():
                    self.cells[values] = total
                else:
                    self.cells.pop(values, None)
        for name, buckets in other.histograms.items():
            have = self.histograms.get(name)
            total = sign * buckets if have is None else have + sign * buckets
            if total.any():
                self.histograms[name] = total
            else:
                self.histograms.pop(name, None)
        for key, count in other.totals.items():
            self.bump(key, sign * count)

    def __add__(self, other: Tally) -> Tally:
        total = Tally(self.dimensions, dict(self.cells), dict(self.histograms), dict(self.totals))
        total.add(other)
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return (
            self.dimensions == other.dimensions
            and self.totals == other.totals
            and self.cells.keys() == other.cells.keys()
            and self.histograms.keys() == other.histograms.keys()
            and all(np.array_equal(v, other.cells[k]) for k, v in self.cells.items())
            and all(np.array_equal(v, other.histograms[k]) for k, v in self.histograms.items())
        )

    def bump(self, key: str, by: int = 1) -> None:
        """Add to a total; totals that become zero vanish, so that equal content is equal."""
        value = self.totals.get(key, 0) + by
        if value:
            self.totals[key] = value
        else:
            self.totals.pop(key, None)

    def rows(self) -> Counts:
        """Counts of every cell in the order of ``cells``, ``[cells, COUNT_NAMES]``; read-only."""
        return _stacked(self.cells.values())

    def overall(self) -> Counts:
        """Counts over all cells."""
        total: Counts = self.rows().sum(axis=0)
        return total

    def count(self, name: str) -> int:
        """One count over all cells."""
        return int(self.overall()[INDEX[name]])

    def to_parts(self) -> tuple[Cells, Histograms, dict[str, int]]:
        """The wire form: cells and histograms in a canonical order, sparse."""
        counts = self.rows()
        some = np.asarray(counts.any(axis=1)).tolist()
        order = sorted((values, row) for row, values in enumerate(self.cells) if some[row])
        cells = Cells([values for values, _ in order], counts[[row for _, row in order]])
        filled = [(name, buckets) for name, buckets in sorted(self.histograms.items()) if buckets.any()]
        indexes = [np.flatnonzero(buckets) for _, buckets in filled]
        none = np.zeros(0, np.int64)
        histograms = Histograms(
            [name for name, _ in filled],
            [0, *accumulate(map(len, indexes))],
            np.concatenate([none, *indexes]),
            np.concatenate([none, *(buckets[index] for (_, buckets), index in zip(filled, indexes, strict=True))]),
        )
        return cells, histograms, dict(sorted(self.totals.items()))

    @classmethod
    def from_report(cls, report: WindowReport, bucket_counts: dict[str, int]) -> Tally:
        """Read a report back.

        ``bucket_counts``: length of the dense array per histogram family (the part of the name before the
        first dot). Counts that this version does not know are ignored, names it misses are zero.
        """
        tally = cls(report.dimensions, totals=dict(report.totals))
        values, told = _columns(report)
        place = [INDEX.get(name, -1) for name in report.count_names]
        known = [i for i, p in enumerate(place) if p >= 0]
        counts = np.zeros((len(values), len(COUNT_NAMES)), np.int64)
        counts[:, [place[i] for i in known]] = told[:, known]
        tally.cells = dict(zip(values, counts, strict=True))
        for name, index, buckets in _histograms(report):
            dense = np.zeros(bucket_counts[name.partition(".")[0]], np.int64)
            dense[index] = buckets
            tally.histograms[name] = dense
        return tally


def _stacked(counts: Iterable[Counts]) -> Counts:
    """Count vectors as rows."""
    # Bytes of a few thousand short arrays are joined several times faster than the arrays.
    return np.frombuffer(b"".join(cast("Iterable[bytes]", counts)), np.int64).reshape(-1, len(COUNT_NAMES))


def _columns(report: WindowReport) -> tuple[Sequence[Values], Counts]:
    """Values and counts of the cells."""
    cells = report.cells
    if isinstance(cells, Cells):
        return cells.values, cells.counts
    counts = np.array([cell.counts for cell in cells], np.int64).reshape(len(cells), len(report.count_names))
    return [cell.values for cell in cells], counts


def _histograms(report: WindowReport) -> Iterable[tuple[str, Any, Any]]:
    """Name, bucket numbers and counts of each histogram."""
    if isinstance(report.histograms, Histograms):
        return report.histograms.columns()
    return ((h.name, list(h.index), h.counts) for h in report.histograms)


def merge_examples(a: tuple[Example, ...], b: tuple[Example, ...], limit: int) -> tuple[Example, ...]:
    """Keep the ``limit`` smallest by (kind, request id): order-free, so every replay shows the same ones.

    Of one that is told with a trace and without, it keeps the trace.
    """
    found: dict[tuple[str, str, str, Values], Example] = {}
    for example in (*a, *b):
        what = (example.kind, example.request_id, example.detail, example.values)
        known = found.get(what)
        if known is None or known.trace_id < example.trace_id:
            found[what] = example
    return tuple(found[what] for what in sorted(found)[:limit])
