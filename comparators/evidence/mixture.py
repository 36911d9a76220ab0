"""Mixture: weighted means of e-values, over bets, over start times and over segments.

Law: a mean of e-values with fixed weights that sum to at most one is an e-value whatever their dependence
(Vovk & Wang, Annals of Statistics 2021). Current values only: a running maximum is no e-value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Counts = int | I64

#: Which side of the limit is to be proven: ``above`` has the null "at most the limit", ``below`` the reverse.
Claim = Literal["above", "below"]

#: Bets per mixture; more change nothing that can be measured, fewer cost power between the bets.
BETS: Final = 24
#: Terms of a mixture that lie so far below the greatest (in nats) change no bit of the sum, and are not worked out.
NEGLIGIBLE: Final = -100.0
#: Fewer terms than this are worked out all: to look for the small ones would cost more.
FEW: Final = 1024
#: Rows of bets that are worked out together, so that what lies between stays in the processor's cache.
BLOCK: Final = 512


@lru_cache(maxsize=256)
def geometric(low: float, high: float, count: int = BETS) -> F64:
    """``count`` points from ``low`` to ``high``, equally far apart on a log scale; read-only."""
    points: F64 = np.exp(np.linspace(math.log(low), math.log(high), count))
    points.setflags(write=False)
    return points


@lru_cache(maxsize=16)
def uniform(count: int = BETS) -> F64:
    """Log weights of ``count`` equal bets; read-only."""
    weights = np.full(count, -math.log(count))
    weights.setflags(write=False)
    return weights


def log_mixture(log_weights: F64, log_e: F64) -> F64:
    """``log sum_k w_k E_k`` along the last axis; -inf where all are."""
    terms = log_e + log_weights
    top = np.maximum.reduce(terms, axis=-1, keepdims=True)
    np.maximum(top, -1e300, out=top)
    # In place, and only where it can matter: most of the time of a look at everything is spent here.
    terms -= top
    flat = terms.reshape(-1) if terms.flags.c_contiguous else terms
    told = np.flatnonzero(flat > NEGLIGIBLE) if flat.size >= FEW and flat.ndim == 1 else flat
    if 2 * len(told) < len(flat):
        held = np.exp(flat[told])
        flat.fill(0.0)
        flat[told] = held
    else:
        np.exp(terms, out=terms)
    with np.errstate(divide="ignore"):
        mixed: F64 = np.log(np.add.reduce(terms, axis=-1)) + top[..., 0]
    return mixed


def log_mixture_of(log_weights: F64, wealth: Callable[..., F64], *counts: Counts) -> F64:
    """:func:`log_mixture` of ``wealth(*counts)``, a function of each row by itself; the same bits, row by row.

    Long arrays are taken in blocks of rows: a few hundred rows fit the cache, a few thousand do not.
    """
    together = np.broadcast(*counts)
    if together.size <= BLOCK:
        return log_mixture(log_weights, wealth(*counts))
    shape = together.shape
    flat = [np.broadcast_to(count, shape).reshape(-1) if np.ndim(count) else count for count in counts]
    found = np.empty(together.size)
    for at in range(0, len(found), BLOCK):
        block = (count[at : at + BLOCK] if isinstance(count, np.ndarray) else count for count in flat)
        found[at : at + BLOCK] = log_mixture(log_weights, wealth(*block))
    return found.reshape(shape)


def start_log_weights(count: int) -> F64:
    """Log weights of the start times 1..count (pane starts after the first); all of them sum to 1/2.

    Blocks of 24, 48, 96, … starts hold 1/4, 1/8, 1/16, …, each in equal parts, so the weight of a start
    never depends on how many follow: the mixture stays an e-process however long a rollout lasts. The other
    half belongs to the start of the rollout (``statistics.md``, "Windows vs cumulative").
    """
    weights = np.empty(count)
    first, length, mass = 0, 24, 0.25
    while first < count:
        weights[first : first + length] = math.log(mass / length)
        first, length, mass = first + length, length * 2, mass / 2
    return weights


def e_bh(log_e: F64, alpha: float) -> Mask:
    """Which hypotheses e-BH rejects: false discovery rate at most ``alpha`` under any dependence.

    Wang & Ramdas, JRSSB 2022: reject the k largest for the largest k with ``k * e_(k) >= m / alpha``.
    """
    count = len(log_e)
    rejected = np.zeros(count, np.bool_)
    bar = math.log(count / alpha) - np.log(np.arange(1, count + 1)) if count else log_e
    # The lowest bar is the last; what does not reach it reaches none, and need not be sorted.
    high = np.flatnonzero(log_e >= bar[-1:].min(initial=math.inf))
    order = high[np.argsort(-log_e[high], kind="stable")]
    enough = np.flatnonzero(log_e[order] >= bar[: len(order)])
    if len(enough):
        rejected[order[: enough[-1] + 1]] = True
    return rejected


def more_needed(wealth: F64, seen: int, log_e: float, target: float) -> int | None:
    """About how many more observations like those ``seen`` bring ``log_e`` to ``target``; None if they never do.

    ``wealth``: log-wealth of each bet after ``seen`` observations. log E grows by the best bet's mean gain
    per observation (a random walk with drift; first passage as in Wald 1947).
    """
    if log_e >= target:
        return 0
    gain = float(np.max(wealth)) / seen if seen else 0.0
    return math.ceil((target - log_e) / gain) if gain > 0.0 else None
