"""BernoulliEvidence: is a rate above, or below, an absolute limit?

Law: state = (bad, total). Each bet ``(q/limit)^bad ((1-q)/(1-limit))^good`` is linear in the rate, so its
mean is at most 1 for every rate in the null, drifting or not; at the limit it is exactly 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators.evidence.mixture import (
    BETS,
    BLOCK,
    F64,
    I64,
    NEGLIGIBLE,
    Claim,
    Counts,
    Mask,
    geometric,
    log_mixture_of,
    uniform,
)

#: Bets nearest to the limit; of many answers that keep it, all others say nothing. A power of 2.
NEAR: Final = 8
#: From so many rows on it is worth asking which of them need the first bets only.
MANY: Final = 128


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
        together = np.broadcast(bad, total)
        if together.size < MANY:
            return log_mixture_of(self._log_weights, self.wealth, bad, total)
        bad_, total_ = (np.broadcast_to(count, together.shape).reshape(-1) for count in (bad, total))
        near = self._near(bad_, total_)
        found = np.empty(together.size)
        for told, log_e in ((near, self._log_e_near), (~near, self._log_e_all)):
            at = told.nonzero()[0]
            for rows in (at[i : i + BLOCK] for i in range(0, len(at), BLOCK)):
                found[rows] = log_e(bad_[rows], total_[rows])
        return found.reshape(together.shape)

    def _near(self, bad: I64, total: I64) -> Mask:
        """Where only the ``NEAR`` first bets tell. Wealth is concave along the bets, whose odds are geometric: once
        it falls, and lies far below the first one's, it is negligible from there on.
        """
        last, far, good = NEAR - 1, NEAR, total - bad
        falls = bad * (self._bad[far] - self._bad[last]) <= good * (self._good[last] - self._good[far])
        lies = bad * (self._bad[far] - self._bad[0]) + good * (self._good[far] - self._good[0])
        near: Mask = falls & (lies < NEGLIGIBLE)
        return near

    def _log_e_all(self, bad: I64, total: I64) -> F64:
        return log_mixture_of(self._log_weights, self.wealth, bad, total)

    def _log_e_near(self, bad: I64, total: I64) -> F64:
        """The same bits from the first bets alone, as few long rows, added in the order of a short row in numpy."""
        terms = self._good[:NEAR, None] * (total - bad).astype(np.float64)
        terms += self._bad[:NEAR, None] * bad.astype(np.float64)
        terms += self._log_weights[:NEAR, None]
        top = np.maximum.reduce(terms)
        terms -= top
        np.exp(terms, out=terms)
        while len(terms) > 1:
            terms = terms[0::2] + terms[1::2]
        mixed: F64 = np.log(terms[0]) + top
        return mixed


@lru_cache(maxsize=256)
def bernoulli(limit: float, claim: Claim) -> BernoulliEvidence:
    """The evidence object for a limit; its bets are computed once."""
    return BernoulliEvidence(limit, claim)
