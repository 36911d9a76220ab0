"""Confidence shift over many rollouts: a share of the answers loses all confidence, the others keep their spread.

Law: radius and rule are the product's own; only the gaps are taken on arrays, and a test compares both with
`assess_drift`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, Outcome, outcome
from calibrating.rate_gates import pane_width
from calibrating.traffic import MINUTE
from paritygate.comparators.confidence import BUCKETS, STEPS
from paritygate.comparators.evidence.distribution import gap_radius
from paritygate.comparators.evidence.mixture import start_log_weights
from paritygate.gates.evidence import WHOLE_LOG_WEIGHT
from paritygate.gates.spec import GateSpec

WINDOW: Final = 50
#: Shares of the steps of confidence: none in the lowest, most in the upper third.
SPREAD: Final = np.r_[0.0, np.arange(1.0, STEPS) ** 2, 0.0] / (np.arange(1.0, STEPS) ** 2).sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidences:
    """``lost`` of the candidate's answers have no confidence left, so the two distributions are that far apart.

    ``onset``: looks before which nothing is lost.
    """

    lost: float
    looks: int = 400
    onset: int = 0

    def draw(self, runs: int, random: np.random.Generator) -> tuple[I64, I64]:
        """Per window ``[runs, looks, buckets]``: the baseline's answers and the candidate's."""
        shape = (runs, self.looks)
        moved = (1.0 - self.lost) * SPREAD
        moved[0] = self.lost
        candidate = random.multinomial(WINDOW, moved, shape)
        candidate[:, : self.onset] = random.multinomial(WINDOW, SPREAD, (runs, self.onset))
        return random.multinomial(WINDOW, SPREAD, shape), candidate


def simulate(
    gate: GateSpec, stream: Confidences, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'."""
    baseline, candidate = stream.draw(runs, random)
    pairs = (np.arange(stream.looks) + 1) * WINDOW
    gap = gaps(np.cumsum(baseline, axis=1), np.cumsum(candidate, axis=1))
    radius = np.array([gap_radius(int(seen), 0.05) for seen in pairs])
    failed = surely(baseline, candidate) > gate.limit
    passed = (gap + radius < gate.limit) & (pairs >= gate.minimum_samples) & ~failed
    return outcome(failed, passed, pairs), _peers(gate, baseline, candidate)


def surely(baseline: I64, candidate: I64) -> F64:
    """Lower bound of the gap since the onset that says most, at every look, from the counts of windows."""
    seen = [np.cumsum(np.pad(counts, [(0, 0), (1, 0), (0, 0)]), axis=1) for counts in (baseline, candidate)]
    found = np.zeros(baseline.shape[:2])
    for look in range(baseline.shape[1]):
        width = pane_width(look)
        onsets = [0, *range(width, look + 1, width)]
        weights = np.r_[WHOLE_LOG_WEIGHT, start_log_weights(len(onsets) - 1) - math.log(2.0)]
        size = gaps(*(counts[:, look + 1, None] - counts[:, onsets] for counts in seen))
        radius = [
            gap_radius(WINDOW * (look + 1 - onset), 0.05 * math.exp(weight))
            for onset, weight in zip(onsets, weights, strict=True)
        ]
        found[:, look] = (size - radius).max(axis=1)
    return found


def gaps(baseline: I64, candidate: I64) -> F64:
    """`largest_gap` of counts ``[..., buckets]`` of equal size."""
    ahead = np.cumsum(candidate - baseline, axis=-1)
    found: F64 = np.abs(ahead).max(axis=-1) / baseline.sum(axis=-1)
    return found


def _peers(gate: GateSpec, baseline: I64, candidate: I64) -> dict[str, Outcome]:
    """Per minute: the gap of that minute against the limit."""
    per_minute = MINUTE // WINDOW
    shape = (len(baseline), baseline.shape[1] // per_minute, per_minute, BUCKETS)
    ours, theirs = (c[:, : shape[1] * per_minute].reshape(shape).sum(axis=2) for c in (baseline, candidate))
    return {"window_threshold": peers.alarms(gaps(ours, theirs) > gate.limit, MINUTE)}
