"""Latency power: pairs until a latency gate is proven, for lognormal latencies.

Law: the same three comparisons at every edge as ``comparators.evidence.quantile``: at each edge the fastest
of them is waited for, and the proof comes when the slowest edge has it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import F64
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.latency import SCALE, shifts
from paritygate.gates.measures import QUANTILES
from paritygate.gates.passage import InverseGaussian, walk
from paritygate.gates.truth import Truth

#: Log of the width of one bucket.
WIDTH: Final = math.log(2.0) / SCALE
#: Edges looked at, from the tail ``5 tau`` to ``tau / 5``; every second bucket or so is enough.
EDGES: Final = 61
#: Points of the integral over the baseline's latency, up to 8 standard deviations.
POINTS: Final = 201
_ERFC: Final = np.frompyfunc(math.erfc, 1, 1)


@lru_cache(maxsize=256)
def relative_latency(
    measure: str, maximum_regression_percent: float, truth: Truth, alpha: float
) -> InverseGaussian | None:
    """Pairs until "at most +x %" is proven; None where some edge never has a proof."""
    tau = 1.0 - QUANTILES[measure]
    shift = shifts(maximum_regression_percent)[1] * WIDTH
    edges = np.linspace(_normal_quantile(min(5.0 * tau, 0.9)), _normal_quantile(tau / 5.0), EDGES)
    slowest: InverseGaussian | None = None
    for edge in edges:
        found = _at_edge(float(edge), tau, shift, truth, alpha)
        if found is None:
            return None
        if slowest is None or found.mean > slowest.mean:
            slowest = found
    return slowest


def absolute_latency(measure: str, truth: Truth, alpha: float) -> InverseGaussian | None:
    """Pairs until "at most x ms" is proven, with the quantile at ``latency_to_limit_ratio`` of the limit."""
    tau, failed = 1.0 - QUANTILES[measure], _failed(truth)
    slow = (
        _normal_quantile(tau) * truth.latency_sigma - math.log(truth.latency_to_limit_ratio)
    ) / truth.latency_sigma
    # The limit is counted from the last edge below it: half a bucket on average.
    chance = failed + (1.0 - failed) * float(_tail(np.array(slow - 0.5 * WIDTH / truth.latency_sigma)))
    gains = bernoulli(tau, "below").wealth(np.array([1, 0]), np.array([1, 1]))
    return walk(gains, np.array([chance, 1.0 - chance]), alpha)


def _at_edge(edge: float, tau: float, shift: float, truth: Truth, alpha: float) -> InverseGaussian | None:
    """The fastest of the three comparisons at one edge (in standard deviations of the baseline's log)."""
    failed = _failed(truth)
    place = edge + (shift - math.log(truth.latency_ratio)) / truth.latency_sigma
    base, candidate = (float(_tail(np.array(at))) for at in (edge, place))
    both = failed * base + (1.0 - failed) * _both(edge, place, truth.latency_correlation)
    candidate = failed + (1.0 - failed) * candidate
    worse, better = max(candidate - both, 0.0), max(base - both, 0.0)
    compare = paired(0.0, "below").wealth(np.array([1, 0, 0]), np.array([0, 1, 0]), np.array([1, 1, 1]))
    price = math.log(3.0)
    one = np.array([1, 0]), np.array([1, 1])
    found = (
        walk(compare, np.array([worse, better, 1.0 - worse - better]), alpha, price=price),
        walk(bernoulli(tau, "below").wealth(*one), np.array([candidate, 1.0 - candidate]), alpha, price=price),
        walk(bernoulli(tau, "above").wealth(*one), np.array([base, 1.0 - base]), alpha, price=price),
    )
    grows = [f for f in found if f is not None]
    return min(grows, key=lambda f: f.mean) if grows else None


def _failed(truth: Truth) -> float:
    """Share of the baseline's answers whose pair the candidate failed: it took forever."""
    return min(truth.error_rate * truth.error_ratio, 1.0) * (1.0 - truth.failed_together_ratio)


def _both(edge: float, place: float, correlation: float) -> float:
    """Chance that two correlated normal values lie beyond ``edge`` and ``place`` (trapezoid rule)."""
    at = np.linspace(edge, 8.0, POINTS)
    inside = np.exp(-0.5 * at * at) / math.sqrt(2.0 * math.pi)
    beyond = _tail((place - correlation * at) / math.sqrt(1.0 - correlation * correlation))
    values = inside * beyond
    return float((values[1:] + values[:-1]).sum() * (at[1] - at[0]) / 2.0)


def _tail(z: F64) -> F64:
    """Chance that a standard normal value lies beyond ``z``."""
    tail: F64 = 0.5 * np.asarray(_ERFC(z / math.sqrt(2.0)), np.float64)
    return tail


def _normal_quantile(tail: float) -> float:
    """The value with ``tail`` of a standard normal beyond it."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if 0.5 * math.erfc(middle / math.sqrt(2.0)) > tail else (low, middle)
    return high
