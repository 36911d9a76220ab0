"""MeanEvidence: is the mean of a bounded score delta above, or below, a limit?

Law: state = counts per score bucket (``comparators.scores``). Each bet's log-wealth is linear in those
counts. No variance, no normal approximation: skewed scores cost power, never validity. An observation may lie on
two neighbouring buckets in parts (``comparators.numbers``): wealth is concave, so that only takes evidence away.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence.mixture import BETS, F64, I64, Claim, geometric, log_mixture, uniform


def bets(limit: float, claim: Claim, count: int = BETS) -> F64:
    """Stakes whose wealth stays positive for every delta in [-1, 1]."""
    grid = geometric(1e-3, 0.95, count)
    return grid / (limit + 1.0) if claim == "above" else -grid / (1.0 - limit)


class MeanEvidence:
    """E-process about the mean delta against ``limit``: ``above`` has the null "at most limit".

    Betting on a fixed grid of stakes (Waudby-Smith & Ramdas, JRSSB 2024, with fixed bets for predictable
    ones, so that order does not matter). The mean is that of the deltas rounded to 1/1000.
    """

    __slots__ = ("_gains", "_log_weights", "claim", "limit")

    def __init__(self, limit: float, claim: Claim) -> None:
        """:raises ValueError: ``limit`` is not inside (-1, 1)."""
        if not -1.0 < limit < 1.0:
            raise ValueError(f"a limit on a score delta must lie inside -1..1, not {limit}")
        self.limit, self.claim = limit, claim
        self._gains = np.log1p(bets(limit, claim)[:, None] * (scores.values() - limit))
        self._log_weights = uniform(BETS)

    def wealth(self, counts: I64 | F64) -> F64:
        """Log-wealth of each bet, ``[..., BETS]``, of bucket counts ``[..., scores.BUCKETS]`` (also in parts)."""
        rows = counts.reshape(-1, scores.BUCKETS)
        used = np.flatnonzero(rows.any(axis=0))
        gains = self._gains[:, used]
        # One row at a time: its products fit the processor's cache, those of all rows do not.
        grown = np.array([(row * gains).sum(axis=-1) for row in rows[:, used]])
        return grown.reshape(*counts.shape[:-1], BETS)

    def log_e(self, counts: I64 | F64) -> F64:
        """log E of bucket counts; 0 of none."""
        return log_mixture(self._log_weights, self.wealth(counts))


@lru_cache(maxsize=64)
def mean(limit: float, claim: Claim) -> MeanEvidence:
    """The evidence object for a limit; its 24 x 2001 gains are computed once."""
    return MeanEvidence(limit, claim)
