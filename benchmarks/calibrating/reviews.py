"""Review gate over many rollouts: reviewers score both answers of a request on a scale of five.

Law: the wealth is `MeanEvidence`'s own, which is linear in the counts; the e-value is that of the product, a
rollback's over onsets as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, Outcome, outcome
from calibrating.rate_gates import TARGET, over_starts
from paritygate.comparators import scores
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import Claim, log_mixture, uniform

LIMIT: Final = -0.02
WINDOW: Final = 10
#: Reviews between two looks of a peer, in place of a minute's requests.
BATCH: Final = 100
LEAST_PAIRS: Final = 50
STEPS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """Scores 0, 1/4, …, 1; three in ten of the candidate's are drawn anew, so differences spread by 0.27.

    ``delta``: mean difference, made of answers that lose one step, or ``ruined``: that lose everything (from 1 to
    0) and are otherwise always equal, the most skewed difference there is. ``onset``: looks before which nothing
    is lost.
    """

    delta: float
    ruined: bool = False
    looks: int = 400
    onset: int = 0

    def draw(self, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
        """Scores of baseline and candidate, ``[runs, reviews]``."""
        shape = (runs, self.looks * WINDOW)
        if self.ruined:
            return np.ones(shape), np.where(random.random(shape) < -self.delta, 0.0, 1.0)
        base = random.integers(0, STEPS + 1, shape)
        redrawn = random.random(shape) < 0.3
        score = np.where(redrawn, random.integers(0, STEPS + 1, shape), base)
        # Four of five scores can lose a step, each of which is a quarter.
        lost = (random.random(shape) < -self.delta / (0.8 / STEPS)) & (score > 0)
        lost[:, : self.onset * WINDOW] = False
        return base / STEPS, np.asarray((score - lost) / STEPS, np.float64)


def simulate(
    stream: Reviews, least: int, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'; ``least``: scored pairs before a promotion."""
    base, candidate = stream.draw(runs, random)
    delta = candidate - base
    pairs = (np.arange(stream.looks) + 1) * WINDOW
    bad, proof = log_e(delta, "below"), log_e(delta, "above")
    failed = bad >= TARGET
    passed = (proof >= TARGET) & (pairs >= least) & ~failed
    return outcome(failed, passed, pairs), _peers(base, candidate)


def log_e(delta: F64, claim: Claim) -> F64:
    """log E at every look: of all pairs so far for a promotion, over onsets for a rollback."""
    values, place = np.unique(delta, return_inverse=True)
    unit = np.zeros((len(values), scores.BUCKETS), np.int64)
    unit[np.arange(len(values)), scores.bucket(values)] = 1
    place = place.reshape(len(delta), -1, WINDOW)
    counts: I64 = np.stack([(place == v).sum(axis=2) for v in range(len(values))], axis=-1)
    wealth = mean(LIMIT, claim).wealth(unit)

    def of_counts(seen: I64) -> F64:
        return log_mixture(uniform(), seen @ wealth)

    seen: I64 = np.cumsum(counts, axis=1)
    return of_counts(seen) if claim == "above" else over_starts(of_counts, seen)[0]


def _peers(base: F64, candidate: F64) -> dict[str, Outcome]:
    """Per batch of reviews: the mean difference; a two-sample z-test of the scores; batch means."""
    base, candidate = (s.reshape(len(s), -1, BATCH) for s in (base, candidate))
    difference = candidate.mean(axis=2) - base.mean(axis=2)
    spread = np.sqrt((base.var(axis=2, ddof=1) + candidate.var(axis=2, ddof=1)) / BATCH)
    z_alarm = (spread > 0.0) & (difference <= -peers.Z_95 * spread)
    # The judge asks whether the first is lower, so the arms change places.
    lower = peers.mann_whitney(candidate.mean(axis=2), base.mean(axis=2))
    return {
        "window_threshold": peers.alarms(difference < LIMIT, BATCH),
        "z_test": peers.alarms(z_alarm, BATCH),
        "mann_whitney": peers.alarms(lower, BATCH),
    }
