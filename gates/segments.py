"""Segments: counts of every single dimension, pair and triple of dimensions, and which of them is worst.

Law: all requests have 1/2 of the stake, single dimensions 1/4, pairs 1/8, triples 1/8, and inside a family a
weight that only ever falls as more segments are seen (:func:`family_log_weight`). So the weighted mean of
e-values condemns at the declared error rate, however many segments there are and whenever each of them
appears, and it follows from counts alone. Naming the worst one is description, made after the verdict.

Why that holds: call v_r the weight that a family gives each of its segments when r of them have been seen. It
never rises with r, and sum_r v_r <= 1. Give the r-th segment to appear the stake v_r: a segment holds E = 1 until
its first request, and which segment a request is in is known before how it ends, so the sum of v_r * E_r, with
the stakes of those not yet seen lying idle, is a test supermartingale that begins at 1 or less. What is used
here is never more, for at any look v_now <= v_r for every segment seen so far, and idle stakes are not counted.
Mass that is given up is never used again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence.mixture import log_mixture
from paritygate.comparators.tally import COUNT_NAMES, INDEX, Counts, Tally

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Deepest combination of dimensions.
DEPTH: Final = 3
#: Log weight of all requests together, and of the families of one, two and three dimensions.
ALL_LOG_WEIGHT: Final = math.log(1 / 2)
FAMILY_LOG_WEIGHTS: Final = (math.log(1 / 4), math.log(1 / 8), math.log(1 / 8))
#: Sizes of a family, each twice the one before: up to ``SMALLEST`` segments cost the same, up to ``LARGE`` every
#: doubling has an equal part of the mass, beyond it half of the part before.
SMALLEST: Final = 8
LARGE: Final = 2048
#: Parts of the mass in units of what the first block has: 1 for it, 1/2 for each doubling up to LARGE, 1/2 for all
#: beyond.
PRICE: Final = 1.0 + 0.5 * math.log2(LARGE / SMALLEST) + 0.5
#: A count that fewer than one in so many cells hold is summed over those alone.
SPARSE: Final = 3
#: Log-likelihood that one more dimension must gain before a name gets longer. About exp(-4) of what chance
#: offers passes it.
DIMENSION_PRICE: Final = 4.0


def family_log_weight(depth: int, count: int) -> float:
    """Log weight of each segment of a family of ``depth`` dimensions of which ``count`` have been seen.

    Weights of the 1st, 2nd, 3rd, … segment to appear sum to the family's share, whatever ``count`` becomes, and
    all of those seen get the smallest weight so far. That costs a factor of 5.5 beside a size known in advance.
    """
    size = max(1 << max(count - 1, 0).bit_length(), SMALLEST)
    beyond = max(size / LARGE, 1.0)
    return FAMILY_LOG_WEIGHTS[depth - 1] - math.log(PRICE * size * beyond)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Which cell belongs to which segment. ``order`` lists cells segment by segment from ``first`` on.

    ``segment_of``: the segment of each cell in each combination of dimensions.
    """

    order: I64
    first: I64
    segment_of: I64  # [combinations of dimensions, cells]
    depth: I64
    names: tuple[tuple[tuple[int, ...], int], ...]  # dimensions and a cell that shows their values
    log_weights: F64

    @property
    def single(self) -> tuple[I64, I64]:
        """``order`` and ``first`` of the segments of one dimension, which come first of all."""
        count = int(np.searchsorted(self.depth, 2))
        end = int(self.first[count]) if count < len(self.first) else len(self.order)
        return self.order[:end], self.first[:count]


@lru_cache(maxsize=8)
def arranged(cells: tuple[tuple[str, ...], ...]) -> tuple[tuple[tuple[str, ...], ...], I64]:
    """Cells in the order that content alone decides, and where each of them was."""
    places = sorted(range(len(cells)), key=cells.__getitem__)
    return tuple(cells[place] for place in places), np.array(places, np.int64)


@lru_cache(maxsize=8)
def lattice(cells: tuple[tuple[str, ...], ...]) -> Lattice:
    """Segments of sorted cells. A dimension with one value only is left out: it says nothing.

    It counts for the size of the families all the same: it may get a second value, and its first one is old then.
    """
    columns = [np.unique([c[d] for c in cells], return_inverse=True) for d in range(len(cells[0]) if cells else 0)]
    varied = {d for d, (found, _) in enumerate(columns) if len(found) > 1}
    order: list[I64] = []
    first: list[I64] = []
    depths: list[I64] = []
    names: list[tuple[tuple[int, ...], int]] = []
    weights: list[F64] = []
    for depth in range(1, DEPTH + 1):
        begin, seen = len(names), 0
        for dimensions in combinations(range(len(columns)), depth):
            code = np.zeros(len(cells), np.int64)
            for d in dimensions:
                code = code * len(columns[d][0]) + columns[d][1]
            sorted_cells = np.argsort(code, kind="stable")
            starts = np.flatnonzero(np.diff(code[sorted_cells], prepend=-1))
            seen += len(starts)
            if not varied.issuperset(dimensions):
                continue
            first.append(starts + len(order) * len(cells))
            order.append(sorted_cells)
            names.extend((dimensions, int(sorted_cells[start])) for start in starts)
        count = len(names) - begin
        depths.append(np.full(count, depth))
        weights.append(np.full(count, family_log_weight(depth, seen)))
    listed, begins = _joined(order), _joined(first)
    owner = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(listed)))
    segment_of = np.empty((len(order), len(cells)), np.int64)
    np.put_along_axis(segment_of, listed.reshape(segment_of.shape), owner.reshape(segment_of.shape), axis=1)
    return Lattice(listed, begins, segment_of, _joined(depths), tuple(names), np.concatenate(weights))


def _joined(parts: Sequence[I64]) -> I64:
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


class SegmentTable:
    """Counts per segment of one tally, ``[segments, COUNT_NAMES]``."""

    def __init__(self, tally: Tally) -> None:
        cells, places = arranged(tuple(tally.cells))
        self._dimensions, self._cells = tally.dimensions, cells
        self._lattice = lattice(cells)
        self._by_cell: Counts = tally.rows().take(places, axis=0)
        self._begin()

    def _begin(self) -> None:
        self.total: Counts = self._by_cell.sum(axis=0)
        self._counted: dict[str, Counts] = {}
        self._singled: dict[str, Counts] = {}

    def without(self, segment: int) -> SegmentTable:
        """The same segments without the requests of one of them; what it explains is gone from all others."""
        ends = np.append(self._lattice.first[1:], len(self._lattice.order))
        rest = copy(self)
        rest._by_cell = self._by_cell.copy()
        rest._by_cell[self._lattice.order[self._lattice.first[segment] : ends[segment]]] = 0
        rest._begin()
        return rest

    def __len__(self) -> int:
        return len(self._lattice.first)

    @property
    def counts(self) -> Counts:
        """Every count of every segment."""
        return np.stack([self.count(name) for name in COUNT_NAMES], axis=1)

    def count(self, name: str) -> Counts:
        """One count of every segment; taken at the first call, for a look needs few of them."""
        found = self._counted.get(name)
        if found is None:
            found = self._counted[name] = self._count(self._by_cell[:, INDEX[name]])
        return found

    def single(self, name: str) -> Counts:
        """:meth:`count` of the segments of one dimension alone: they are the first ones."""
        found = self._singled.get(name)
        if found is None:
            order, first = self._lattice.single
            column = self._by_cell[:, INDEX[name]]
            found = self._singled[name] = np.add.reduceat(column[order], first) if len(first) else first
        return found

    def _count(self, column: Counts) -> Counts:
        """Sums of a count over the cells of each segment; most cells hold nothing bad, and are left out."""
        first, of = self._lattice.first, self._lattice.segment_of
        at = np.flatnonzero(column)
        if SPARSE * len(at) < len(column):
            held = np.tile(column[at], len(of))
            # Sums of whole numbers below 2^53 are exact in floats.
            return np.bincount(of[:, at].ravel(), held, minlength=len(first)).astype(np.int64)
        if not len(first):
            return np.empty(0, np.int64)
        counts: Counts = np.add.reduceat(column[self._lattice.order], first)
        return counts

    @property
    def depth(self) -> I64:
        """How many dimensions each segment names."""
        return self._lattice.depth

    def name(self, segment: int) -> str:
        """``dimension=value & dimension=value``, dimensions in alphabetical order."""
        return " & ".join(f"{dimension}={value}" for dimension, value in self.values(segment))

    def values(self, segment: int) -> tuple[tuple[str, str], ...]:
        """(dimension, value) of each dimension that a segment names, in alphabetical order."""
        dimensions, cell = self._lattice.names[segment]
        return tuple(sorted((self._dimensions[d], self._cells[cell][d]) for d in dimensions))

    def with_all(self, log_e_all: float, log_e: F64) -> float:
        """log E of the weighted mean of "all requests" and every segment."""
        return float(log_mixture(np.append(self._lattice.log_weights, ALL_LOG_WEIGHT), np.append(log_e, log_e_all)))

    def alone(self, log_e: F64) -> float:
        """log of the segments' part of :meth:`with_all`."""
        return float(log_mixture(self._lattice.log_weights, log_e)) if len(log_e) else -math.inf

    def scores(self, bad: str, total: str) -> F64:
        """How well each segment alone explains the bad events, in nats above "equally bad everywhere".

        Gain in log-likelihood of one rate inside and another outside over one rate for all, less
        ``DIMENSION_PRICE`` per dimension; -inf where the inside is not the worse part.
        """
        inside_bad, inside = self.count(bad).astype(np.float64), self.count(total).astype(np.float64)
        all_bad, every = float(self.total[INDEX[bad]]), float(self.total[INDEX[total]])
        gain = _fit(inside_bad, inside) + _fit(all_bad - inside_bad, every - inside) - _fit(all_bad, every)
        worse = inside_bad * every > all_bad * inside
        return np.where(worse, gain - DIMENSION_PRICE * self._lattice.depth, -np.inf)

    def worst(self, bad: str, total: str) -> int | None:
        """The segment that best explains the bad events; None where none does better than chance would.

        Ties go to fewer dimensions, then to the order of declaration and value.
        """
        scores = self.scores(bad, total)
        if not len(scores):
            return None
        best = int(np.argmax(np.round(scores, 6)))
        return best if scores[best] > 0.0 else None


def _fit(bad: F64 | float, total: F64 | float) -> F64:
    """Log-likelihood of a binomial at its own rate, without the constant."""
    good = np.asarray(total) - bad
    fit: F64 = _n_log_n(np.asarray(bad)) + _n_log_n(good) - _n_log_n(np.asarray(total))
    return fit


def _n_log_n(count: F64) -> F64:
    return np.where(count > 0.0, count * np.log(np.maximum(count, 1e-300)), 0.0)
