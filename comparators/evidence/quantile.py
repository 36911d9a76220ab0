"""QuantileRatioEvidence: is a latency quantile of the candidate more than ``1 + r`` times the baseline's?

Law: state = the histograms and difference arrays of ``comparators.latency``: plain counts at fixed edges.
At the baseline's true quantile x (unknown), three statements about counts follow from the null, each tested
by an exact e-process; their mean is one too, whatever their dependence, and the least over all edges is at
most the one at x. So the result is valid at every sample size, and only conservative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import F64, I64, Claim, more_needed
from paritygate.comparators.evidence.paired import paired, worse_than
from paritygate.comparators.evidence.share import share
from paritygate.comparators.latency import BUCKETS, NEVER, shifts

LOG_3: Final = math.log(3.0)
#: log E of the comparison A, of two counts.
Compare = Callable[[I64, I64], F64]
#: Distances of the edges that are looked at, from coarse to every one; any values give the same answer. Few rows
#: are dearer by the call than by the edge.
STEPS: Final = (128, 32, 8, 1)
STEPS_OF_FEW: Final = (16, 1)
FEW: Final = 4
#: A bound and the mean that it bounds are rounded apart by less.
ROUNDING: Final = 1e-9


class AtEdge(NamedTuple):
    """log E and the edge that decided it (where the evidence is least)."""

    log_e: float
    edge: int


class _Below:
    """Running sums of the rows of an array: at some edges, and once it is known where to look, at every one there.

    Sums at every edge of a hundred rows would be megabytes, and to get those takes longer than to fill them.
    """

    __slots__ = ("_counts", "_place", "_to", "total")

    def __init__(self, counts: I64, edges: I64) -> None:
        edges = np.unique(edges)
        starts = np.append(0, edges + 1)
        self._counts = counts
        self._to: I64 = np.add.reduceat(counts, starts[starts < BUCKETS], axis=1).cumsum(axis=1)
        self._place = np.zeros(BUCKETS, np.int64)
        self._place[edges] = np.arange(len(edges))
        self.total: I64 = self._to[:, -1]

    def narrow(self, first: int, last: int) -> None:
        """From now on the sums are those at every edge from ``first`` to ``last``, which were among the edges."""
        counts = self._counts[:, first : last + 1]
        before = self._to[:, self._place[first]] - counts[:, 0]
        self._to = counts.cumsum(axis=1)
        self._to += before[:, None]
        self._place[first : last + 1] = np.arange(last + 1 - first)

    def to(self, row: I64, at: I64) -> I64:
        """Sum up to an edge, its own entry included: the paired count there of a difference array."""
        found: I64 = self._to[row, self._place[at]]
        return found

    def from_(self, row: I64, at: I64) -> I64:
        """How many answers of a histogram lie at or above an edge."""
        found: I64 = self.total[row] - self._to[row, self._place[at]] + self._counts[row, at]
        return found


class QuantileRatioEvidence:
    """E-process about ``Q_p(candidate) <= (1 + percent/100) Q_p(baseline)`` or its reverse.

    A: the candidate exceeds ``R x`` more often than the baseline exceeds x (McNemar, or share of events);
    B: the candidate exceeds ``R x`` more often than 1-p; C: the baseline exceeds x less often than 1-p.
    Far from the quantile B or C is huge, so the least value sits near it, where the comparison A decides.
    After Howard & Ramdas (Bernoulli 28(3), 2022, Theorem 5), one-sided, as a mean and not a product: a
    product of the two one-sample processes would need independent arms.
    """

    __slots__ = ("_base", "_candidate", "_first", "claim", "shift", "tau")

    def __init__(self, p: float, maximum_regression_percent: float, claim: Claim) -> None:
        above, below = shifts(maximum_regression_percent)
        self.claim, self.tau = claim, 1.0 - p
        self.shift = above if claim == "above" else below
        other: Claim = "below" if claim == "above" else "above"
        self._candidate, self._base = bernoulli(self.tau, claim), bernoulli(self.tau, other)
        # Claim "below" speaks at edge j about x just below it, so its first edge is 1.
        self._first = 0 if claim == "above" else 1

    def paired(self, up: I64, down: I64, baseline: I64, candidate: I64) -> AtEdge:
        """log E of pairs: the difference arrays of this object's ``shift`` and both histograms."""
        log_e, edge = self.paired_rows(up[None], down[None], baseline[None], candidate[None])
        return AtEdge(float(log_e[0]), int(edge[0]))

    def paired_rows(self, up: I64, down: I64, baseline: I64, candidate: I64) -> tuple[F64, I64]:
        """:meth:`paired` of many sets of pairs at once (``[rows, BUCKETS]`` each): log E and edge of each row."""
        return self._least(worse_than(self.claim), (up, down), baseline, candidate)

    def unpaired(self, baseline: I64, candidate: I64, part: float) -> AtEdge:
        """log E of separate answers; ``part`` is the candidate's share of the exposure (one per stage)."""
        test = share(1.0, self.claim, 50.0)

        def compare(bad: I64, base_bad: I64) -> F64:
            return test.log_e_at(bad.astype(np.float64), base_bad.astype(np.float64), part)

        log_e, edge = self._least(compare, None, baseline[None], candidate[None])
        return AtEdge(float(log_e[0]), int(edge[0]))

    def more_needed(self, up: I64, down: I64, pairs: int, found: AtEdge, target: float) -> int | None:
        """About how many more pairs bring ``found`` to ``target``; None where the comparison does not grow."""
        worse, better = int(up[: found.edge + 1].sum()), int(down[: found.edge + 1].sum())
        wealth = paired(0.0, self.claim).wealth(worse, better, pairs)
        return more_needed(wealth, pairs, found.log_e, target)

    def _least(
        self, compare: Compare, paired: tuple[I64, I64] | None, baseline: I64, candidate: I64
    ) -> tuple[F64, I64]:
        """Least mean of the three over all edges, exactly, looking closely only where it can lie.

        B and C are monotone along the edges, so their values at a block's ends bound the mean inside it.
        ``compare``: of the ``paired`` counts at an edge, or of how often either arm exceeds it.
        """
        steps = STEPS if len(baseline) > FEW else STEPS_OF_FEW
        low, high = self._span(baseline, candidate)
        ends = np.append(np.arange(low, high, steps[0]), high)
        base, other = _Below(baseline, ends), _Below(candidate, self._place(ends))
        pairs = [_Below(counts, ends) for counts in paired or ()]

        def compared(row: I64, at: I64) -> F64:
            if pairs:
                return compare(*(counts.to(row, at) for counts in pairs))
            return compare(other.from_(row, self._place(at)), base.from_(row, at))

        def alone(row: I64, at: I64) -> tuple[F64, F64]:
            b = self._candidate.log_e(other.from_(row, self._place(at)), other.total[row])
            c = self._base.log_e(base.from_(row, at), base.total[row])
            return b, c

        least, edge = np.full(len(baseline), np.inf), np.zeros(len(baseline), np.int64)
        row = np.arange(len(baseline))[:, None]
        at: I64 = np.repeat(ends[None], len(row), axis=0)
        b, c = alone(row, at)
        _keep_least(least, edge, row[:, 0], _mean(compared(row, at), b, c), at)
        # The one that rises along the edges is bounded by the left end of a block, the one that falls by the right.
        rising, falling = (c, b) if self.claim == "above" else (b, c)
        left, right, rising, falling = at[:, :-1], at[:, 1:], rising[:, :-1], falling[:, 1:]
        for step, finer in pairwise(steps):
            block = np.nonzero(np.logaddexp(rising, falling) - LOG_3 <= least[row])
            if not len(block[0]):
                break
            row = row[block[0]]
            left, right = left[block][:, None], right[block][:, None]
            rising, falling = rising[block][:, None], falling[block][:, None]
            if step == steps[0]:
                first, last = int(left.min()), int(right.max())
                for counts in (base, *pairs):
                    counts.narrow(first, last)
                other.narrow(*self._place(np.array([first, last])).tolist())
            at = np.minimum(left + np.arange(finer, step, finer), right)
            a = compared(row, at)
            if finer == 1:
                near = np.nonzero(_mean(a, rising, falling) <= least[row] + ROUNDING)
                row, at, a = row[near[0]], at[near][:, None], a[near][:, None]
            b, c = alone(row, at)
            _keep_least(least, edge, row[:, 0], _mean(a, b, c), at)
            rises, falls = (c, b) if self.claim == "above" else (b, c)
            if finer == 1:
                break
            left, right = np.hstack([left, at]), np.hstack([at, right])
            rising, falling = np.hstack([rising, rises]), np.hstack([falls, falling])
        return least, edge

    def _place(self, at: I64) -> I64:
        """The candidate's edge at which it exceeds R times the baseline's edge ``at``."""
        place: I64 = np.clip(at + self.shift, 0, NEVER)
        return place

    def _span(self, baseline: I64, candidate: I64) -> tuple[int, int]:
        """First and last edge worth a look in any row: outside of them no count changes any more."""
        theirs, ours = (np.flatnonzero(np.bitwise_or.reduce(n[:, :NEVER])) for n in (baseline, candidate))
        ours -= self.shift
        changes = np.concatenate([theirs, ours[(ours >= 0) & (ours < NEVER)]])
        if not len(changes):
            return NEVER - 1, NEVER
        return max(int(changes.min()), self._first), int(changes.max()) + 1


def _mean(a: F64, b: F64, c: F64) -> F64:
    """log of the mean of three e-values."""
    mean: F64 = np.logaddexp(np.logaddexp(a, b), c) - LOG_3
    return mean


def _keep_least(least: F64, edge: I64, row: I64, mean: F64, at: I64) -> None:
    """Lower ``least`` and ``edge`` of the rows where a block holds less, or the same at a lower edge."""
    lowest = np.argmin(mean, axis=1)
    block = np.arange(len(mean))
    value, place = mean[block, lowest], at[block, lowest]
    order = np.lexsort((place, value, row))
    order = order[np.diff(row[order], prepend=-1) != 0]
    better = (value[order] < least[row[order]]) | (
        (value[order] == least[row[order]]) & (place[order] < edge[row[order]])
    )
    order = order[better]
    least[row[order]], edge[row[order]] = value[order], place[order]


@lru_cache(maxsize=64)
def quantile_ratio(p: float, maximum_regression_percent: float, claim: Claim) -> QuantileRatioEvidence:
    """The evidence object for a gate; its bets are computed once."""
    return QuantileRatioEvidence(p, maximum_regression_percent, claim)
