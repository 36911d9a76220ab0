"""Gates on numbers of events over many rollouts: tokens with heavy tails, and answers that cite or do not.

Law: counts are those of `comparators.numbers`, the wealth is `MeanEvidence`'s own, which is linear in them; the
e-value is that of the product, a rollback's over onsets as there. The truth is about means of values held to the
cap, which is what the gate judges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, Mask, Outcome, outcome
from calibrating.rate_gates import TARGET, over_starts
from calibrating.traffic import MINUTE
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import BETS, Claim, log_mixture, uniform
from paritygate.comparators.numbers import BUCKETS, PARTS, STEPS, NumberRule
from paritygate.gates.measures import Rule
from paritygate.gates.spec import GateSpec

#: Correlation of the logarithms of a pair's tokens, and the median of the baseline's over the cap.
CORRELATION: Final = 0.7
MEDIAN: Final = 0.05
WINDOW: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Lognormal tokens of standard deviation ``sigma`` (of the logarithm); the mean of the candidate's, held to the
    cap, is ``ratio`` times the baseline's, likewise held. ``onset``: looks before which they are alike.
    """

    sigma: float
    ratio: float
    looks: int = 400
    onset: int = 0

    def draw(self, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
        """Tokens over the cap of baseline and candidate, ``[runs, pairs]``."""
        shape = (runs, self.looks * WINDOW)
        shared = random.normal(size=shape)
        other = CORRELATION * shared + math.sqrt(1.0 - CORRELATION**2) * random.normal(size=shape)
        factor = np.where(np.arange(shape[1]) < self.onset * WINDOW, 1.0, self._factor())
        base = np.minimum(MEDIAN * np.exp(self.sigma * shared), 1.0)
        return base, np.minimum(MEDIAN * factor * np.exp(self.sigma * other), 1.0)

    def _factor(self) -> float:
        """What the candidate's tokens are multiplied by before they are held to the cap."""
        wanted, low, high = self.ratio * held_mean(MEDIAN, self.sigma), 0.1, 100.0
        for _ in range(60):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if held_mean(MEDIAN * middle, self.sigma) < wanted else (low, middle)
        return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Answers that cite (1) or do not (0): 80 % of the baseline's, ``delta`` more of the candidate's.

    One in ten of the candidate's is drawn anew.
    """

    delta: float
    looks: int = 400

    def draw(self, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
        """Baseline and candidate, ``[runs, pairs]``."""
        shape = (runs, self.looks * WINDOW)
        base = random.random(shape) < 0.8
        other = np.where(random.random(shape) < 0.1, random.random(shape) < 0.8, base)
        lost = random.random(shape) < -self.delta / 0.8
        return base.astype(np.float64), (other & ~lost).astype(np.float64)


def held_mean(median: float, sigma: float) -> float:
    """Mean of a lognormal value held to 1."""

    def below(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2.0))

    z = -math.log(median) / sigma
    return median * math.exp(sigma * sigma / 2.0) * below(z - sigma) + 1.0 - below(z)


def simulate(
    gate: GateSpec, stream: Tokens | Cited, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'."""
    base, candidate = stream.draw(runs, random)
    pairs = (np.arange(stream.looks) + 1) * WINDOW
    relative = gate.rule is Rule.MAXIMUM_REGRESSION_PERCENT
    good: Claim = "below" if relative else "above"
    bad: Claim = "above" if relative else "below"
    log_e_bad, log_e_ok = log_e(gate, base, candidate, bad), log_e(gate, base, candidate, good)
    failed = log_e_bad >= TARGET
    passed = (log_e_ok >= TARGET) & (pairs >= gate.minimum_samples) & ~failed
    return outcome(failed, passed, pairs), _peers(gate, base, candidate)


def log_e(gate: GateSpec, base: F64, candidate: F64, claim: Claim) -> F64:
    """log E at every look, ``[runs, looks]``: of all pairs so far for a promotion, over onsets for a rollback.

    Values are over the cap.
    """
    rule = gate.number_rule()
    assert rule is not None
    relative = gate.rule is Rule.MAXIMUM_REGRESSION_PERCENT
    limit = rule.on_buckets(0.0 if relative else gate.limit)
    looks = base.shape[1] // WINDOW
    gained, wealth = _wealth(limit, claim), np.empty((len(base), looks, BETS))
    for run in range(len(base)):
        lower, upper_part = _shared(rule, base[run], candidate[run])
        each = gained[lower] * (1.0 - upper_part) + gained[lower + 1] * upper_part
        wealth[run] = np.cumsum(each.reshape(looks, WINDOW, BETS).sum(axis=1), axis=0)

    def mixed(seen: F64) -> F64:
        return log_mixture(uniform(), seen)

    return over_starts(mixed, wealth)[0] if (claim == "above") == relative else mixed(wealth)


@lru_cache(maxsize=8)
def _wealth(limit: float, claim: Claim) -> F64:
    """Log-wealth of each bet by one pair in each bucket, and one more bucket that nothing ever falls in."""
    unit = np.eye(BUCKETS, dtype=np.int64)
    found = np.zeros((BUCKETS + 1, BETS))
    for start in range(0, BUCKETS, WINDOW):  # by parts: the product sums over all buckets that are used
        part = slice(start, start + WINDOW)
        found[:BUCKETS][part] = mean(limit, claim).wealth(unit[part])
    return found


def _shared(rule: NumberRule, base: F64, candidate: F64) -> tuple[I64, F64]:
    """The lower of each pair's two buckets, and the upper one's part: `comparators.numbers.split`, pair by pair."""
    place = (2.0 * (candidate - rule.slope * base) + rule.slope - 1.0) / (1.0 + rule.slope)
    units = (np.rint(place * (STEPS * PARTS)) + STEPS * PARTS).astype(np.int64)
    lower, upper_part = np.divmod(units, PARTS)
    return lower, (upper_part / PARTS)[:, None]


def _peers(gate: GateSpec, base: F64, candidate: F64) -> dict[str, Outcome]:
    """Per minute: the means against the limit; a two-sample z-test of "worse"; minute means of Mann-Whitney."""
    minutes = base.shape[1] // MINUTE
    base, candidate = (v[:, : minutes * MINUTE].reshape(len(v), minutes, MINUTE) for v in (base, candidate))
    ours, theirs = candidate.mean(axis=2), base.mean(axis=2)
    spread = np.sqrt((base.var(axis=2, ddof=1) + candidate.var(axis=2, ddof=1)) / MINUTE)
    if gate.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        beyond: Mask = ours > (1.0 + gate.limit / 100.0) * theirs
        worse, judged = ours - theirs, peers.mann_whitney(theirs, ours)
    else:
        beyond = ours - theirs < gate.limit
        worse, judged = theirs - ours, peers.mann_whitney(ours, theirs)
    return {
        "window_threshold": peers.alarms(beyond, MINUTE),
        "z_test": peers.alarms((spread > 0.0) & (worse >= peers.Z_95 * spread), MINUTE),
        "mann_whitney": peers.alarms(judged, MINUTE),
    }
