"""Dependence: does a rate differ between the requests inside of a group and those outside?

Law: state = (bad, total) inside and outside. The null is "every request is bad with one and the same chance,
whatever its group"; groups may come in any order and mix. The e-process divides what two rates of their own would
have made likely by what the best single rate does, so its mean is at most 1 at any single rate.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paritygate.comparators.evidence.mixture import F64, I64

#: Prior of each rate: Beta(1/2, 1/2), within half a nat of the best rate's ``log(total)`` wherever it lies.
_PRIOR: Final = 0.5
#: From here on Stirling's series gives log Gamma to 1e-12.
_STIRLING_FROM: Final = 10


def log_e_dependence(bad_inside: I64, inside: I64, bad: int | I64, total: int | I64) -> F64:
    """log E of each group against "one rate for all"; arrays broadcast. 0 where the inside or the outside is empty.

    Universal inference (Wasserman, Ramdas & Balakrishnan, PNAS 2020) with the mixture of Krichevsky & Trofimov
    (IEEE Transactions on Information Theory 1981) as the alternative, inside and outside.
    """
    outside, bad_outside = total - inside, bad - bad_inside
    alternative = _log_mixed(bad_inside, inside) + _log_mixed(bad_outside, outside)
    null = _n_log_n(np.asarray(bad)) + _n_log_n(np.asarray(total - bad)) - _n_log_n(np.asarray(total))
    return np.where((inside > 0) & (outside > 0), alternative - null, 0.0)


def _log_mixed(bad: I64, total: I64) -> F64:
    """log of the chance of one sequence with so many bad, averaged over the prior."""
    bad_, good = np.asarray(bad, np.float64), np.asarray(total - bad, np.float64)
    ends = log_gamma(bad_ + _PRIOR) + log_gamma(good + _PRIOR) - log_gamma(bad_ + good + 2 * _PRIOR)
    mixed: F64 = ends - math.log(math.pi)  # Gamma(1/2)^2 / Gamma(1)
    return mixed


def log_gamma(x: F64) -> F64:
    """log Gamma of numbers above 0: shifted up to where Stirling's series is exact, and back."""
    x = np.asarray(x, np.float64)
    steps = np.arange(_STIRLING_FROM)
    below = x < _STIRLING_FROM
    product = np.where(below[..., None], x[..., None] + steps, 1.0).prod(axis=-1)
    y = np.where(below, x + _STIRLING_FROM, x)
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5) - 1 / (1680 * y**7)
    result: F64 = (y - 0.5) * np.log(y) - y + 0.5 * np.log(2 * np.pi) + series - np.log(product)
    return result


def _n_log_n(count: I64) -> F64:
    return np.where(count > 0, count * np.log(np.maximum(count, 1)), 0.0)
