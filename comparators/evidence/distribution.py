"""Distribution: how far apart can two distributions be, looked at all the time?

Law: state = counts per bucket of each side. The radius holds for all sizes from ``FROM`` on at once, so it may be
looked at after every observation. It is a bound on each side alone: pairs may depend on each other as they like.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paritygate.comparators.evidence.mixture import F64, I64

#: Smaller samples have no radius.
FROM: Final = 100
_FACTOR: Final = 0.85


def radius(count: int, alpha: float) -> float:
    """Largest distance of an empirical distribution function from the true one; inf below ``FROM``.

    It is passed at any size with at most chance ``alpha``: the time-uniform Dvoretzky-Kiefer-Wolfowitz bound of
    Howard & Ramdas (Bernoulli 28(3), 2022, Theorem 2), with their constants A = 0.85 and C = 0.8 ln(1612 / alpha).
    """
    if count < FROM:
        return math.inf
    spread = math.log(1.0 + math.log(count / FROM)) + 0.8 * math.log(1612.0 / alpha)
    return _FACTOR * math.sqrt(spread / count)


def gap_radius(count: int, alpha: float) -> float:
    """How far the gap of two empirical distributions of ``count`` each may lie from the true gap; at most 1."""
    return min(1.0, 2.0 * radius(count, alpha / 2.0))


def largest_gap(ours: I64, theirs: I64) -> F64:
    """Largest difference of the shares at or below any bucket (Kolmogorov-Smirnov over the buckets); 0 of none.

    Of counts ``[..., buckets]``.
    """
    reached, met = np.cumsum(ours, axis=-1), np.cumsum(theirs, axis=-1)
    told, met_told = (np.maximum(counts[..., -1:], 1) for counts in (reached, met))
    gap: F64 = np.abs(reached / told - met / met_told).max(axis=-1)
    return np.where((reached[..., -1] > 0) & (met[..., -1] > 0), gap, 0.0)


def pairs_until(gap: float, limit: float, alpha: float, noise: float = 0.0) -> int | None:
    """Pairs until ``gap + noise / sqrt(pairs)`` is surely below ``limit``; None where it never is."""
    if gap >= limit:
        return None
    low, high = FROM - 1, FROM

    def short(count: int) -> bool:
        return gap + noise / math.sqrt(count) + gap_radius(count, alpha) >= limit

    while short(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return high
