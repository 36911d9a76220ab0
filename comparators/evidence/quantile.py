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
from typing import Final, NamedTuple

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import F64, I64, Claim, more_needed
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.share import share
from paritygate.comparators.latency import BUCKETS, NEVER, shifts

LOG_3: Final = math.log(3.0)
#: log E of the comparison A at some edges.
Compare = Callable[[I64], F64]
#: Edges per block of the coarse search; any value gives the same answer.
BLOCK: Final = 16


class AtEdge(NamedTuple):
    """log E and the edge that decided it (where the evidence is least)."""

    log_e: float
    edge: int


class QuantileRatioEvidence:
    """E-process about ``Q_p(candidate) <= (1 + percent/100) Q_p(baseline)`` or its reverse.

    A: the candidate exceeds ``R x`` more often than the baseline exceeds x (McNemar, or share of events);
    B: the candidate exceeds ``R x`` more often than 1-p; C: the baseline exceeds x less often than 1-p.
    Far from the quantile B or C is huge, so the least value sits near it, where the comparison A decides.
    After Howard & Ramdas (Bernoulli 28(3), 2022, Theorem 5), one-sided, as a mean and not a product: a
    product of the two one-sample processes would need independent arms.
    """

    __slots__ = ("_base", "_candidate", "_first", "_place", "claim", "shift", "tau")

    def __init__(self, p: float, maximum_regression_percent: float, claim: Claim) -> None:
        above, below = shifts(maximum_regression_percent)
        self.claim, self.tau = claim, 1.0 - p
        self.shift = above if claim == "above" else below
        other: Claim = "below" if claim == "above" else "above"
        self._candidate, self._base = bernoulli(self.tau, claim), bernoulli(self.tau, other)
        # Claim "below" speaks at edge j about x just below it, so its first edge is 1.
        self._first = 0 if claim == "above" else 1
        self._place = np.clip(np.arange(BUCKETS) + self.shift, 0, NEVER)

    def paired(self, up: I64, down: I64, baseline: I64, candidate: I64) -> AtEdge:
        """log E of pairs: the difference arrays of this object's ``shift`` and both histograms."""
        total = int(baseline.sum())
        worse, better = np.cumsum(up), np.cumsum(down)
        test = paired(0.0, self.claim)
        return self._least(
            lambda at: test.log_e(worse[at], better[at], total),
            (_reaching(baseline), total),
            (_reaching(candidate)[self._place], int(candidate.sum())),
        )

    def unpaired(self, baseline: I64, candidate: I64, part: float) -> AtEdge:
        """log E of separate answers; ``part`` is the candidate's share of the exposure (one per stage)."""
        base, other = _reaching(baseline), _reaching(candidate)[self._place]
        test = share(1.0, self.claim, 50.0)
        return self._least(
            lambda at: test.log_e_at(other[at].astype(np.float64), base[at].astype(np.float64), part),
            (base, int(baseline.sum())),
            (other, int(candidate.sum())),
        )

    def more_needed(self, up: I64, down: I64, pairs: int, found: AtEdge, target: float) -> int | None:
        """About how many more pairs bring ``found`` to ``target``; None where the comparison does not grow."""
        worse, better = int(up[: found.edge + 1].sum()), int(down[: found.edge + 1].sum())
        wealth = paired(0.0, self.claim).wealth(worse, better, pairs)
        return more_needed(wealth, pairs, found.log_e, target)

    def _least(self, compare: Compare, base: tuple[I64, int], candidate: tuple[I64, int]) -> AtEdge:
        """Least mean of the three over all edges, exactly, looking closely only where it can lie.

        B and C are monotone along the edges, so their values at a block's ends bound the mean inside it.
        """
        (base_at, base_total), (candidate_at, candidate_total) = base, candidate

        def terms(at: I64) -> tuple[F64, F64, F64]:
            b = self._candidate.log_e(candidate_at[at], candidate_total)
            c = self._base.log_e(base_at[at], base_total)
            mean = np.logaddexp(np.logaddexp(compare(at), b), c) - LOG_3
            return mean, b, c

        low, high = self._span(base_at, candidate_at)
        ends = np.append(np.arange(low, high, BLOCK), high)
        mean, b, c = terms(ends)
        rising, falling = (c, b) if self.claim == "above" else (b, c)
        bound = np.logaddexp(rising[:-1], falling[1:]) - LOG_3
        found = int(np.argmin(mean))
        least = AtEdge(float(mean[found]), int(ends[found]))
        blocks = np.flatnonzero(bound <= least.log_e)
        inside = (ends[blocks][:, None] + np.arange(1, BLOCK)).ravel()
        inside = inside[inside < high]
        if len(inside):
            mean, _, _ = terms(inside)
            found = int(np.argmin(mean))
            least = min(least, AtEdge(float(mean[found]), int(inside[found])))
        return least

    def _span(self, base_at: I64, candidate_at: I64) -> tuple[int, int]:
        """First and last edge worth a look: outside of them no count changes any more."""
        changes = np.flatnonzero((np.diff(base_at) != 0) | (np.diff(candidate_at) != 0))
        if not len(changes):
            return NEVER - 1, NEVER
        return max(int(changes[0]), self._first), int(changes[-1]) + 1


def _reaching(counts: I64) -> I64:
    """How many answers lie at or above each edge."""
    reaching: I64 = np.cumsum(counts[::-1])[::-1]
    return reaching


@lru_cache(maxsize=64)
def quantile_ratio(p: float, maximum_regression_percent: float, claim: Claim) -> QuantileRatioEvidence:
    """The evidence object for a gate; its bets are computed once."""
    return QuantileRatioEvidence(p, maximum_regression_percent, claim)
