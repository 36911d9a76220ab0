"""Intervals for people to look at: they hold at every look at once, like the e-processes they invert.

Law: an interval never decides; verdicts come from e-values. ``alpha`` is the chance that the interval ever
misses, over all looks. Without data an interval is everything that is possible, never a point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mean import bets
from paritygate.comparators.evidence.mixture import F64, I64, Claim, log_mixture, uniform
from paritygate.comparators.latency import edges

#: Halvings of a rate's search: exact to 1e-9.
HALVINGS: Final = 30
#: Halvings of the mean's bounds inside one step of its search: about a hundredth of its width.
MEAN_HALVINGS: Final = 6
#: Points of the coarser score grid of the mean's interval, and bets on it.
POINTS: Final = 201
MEAN_BETS: Final = 12
_EDGES: Final = edges()


@lru_cache(maxsize=256)
def rate(bad: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds of a rate: all theta that a beta(1/2, 1/2) mixture has not ruled out (Robbins 1970)."""
    if not total:
        return 0.0, 1.0
    good = total - bad
    mixed = math.lgamma(bad + 0.5) + math.lgamma(good + 0.5) - math.lgamma(total + 1.0) - math.log(math.pi)
    bar = math.log(alpha)

    def ruled_out(theta: float) -> bool:
        likelihood = (bad * math.log(theta) if bad else 0.0) + (good * math.log1p(-theta) if good else 0.0)
        return likelihood - mixed <= bar

    estimate = bad / total
    low = _edge_of(ruled_out, 0.0, estimate) if bad else 0.0
    high = _edge_of(ruled_out, 1.0, estimate) if good else 1.0
    return low, high


def rate_difference(worse: int, better: int, pairs: int, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds of ``P(only candidate bad) - P(only baseline bad)``; each of the two rates at ``alpha / 2``."""
    worse_low, worse_high = rate(worse, pairs, alpha / 2.0)
    better_low, better_high = rate(better, pairs, alpha / 2.0)
    return max(worse_low - better_high, -1.0), min(worse_high - better_low, 1.0)


def quantile(counts: I64, p: float, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds in ms of the ``p``-quantile from order statistics; ``(0, inf)`` where the data cannot tell.

    The highest edge that is proven to be exceeded more often than 1-p, and the lowest proven to be exceeded
    less often (Howard & Ramdas, Bernoulli 28(3), 2022, one-sided at alpha/2 each).
    """
    total = int(counts.sum())
    reaching = np.cumsum(counts[::-1])[::-1]
    target = math.log(2.0 / alpha)
    enough, few = _least_count(1.0 - p, "above", total, target), _least_count(1.0 - p, "below", total, target)
    above = np.flatnonzero(reaching >= enough) if enough is not None else np.empty(0, np.int64)
    below = np.flatnonzero(reaching <= few) if few is not None else np.empty(0, np.int64)
    low = float(_EDGES[above[-1]]) if len(above) else 0.0
    high = float(_EDGES[below[0]]) if len(below) else math.inf
    return low, high


def quantile_ratio(baseline: I64, candidate: I64, p: float, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds of ``Q_p(candidate) / Q_p(baseline)``: the ends divided, each quantile at ``alpha / 2``.

    Wider than what the paired gate proves, since it does not know which answers belong together.
    """
    base_low, base_high = quantile(baseline, p, alpha / 2.0)
    low, high = quantile(candidate, p, alpha / 2.0)
    return low / base_high, high / base_low if base_low > 0.0 else math.inf


def mean(counts: I64 | F64, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds of the mean score delta, by inverting the betting e-process on a coarser grid.

    Each delta is split between its two neighbours on the grid so that its mean stays; wealth is concave in
    the delta, so this can only widen the interval.
    """
    total = int(counts.sum())
    if not total:
        return -1.0, 1.0
    grid = np.linspace(-1.0, 1.0, POINTS)
    place = (scores.values() + 1.0) * ((POINTS - 1) / 2.0)
    lower = np.minimum(place.astype(np.int64), POINTS - 2)
    upper_part = place - lower
    split = np.bincount(lower, counts * (1.0 - upper_part), POINTS)
    split += np.bincount(lower + 1, counts * upper_part, POINTS)
    grid, split = grid[split > 0.0], split[split > 0.0]
    target, weights = math.log(2.0 / alpha), uniform(MEAN_BETS)

    def log_e(limit: float, claim: Claim) -> float:
        gains = np.log1p(bets(limit, claim, MEAN_BETS)[:, None] * (grid - limit))
        return float(log_mixture(weights, (gains * split).sum(axis=-1)))

    estimate = min(max(float((grid * split).sum()) / total, -1.0), 1.0)
    spread = max(float((split * (grid - estimate) ** 2).sum()) / total, 1e-4)
    step = 3.0 * math.sqrt(spread / total)

    def bound(claim: Claim, sign: float) -> float:
        """The search goes outward in growing steps, then halves the last one."""
        inner, length = estimate, step
        while abs(outer := estimate + sign * length) < 1.0 and log_e(outer, claim) < target:
            inner, length = outer, 2.0 * length
        return _edge_of(lambda m: log_e(m, claim) >= target, max(min(outer, 1.0), -1.0), inner, MEAN_HALVINGS)

    return bound("above", -1.0), bound("below", 1.0)


def _edge_of(ruled_out: Callable[[float], bool], outer: float, inner: float, halvings: int = HALVINGS) -> float:
    """Last point ruled out on the way from ``outer`` (taken as ruled out) to ``inner`` (not)."""
    for _ in range(halvings):
        middle = (outer + inner) / 2.0
        if middle in (outer, inner):
            break
        outer, inner = (middle, inner) if ruled_out(middle) else (outer, middle)
    return outer


@lru_cache(maxsize=64)
def _least_count(limit: float, claim: Claim, total: int, target: float) -> int | None:
    """The count of ``total`` at which the evidence first reaches ``target``: the least for claim ``above``,
    the most for ``below``; None where none does. Each round looks at 64 counts at once.
    """
    evidence, rising = bernoulli(limit, claim), claim == "above"
    low, high = 0, total
    if float(evidence.log_e(total if rising else 0, total)) < target:
        return None
    while low < high:
        counts = np.unique(np.linspace(low, high, 64).astype(np.int64))
        reached = evidence.log_e(counts, total) >= target
        if rising:
            first = int(np.argmax(reached))
            low, high = (int(counts[first - 1]) + 1 if first else low), int(counts[first])
        else:
            last = int(np.flatnonzero(reached)[-1])
            low = int(counts[last])
            high = int(counts[last + 1]) - 1 if last + 1 < len(counts) else high
    return low
