"""Two-channel evidence: closed minutes by instance, where one instance may fail or be slow for a minute.

Law: an instance-minute is a burst or calm. *Calm* ones count their bad events one by one, with the exposure of
these same instance-minutes; below the cut requests must fail independently. *Bursts* are events themselves, with
instance-minutes as exposure: an instance of the candidate may be struck as often as one of the baseline. Each
channel is a mixture over the minute in which the trouble may have begun. Arms lie in the order of ``ARMS``: the
baseline's first. A minute that is still open is in neither channel.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.minutes import CUT_RATIO, FEW, since, started
from paritygate.comparators.evidence.mixture import BETS, F64, I64, Mask, log_mixture, uniform
from paritygate.comparators.evidence.share import share

BASELINE, CANDIDATE = 0, 1
#: Standard deviations of chance above the cut, so that few requests of an instance make no burst by chance.
CHANCE: Final = 3.0
#: How far (in latency buckets, 0.54 % each) an instance's mean lies above the minute's to be a slow one: +50 %.
SLOW_BUCKETS: Final = 75
#: And by chance, over the square root of its answers: three times a wide spread (a factor of 1.8) of latencies.
CHANCE_BUCKETS: Final = 330


def failing(bad: I64, total: I64, limit: float = 0.0) -> Mask:
    """Which instance-minutes ``[..., arms, instances]`` are bursts of failures.

    An instance with fewer requests than the arm's mean is measured by the mean: three answers of unknown
    instances that never came are no burst where the others answered a thousand.
    """
    active = total > 0
    mean = total.sum(axis=-1, keepdims=True) / np.maximum(active.sum(axis=-1, keepdims=True), 1)
    cut = max(CUT_RATIO, 2.0 * limit) * np.maximum(total, mean)
    found: Mask = active & (bad > cut + CHANCE * np.sqrt(cut) + FEW)
    return found


def slow(buckets: I64, answered: I64) -> Mask:
    """Which instance-minutes ``[..., arms, instances]`` are far slower than both arms together in that minute.

    ``buckets``: sums of the latency buckets of the ``answered``. Symmetric in the arms.
    """
    pooled = buckets.sum(axis=(-2, -1), keepdims=True) / np.maximum(answered.sum(axis=(-2, -1), keepdims=True), 1)
    above = buckets - pooled * answered
    found: Mask = (answered > 0) & (above > SLOW_BUCKETS * answered + CHANCE_BUCKETS * np.sqrt(answered))
    return found


def log_e_bursts(struck: Mask, active: Mask, ratio: float = 1.0) -> F64:
    """log E since each minute of "an instance of the candidate is struck more than ``ratio`` times as often".

    ``struck``, ``active``: ``[..., minutes, arms, instances]``; the result is ``[..., minutes]``.
    """
    return _share_since(struck.sum(axis=-1), active.sum(axis=-1), ratio)


def log_e_calm_share(bad: I64, total: I64, calm: Mask, ratio: float) -> F64:
    """log E since each minute of "more than ``ratio`` times the baseline's rate" in calm instance-minutes."""
    return _share_since((bad * calm).sum(axis=-1), (total * calm).sum(axis=-1), ratio)


def log_e_calm_limit(bad: I64, total: I64, calm: Mask, limit: float) -> F64:
    """log E since each minute of "above ``limit``" in the candidate's calm instance-minutes."""
    counts = ((part * calm)[..., CANDIDATE, :].sum(axis=-1) for part in (bad, total))
    return bernoulli(limit, "above").log_e(*(since(c) for c in counts))


def log_e_limit(bad: I64, total: I64, limit: float) -> F64:
    """log E since each minute of "above ``limit``" in all requests of the candidate, bursts among them."""
    return bernoulli(limit, "above").log_e(*(since(part[..., CANDIDATE, :].sum(axis=-1)) for part in (bad, total)))


def rate_channels(bad: I64, total: I64, *, limit: float | None = None, ratio: float = 1.0) -> tuple[F64, F64]:
    """log E (calm, bursts) of a rate from closed minutes ``[..., minutes, arms, instances]``, oldest first.

    With a ``limit`` bursts alone say nothing: the candidate must be beyond it too. The lesser of both e-values is
    one for "one of both is well", and a burst that keeps the limit is nobody's harm.
    """
    struck, active = failing(bad, total, limit or 0.0), total > 0
    if limit is None:
        calm, bursts = log_e_calm_share(bad, total, ~struck, ratio), log_e_bursts(struck, active, ratio)
    else:
        calm = log_e_calm_limit(bad, total, ~struck, limit)
        bursts = np.minimum(log_e_bursts(struck, active), log_e_limit(bad, total, limit))
    return started(calm), started(bursts)


def _share_since(bad: I64, total: I64, ratio: float) -> F64:
    """The share test of counts ``[..., minutes, arms]`` since each minute, each at its own exposure."""
    candidate, baseline = total[..., CANDIDATE], total[..., BASELINE]
    part = candidate / np.maximum(candidate + baseline, 1)
    events = bad.astype(np.float64)
    gains = share(ratio).gains(events[..., CANDIDATE], events[..., BASELINE], part)
    return log_mixture(uniform(BETS), np.cumsum(gains[..., ::-1, :], axis=-2)[..., ::-1, :])
