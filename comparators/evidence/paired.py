"""Paired evidence: did the candidate fail more often than the baseline *on the same requests*?

Law: state = counts of pairs by who failed. Pairs in which both arms did the same cancel (with margin 0 they
contribute exactly nothing), so what everybody suffers cannot condemn the candidate.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paritygate.comparators.evidence.mixture import BETS, F64, Claim, Counts, geometric, log_mixture_of, uniform
from paritygate.comparators.evidence.small_counts import SmallCounts


class PairedEvidence:
    """E-process about ``P(candidate bad) - P(baseline bad)`` against ``margin``.

    ``above``: null "at most margin"; ``below``: null "at least margin". Bets ``1 + l (D - margin)`` with
    D in {-1, 0, 1}; margin 0 is the McNemar e-process (bets as in Waudby-Smith & Ramdas, JRSSB 2024).
    """

    __slots__ = ("_better", "_log_weights", "_same", "_worse", "claim", "margin")

    def __init__(self, margin: float, claim: Claim) -> None:
        """:raises ValueError: ``margin`` is not inside (-1, 1)."""
        if not -1.0 < margin < 1.0:
            raise ValueError(f"a margin between two rates must lie inside -1..1, not {margin}")
        self.margin, self.claim = margin, claim
        grid = geometric(1e-3, 0.999)
        bet = grid / (1.0 + margin) if claim == "above" else -grid / (1.0 - margin)
        self._worse = np.log1p(bet * (1.0 - margin))
        self._better = np.log1p(bet * (-1.0 - margin))
        self._same = np.log1p(-bet * margin)
        self._log_weights = uniform(BETS)

    def wealth(self, worse: Counts, better: Counts, pairs: Counts) -> F64:
        """Log-wealth of each bet, ``[..., BETS]``."""
        worse_, better_, pairs_ = (np.asarray(v, np.float64)[..., None] for v in (worse, better, pairs))
        grown: F64 = worse_ * self._worse + better_ * self._better
        return grown + (pairs_ - worse_ - better_) * self._same if self.margin else grown

    def log_e(self, worse: Counts, better: Counts, pairs: Counts) -> F64:
        """log E. ``worse``: only the candidate was bad; ``better``: only the baseline was; of ``pairs``."""
        return log_mixture_of(self._log_weights, self.wealth, worse, better, pairs)


class PairedRatioEvidence:
    """E-process about ``P(candidate bad)`` against ``ratio * P(baseline bad)``: bets on ``C - ratio * B``."""

    __slots__ = ("_better", "_both", "_log_weights", "_worse", "claim", "ratio")

    def __init__(self, ratio: float, claim: Claim) -> None:
        """:raises ValueError: ``ratio`` is not above 0."""
        if not 0.0 < ratio < np.inf:
            raise ValueError(f"a ratio of two rates must be above 0, not {ratio}")
        self.ratio, self.claim = ratio, claim
        grid = geometric(1e-3, 0.999)
        bet = grid / ratio if claim == "above" else -grid
        # Below, the largest gain C - ratio * B is 1 (only the candidate bad); above, the largest loss is ratio.
        self._worse = np.log1p(bet)
        self._better = np.log1p(-bet * ratio)
        self._both = np.log1p(bet * (1.0 - ratio))
        self._log_weights = uniform(BETS)

    def wealth(self, worse: Counts, better: Counts, both: Counts) -> F64:
        """Log-wealth of each bet, ``[..., BETS]``."""
        worse_, better_, both_ = (np.asarray(v, np.float64)[..., None] for v in (worse, better, both))
        grown: F64 = worse_ * self._worse + better_ * self._better + both_ * self._both
        return grown

    def log_e(self, worse: Counts, better: Counts, both: Counts) -> F64:
        """log E from the pairs in which only the candidate, only the baseline, and both were bad."""
        return log_mixture_of(self._log_weights, self.wealth, worse, better, both)


@lru_cache(maxsize=256)
def paired(margin: float, claim: Claim) -> PairedEvidence:
    """The evidence object for a margin; its bets are computed once."""
    return PairedEvidence(margin, claim)


@lru_cache(maxsize=256)
def paired_ratio(ratio: float, claim: Claim) -> PairedRatioEvidence:
    """The evidence object for a ratio limit; its bets are computed once."""
    return PairedRatioEvidence(ratio, claim)


@lru_cache(maxsize=2)
def worse_than(claim: Claim) -> SmallCounts:
    """log E of :func:`paired` with margin 0 for (worse, better) of many segments or edges at once."""
    test = paired(0.0, claim)
    return SmallCounts(lambda worse, better: test.log_e(worse, better, 0))
