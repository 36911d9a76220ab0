"""BernoulliEvidence: is a rate above, or below, an absolute limit?

Law: state = (bad, total). Each bet ``(q/limit)^bad ((1-q)/(1-limit))^good`` is linear in the rate, so its
mean is at most 1 for every rate in the null, drifting or not; at the limit it is exactly 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paritygate.comparators.evidence.mixture import BETS, F64, Claim, Counts, geometric, log_mixture_of, uniform


class BernoulliEvidence:
    """E-process about ``rate <= limit`` (claim ``above``) or ``rate >= limit`` (claim ``below``).

    A truncated mixture over odds, 1.1 to about 1000 times (or a thousandth of) the limit's: equivalent to the
    truncated beta-binomial of Howard, Ramdas, McAuliffe & Sekhon (Annals of Statistics 2021, Prop. 7).
    Untruncated it would also grow when the rate is *better*.
    """

    __slots__ = ("_bad", "_good", "_log_weights", "claim", "limit")

    def __init__(self, limit: float, claim: Claim) -> None:
        """:raises ValueError: ``limit`` is not inside (0, 1): neither claim could ever be proven there."""
        if not 0.0 < limit < 1.0:
            raise ValueError(f"a rate's limit must lie inside 0..1, not {limit}")
        self.limit, self.claim = limit, claim
        odds = limit / (1.0 - limit)
        if claim == "above":
            odds_bet = odds * geometric(1.10, max(999.0 / odds, 10.0))
        else:
            odds_bet = odds / geometric(1.10, 1000.0)
        bet = odds_bet / (1.0 + odds_bet)
        self._bad = np.log(bet / limit)
        self._good = -np.log1p(odds_bet) - np.log1p(-limit)
        self._log_weights = uniform(BETS)

    def wealth(self, bad: Counts, total: Counts) -> F64:
        """Log-wealth of each bet, ``[..., BETS]``: linear in the counts, hence additive."""
        bad_, total_ = np.asarray(bad, np.float64)[..., None], np.asarray(total, np.float64)[..., None]
        grown: F64 = (total_ - bad_) * self._good
        grown += bad_ * self._bad
        return grown

    def log_e(self, bad: Counts, total: Counts) -> F64:
        """log E of ``bad`` among ``total``; arrays broadcast. 0 before any observation."""
        return log_mixture_of(self._log_weights, self.wealth, bad, total)


@lru_cache(maxsize=256)
def bernoulli(limit: float, claim: Claim) -> BernoulliEvidence:
    """The evidence object for a limit; its bets are computed once."""
    return BernoulliEvidence(limit, claim)
