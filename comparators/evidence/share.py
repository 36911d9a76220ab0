"""ShareEvidence: given that a bad request happened, was it the candidate's too often?

Law: state = per micro-batch (exposure of each arm, bad events of each arm). Only bad events are looked at,
each against the candidate's share of its own batch, so changing weights and incidents that strike both arms
cancel. Batches without a bad event contribute exactly nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paritygate.comparators.evidence.mixture import (
    BETS,
    F64,
    I64,
    Claim,
    geometric,
    log_mixture,
    uniform,
)


class ShareEvidence:
    """Unpaired e-process about ``candidate rate`` against ``ratio * baseline rate``.

    One-sided form with margin of Lindon & Malek (NeurIPS 2022). The realised share of a batch may stand for
    the routing probability: given the margins the count is hypergeometric, and for convex functions (ours is
    exponential in the count) its mean is at most the binomial's (Hoeffding 1963, Theorem 4). That argument
    is exact for ratio 1; for others it leaves out only that bad events deplete their own batch.
    """

    __slots__ = ("_log_weights", "_multiple", "claim", "ratio")

    def __init__(self, ratio: float = 1.0, claim: Claim = "above", largest: float = 200.0) -> None:
        """``largest``: the largest multiple of ``ratio`` that is bet on."""
        if not 0.0 < ratio < np.inf:
            raise ValueError(f"a ratio of two rates must be above 0, not {ratio}")
        self.ratio, self.claim = ratio, claim
        steps = geometric(1.05, largest)
        self._multiple = ratio * steps if claim == "above" else ratio / steps
        self._log_weights = uniform(BETS)

    def wealth(self, batches: I64) -> F64:
        """Log-wealth of each bet, ``[BETS]``, of rows (candidate, baseline, bad candidate, bad baseline)."""
        exposure, bad = batches[:, :2].astype(np.float64), batches[:, 2:].astype(np.float64)
        total = exposure.sum(axis=1)
        part = exposure[:, 0] / np.maximum(total, 1.0)
        grown: F64 = self.gains(bad[:, 0], bad[:, 1], part).sum(axis=0)
        return grown

    def gains(self, bad_candidate: F64, bad_baseline: F64, part: F64 | float) -> F64:
        """Log-wealth of each bet for bad events at the candidate's exposure share ``part``, ``[..., BETS]``."""
        candidate, baseline, part_ = (np.asarray(v)[..., None] for v in (bad_candidate, bad_baseline, part))
        spread = np.log(self._multiple * part_ + 1.0 - part_) - np.log(self.ratio * part_ + 1.0 - part_)
        gained: F64 = candidate * (np.log(self._multiple / self.ratio) - spread) - baseline * spread
        return gained

    def log_e(self, batches: I64) -> float:
        """log E of all batches; 0 of none."""
        return float(log_mixture(self._log_weights, self.wealth(batches))) if len(batches) else 0.0

    def log_e_at(self, bad_candidate: F64, bad_baseline: F64, part: F64 | float) -> F64:
        """log E of counts that share one exposure share."""
        return log_mixture(self._log_weights, self.gains(bad_candidate, bad_baseline, part))


@lru_cache(maxsize=64)
def share(ratio: float = 1.0, claim: Claim = "above", largest: float = 200.0) -> ShareEvidence:
    """The evidence object for a ratio limit; its bets are computed once."""
    return ShareEvidence(ratio, claim, largest)
