"""Passage: how many observations an e-process needs until it reaches its bar.

Law: an estimate for plans and for people; no verdict rests on it. log E of the best fixed bet is a random
walk with drift g and variance v per observation, and its first passage over b is about inverse Gaussian with
mean b/g and shape b^2/v (Wald 1947; Folks & Chhikara, JRSS B 1978). Where a handful of events decides, the
walk climbs evenly and falls in leaps, and the exact law of the counts takes its place (:func:`exact_below`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import F64, uniform

#: Halvings of a quantile's bracket: exact to 1e-12 of its size.
HALVINGS: Final = 50
#: Bets whose drift is at least this part of the best one's share the mixture's price with it.
NEAR: Final = 0.9
#: Up to so many bad events, and up to this chance of a proof, the law of the counts is worked out.
MOST_EVENTS: Final = 600
ENOUGH: Final = 0.95


class Passage(Protocol):
    """The law of the number of observations until proof."""

    def quantile(self, p: float) -> float:
        """Observations within which a proof comes with chance ``p`` (0..1, both excluded)."""


@dataclass(frozen=True, slots=True)
class InverseGaussian:
    """First passage of a walk with drift. ``shape`` is ``inf`` where every step is the same."""

    mean: float
    shape: float

    def cdf(self, x: float) -> float:
        """Chance that the bar is reached within ``x`` observations."""
        if x <= 0.0:
            return 0.0
        root = math.sqrt(self.shape / x)
        first = 0.5 * math.erfc(-root * (x / self.mean - 1.0) / math.sqrt(2.0))
        # exp(2 shape / mean) overflows long before its product with the tail does.
        second = 2.0 * self.shape / self.mean + _log_tail(root * (x / self.mean + 1.0))
        return min(first + math.exp(min(second, 0.0)), 1.0)

    def quantile(self, p: float) -> float:
        """By halving a bracket of the distribution function."""
        if math.isinf(self.shape):
            return self.mean
        low, high = 0.0, self.mean
        while self.cdf(high) < p:
            low, high = high, 2.0 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.cdf(middle) < p else (low, middle)
        return high


@dataclass(frozen=True, slots=True)
class Steps:
    """A proof can only come at certain counts. ``at`` rises; ``chance`` is that of a proof by then."""

    at: tuple[int, ...]
    chance: tuple[float, ...]

    def quantile(self, p: float) -> float:
        """The first count by which the chance is ``p``.

        :raises ValueError: ``p`` is beyond what was worked out.
        """
        for count, reached in zip(self.at, self.chance, strict=True):
            if reached >= p:
                return float(count)
        raise ValueError(f"the law of the counts is known up to {self.chance[-1]:.2f}, not to {p:g}")


def walk(
    gains: F64, chances: F64, alpha: float, *, log_weights: F64 | None = None, price: float = 0.0
) -> InverseGaussian | None:
    """First passage of a mixture over ``ln(1 / alpha)``; None where no bet grows.

    ``gains``: log-wealth of each bet per outcome, ``[outcomes, bets]``. ``chances``: of each outcome.
    ``log_weights``: of the bets, uniform unless given. ``price``: log of what the mixture costs beyond its
    bets. The bar is ``ln(1 / alpha)`` plus the price of the bets near the best one.
    """
    drift = chances @ gains
    best = int(np.argmax(drift))
    if drift[best] <= 0.0:
        return None
    weights = uniform(gains.shape[1]) if log_weights is None else log_weights
    shared = float(np.exp(weights[drift > NEAR * drift[best]]).sum())
    bar = math.log(1.0 / alpha) - math.log(shared) + price
    variance = float(chances @ (gains[:, best] - drift[best]) ** 2)
    return InverseGaussian(bar / float(drift[best]), bar * bar / variance if variance > 0.0 else math.inf)


def exact_below(limit: float, rate: float, alpha: float) -> Steps | None:
    """First passage of "the rate is below ``limit``" by the law of the counts; None where it takes too many.

    With s bad events the proof comes at the first n_s observations that carry it, so it comes at n_s exactly
    if at most s were bad among them and it had not come before. Events at a small ``rate`` are taken as
    Poisson.
    """
    evidence, target = bernoulli(limit, "below"), math.log(1.0 / alpha)
    at, chance = [0], [0.0]
    # Chance of so many events and no proof yet; room for as many again, that nothing is lost at the end.
    waiting = np.zeros(2 * MOST_EVENTS)
    waiting[0] = 1.0
    for events in range(MOST_EVENTS):

        def proven(count: int, events: int = events) -> bool:
            return float(evidence.log_e(events, count)) >= target

        count = _first(proven, at)
        waiting = _arrive(waiting, rate * (count - at[-1]))
        waiting[: events + 1] = 0.0
        at.append(count)
        # Beyond the last place chances are dropped as if they were proofs, so it must be all but empty.
        if waiting[-1] > 1e-9:
            return None
        chance.append(1.0 - float(waiting.sum()))
        if chance[-1] >= ENOUGH:
            return Steps(tuple(at[1:]), tuple(chance[1:]))
    return None


def _first(proven: Callable[[int], bool], at: list[int]) -> int:
    """The first number above the last of ``at`` from which on ``proven`` is true; the last gap is the guess."""
    low = at[-1]
    step = max(at[-1] - at[-2], 1) if len(at) > 1 else 16
    while not proven(low + step):
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proven(middle) else (middle, high)
    return high


def _arrive(waiting: F64, mean: float) -> F64:
    """The chances after Poisson many more events, ``mean`` of them on average."""
    if mean <= 0.0:
        return waiting.copy()
    most = min(math.ceil(mean + 10.0 * math.sqrt(mean)) + 10, len(waiting))
    chances = np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1.0)) for k in range(most)])
    moved: F64 = np.convolve(waiting, chances)[: len(waiting)]
    return moved


def _log_tail(y: float) -> float:
    """log of the normal tail beyond ``y`` >= 0."""
    if y < 25.0:
        return math.log(0.5 * math.erfc(y / math.sqrt(2.0)))
    return -0.5 * y * y - math.log(y * math.sqrt(2.0 * math.pi)) - 1.0 / (y * y)
