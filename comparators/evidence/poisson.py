"""PoissonEvidence: is a rate of rare events per hour above, or below, a limit?

Law: state = (events, exposure in hours). No exposure, no evidence: silence of something that did not run
proves nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from paritygate.comparators.evidence.mixture import BETS, Claim, geometric, log_mixture, uniform


class PoissonEvidence:
    """E-process about events per hour against ``limit_per_hour``.

    Bets ``r^events exp(-(r-1) limit hours)``. Claim ``below`` puts half its weight on rate 0, so that no
    event in ``ln(2/a)/limit`` hours at the latest (3.7, in practice 3.13 limits at a = 0.05; the fixed-time
    "rule of three" needs 3.00) proves the claim.
    """

    __slots__ = ("_log_ratio", "_log_weights", "_ratio", "claim", "limit_per_hour")

    def __init__(self, limit_per_hour: float, claim: Claim) -> None:
        """:raises ValueError: ``limit_per_hour`` is not above 0 and finite."""
        if not 0.0 < limit_per_hour < math.inf:
            raise ValueError(f"a rate per hour must be above 0, not {limit_per_hour}")
        self.limit_per_hour, self.claim = limit_per_hour, claim
        steps = geometric(1.1, 1000.0)
        if claim == "above":
            self._ratio, self._log_weights = steps, uniform(BETS)
        else:
            self._ratio = np.concatenate([1.0 / steps, [0.0]])
            self._log_weights = np.concatenate([uniform(BETS), [0.0]]) - math.log(2.0)
        with np.errstate(divide="ignore"):
            self._log_ratio = np.log(self._ratio)

    def log_e(self, events: int, hours: float) -> float:
        """log E of ``events`` in ``hours`` of running time."""
        counted = events * self._log_ratio if events else 0.0
        return float(log_mixture(self._log_weights, counted - (self._ratio - 1.0) * (self.limit_per_hour * hours)))


@lru_cache(maxsize=64)
def poisson(limit_per_hour: float, claim: Claim) -> PoissonEvidence:
    """The evidence object for a limit; its bets are computed once."""
    return PoissonEvidence(limit_per_hour, claim)


def excluded_per_hour(hours: float, alpha: float = 0.05) -> float:
    """Rate per hour that 0 events in ``hours`` exclude at level ``alpha``, under any number of looks.

    ``inf`` without running time: nothing is excluded then.
    """
    if hours <= 0.0:
        return math.inf
    # log E depends on limit * hours alone: find the product at which it reaches 1 / alpha once.
    return _product_needed(alpha) / hours


@lru_cache(maxsize=16)
def _product_needed(alpha: float) -> float:
    evidence, target = poisson(1.0, "below"), math.log(1.0 / alpha)
    low, high = 0.0, 2.0 * target + 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if evidence.log_e(0, middle) >= target else (middle, high)
    return high
