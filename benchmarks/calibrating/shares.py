"""Label shift over many rollouts: five labels, some of which change at random and some in one direction.

Law: each bucket's e-value is the product's own `PairedEvidence`; only their mean and least are taken on arrays, and
a test compares both with the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, Mask, Outcome, outcome
from calibrating.rate_gates import TARGET, distinct, over_starts
from calibrating.traffic import MINUTE
from paritygate.comparators.evidence.labels import TESTS
from paritygate.comparators.evidence.mixture import Claim, log_mixture
from paritygate.comparators.evidence.paired import paired
from paritygate.gates.spec import GateSpec

SHARES: Final = np.array([0.55, 0.25, 0.12, 0.06, 0.02])
WINDOW: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """``churn`` of the pairs change their label in a way that keeps every share; ``shift`` of them turn from the
    first label to the second. ``onset``: looks before which none turn.
    """

    churn: float
    shift: float
    looks: int = 400
    onset: int = 0

    def draw(self, runs: int, random: np.random.Generator) -> tuple[I64, I64, I64]:
        """Per window ``[runs, looks, labels]``: pairs that entered a label, left it, and the baseline's."""
        size = len(SHARES)
        # A change between two labels is as likely forth as back, so shares stay.
        change = self.churn * np.outer(SHARES, SHARES) / (1.0 - (SHARES**2).sum())
        np.fill_diagonal(change, 0.0)
        before = random.multinomial(WINDOW, _chances(change), (runs, self.onset))
        change[0, 1] += self.shift
        drawn = random.multinomial(WINDOW, _chances(change), (runs, self.looks - self.onset))
        drawn = np.concatenate([before, drawn], axis=1)
        moved = drawn[..., : size * size].reshape(runs, self.looks, size, size)
        left = moved.sum(axis=3)
        return moved.sum(axis=2), left, drawn[..., size * size :] + left


def _chances(change: F64) -> F64:
    """Of each change, then of each label to stay."""
    chances: F64 = np.concatenate([change.ravel(), SHARES - change.sum(axis=1)])
    chances /= chances.sum()
    return chances


def simulate(
    gate: GateSpec, stream: Labels, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'."""
    up, down, base = stream.draw(runs, random)
    pairs = (np.arange(stream.looks) + 1) * WINDOW
    seen_up, seen_down = np.cumsum(up, axis=1), np.cumsum(down, axis=1)
    total = np.broadcast_to(pairs, up.shape[:2])
    failed = over_starts(partial(moved, gate.limit), seen_up, seen_down, total)[0] >= TARGET
    proven = stayed(gate.limit, seen_up, seen_down, pairs) >= TARGET
    passed = proven & (pairs >= gate.minimum_samples) & ~failed
    return outcome(failed, passed, pairs), _peers(gate, up, down, base)


def moved(limit: float, up: I64, down: I64, pairs: I64) -> F64:
    """log E of "some share has changed by more", as `log_e_moved`, ``[runs, looks]``."""
    told, silent = _log_e(limit, "above", up, down, pairs)
    rest = TESTS - told.shape[-1]
    weights = np.log(np.r_[np.full(told.shape[-1], 1.0), float(rest)] / TESTS)
    mixed: F64 = log_mixture(weights, np.concatenate([told, silent], axis=-1))
    return mixed


def stayed(limit: float, up: I64, down: I64, pairs: I64) -> F64:
    """log E of "no share has", as `log_e_stayed`, ``[runs, looks]``."""
    told, silent = _log_e(limit, "below", up, down, pairs)
    least: F64 = np.minimum(told.min(axis=-1), silent[..., 0])
    return least


def _log_e(limit: float, claim: Claim, up: I64, down: I64, pairs: I64) -> tuple[F64, F64]:
    """log E of both directions of the labels there are, and of a bucket without any label."""
    test = paired(limit, claim).log_e
    total = np.broadcast_to(pairs[..., None], up.shape)
    told = np.concatenate([distinct(test, up, down, total), distinct(test, down, up, total)], axis=-1)
    silent = np.broadcast_to(test(0, 0, pairs)[..., None], (*up.shape[:2], 1))
    return told, silent


def _peers(gate: GateSpec, up: I64, down: I64, base: I64) -> dict[str, Outcome]:
    """Per minute: the largest change of a share against the limit; a z-test of every label, both ways."""
    per_minute = MINUTE // WINDOW
    shape = (len(up), up.shape[1] // per_minute, per_minute, len(SHARES))
    up, down, base = (c[:, : shape[1] * per_minute].reshape(shape).sum(axis=2) for c in (up, down, base))
    beyond: Mask = (np.abs(up - down) > gate.limit * MINUTE).any(axis=2)
    other = base + up - down
    more, less = (peers.two_proportions(a, b, MINUTE, MINUTE) for a, b in ((other, base), (base, other)))
    alarm = np.any(more | less, axis=2)
    return {"window_threshold": peers.alarms(beyond, MINUTE), "z_test": peers.alarms(alarm, MINUTE)}
