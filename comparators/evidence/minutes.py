"""Minute evidence: a rate whose bad events come in bursts, judged by closed minutes instead of by requests.

Law: two e-processes, averaged. *Quiet minutes* count their requests one by one; a minute above the cut adds
nothing to them, neither its events nor its exposure; below the cut requests must fail independently. *All
minutes* count each minute as one observation, its share of bad ones, so requests of a minute may fail
together as they like: it is enough that no minute's expected share, given the minutes before it, is beyond the
limit. A minute that is still open is in neither.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import (
    F64,
    I64,
    Mask,
    geometric,
    log_mixture,
    start_log_weights,
    uniform,
)
from paritygate.comparators.evidence.paired import paired_ratio

#: A minute with a larger share of bad ones is a burst, unless the limit itself is not far below.
CUT_RATIO: Final = 0.02
#: So few bad ones make no burst, however small the minute.
FEW: Final = 2
#: Half for the start of the rollout, half for the starts of later minutes.
_HALF: Final = float(np.log(0.5))


def quiet(bad: I64, total: I64, limit: float = 0.0) -> Mask:
    """Which minutes are no burst. The cut depends on the limit and the exposure alone, never on what failed before.

    For evidence above ``limit`` any such cut is safe: what it leaves out of a bet that grows with the bad
    ones is its largest gains.
    """
    found: Mask = bad <= np.maximum(max(CUT_RATIO, 2.0 * limit) * total, FEW)
    return found


def log_e_absolute(bad: I64, total: I64, limit: float) -> F64:
    """log E for "the rate is above ``limit``" from closed minutes ``[..., minutes]``, oldest first."""
    calm = quiet(bad, total, limit)
    single = bernoulli(limit, "above").log_e(since(np.where(calm, bad, 0)), since(np.where(calm, total, 0)))
    return _mean(single, by_minute_limit(bad, total, limit))


def log_e_ratio(worse: I64, better: I64, both: I64, total: I64, ratio: float) -> F64:
    """log E for "the candidate's rate is above ``ratio`` times the baseline's" from closed minutes.

    ``worse``: pairs in which only the candidate was bad; ``better``: only the baseline; ``both``: both.
    """
    calm = quiet(worse + both, total) & quiet(better + both, total)
    counts = (since(np.where(calm, column, 0)) for column in (worse, better, both))
    single = paired_ratio(ratio, "above").log_e(*counts)
    return _mean(single, by_minute_ratio(worse, better, both, total, ratio))


def by_minute_limit(bad: I64, total: I64, limit: float) -> F64:
    """log E since each minute of "above ``limit``", one bet a minute, ``[..., minutes]``."""
    share = bad / np.maximum(total, 1)
    bets = geometric(0.5, 0.95 / limit) if limit < 0.95 else geometric(0.05, 0.95 / limit)
    return _by_minute(np.where(total > 0, share - limit, 0.0), bets)


def by_minute_ratio(worse: I64, better: I64, both: I64, total: I64, ratio: float) -> F64:
    """log E since each minute of "above ``ratio`` times the baseline's", one bet a minute, ``[..., minutes]``."""
    gap = (worse + both - ratio * (better + both)) / np.maximum(total, 1)
    return _by_minute(gap, geometric(1e-2, 0.95) / ratio)


def since(counts: I64) -> I64:
    """Sums of each minute and all after it."""
    found: I64 = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    return found


def started(log_e: F64) -> F64:
    """log E of the mixture over the minute in which the trouble may have begun, from log E since each minute."""
    minutes = log_e.shape[-1]
    if not minutes:
        return np.zeros(log_e.shape[:-1])
    weights = np.concatenate([[_HALF], start_log_weights(minutes - 1)])
    # Starts that are still to come hold E = 1: their weight is not lost, and it never depends on how many came.
    rest = np.log1p(-np.minimum(np.exp(weights).sum(), 1.0 - 1e-12))
    to_come = np.zeros((*log_e.shape[:-1], 1))
    return log_mixture(np.append(weights, rest), np.concatenate([log_e, to_come], axis=-1))


def _by_minute(excess: F64, bets: F64) -> F64:
    """log E since each minute of the bets ``1 + bet * excess``, one bet a minute."""
    gained = np.log1p(excess[..., None] * bets)
    return log_mixture(uniform(len(bets)), np.cumsum(gained[..., ::-1, :], axis=-2)[..., ::-1, :])


def _mean(*channels: F64) -> F64:
    """The mean of the channels, each a mixture over starts."""
    return log_mixture(uniform(len(channels)), np.stack([started(c) for c in channels], axis=-1))
