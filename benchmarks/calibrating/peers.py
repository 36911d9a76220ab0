"""Peers: what common practice does on the same streams, once a minute.

Law: each gets what it would have in production, per minute and arm, and the pairs only where its rule needs
them. It rolls back at the first alarm, and promotes after ``STAGE_MINUTES`` without one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from calibrating.outcome import F64, I64, NEVER, Mask, Outcome, first

#: Length of the stage after which a peer promotes.
STAGE_MINUTES: Final = 10
#: Minutes of data before the Mann-Whitney judge speaks; with fewer it cannot reach 98 %.
LEAST_MINUTES: Final = 5
#: One-sided 95 %, and one side of two-sided 98 % (the default of Spinnaker's Kayenta).
Z_95: Final = 1.6449
Z_98: Final = 2.3263


def alarms(alarm: Mask, pairs_a_minute: int) -> Outcome:
    """From the alarms of every minute, ``[runs, minutes]``."""
    pairs = (np.arange(alarm.shape[1]) + 1) * pairs_a_minute
    quiet = ~alarm[:, :STAGE_MINUTES].any(axis=1)
    end = np.int64(min(STAGE_MINUTES, alarm.shape[1]) * pairs_a_minute)
    return Outcome(first(alarm, pairs), np.where(quiet, end, NEVER))


def two_proportions(bad_candidate: I64, bad_baseline: I64, candidate: I64 | int, baseline: I64 | int) -> Mask:
    """One-sided pooled z-test "the candidate's share is larger" at p <= 0.05."""
    n, m = np.maximum(candidate, 1), np.maximum(baseline, 1)
    pooled = (bad_candidate + bad_baseline) / (n + m)
    spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    difference = bad_candidate / n - bad_baseline / m
    alarm: Mask = (spread > 0.0) & (difference >= Z_95 * spread)
    return alarm


def mann_whitney(baseline: F64, candidate: F64) -> Mask:
    """Whether the candidate's minutes so far lie higher than the baseline's, ``[runs, minutes]``.

    The judge looks every minute at all minutes so far (a growing interval); normal approximation with
    correction for ties.
    """
    runs, minutes = baseline.shape
    more = np.sign(candidate[:, :, None] - baseline[:, None, :])
    both = np.concatenate([baseline, candidate], axis=1)
    equal = both[:, :, None] == both[:, None, :]
    alarm = np.zeros((runs, minutes), np.bool_)
    for m in range(LEAST_MINUTES, minutes + 1):
        excess = more[:, :m, :m].sum(axis=(1, 2)) / 2.0
        seen = np.r_[0:m, minutes : minutes + m]
        tied = equal[:, seen[:, None], seen].sum(axis=2).astype(np.float64)
        total = 2.0 * m
        ties = (tied**2 - 1.0).sum(axis=1)
        variance = m * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))
        alarm[:, m - 1] = (variance > 1e-9) & (excess >= Z_98 * np.sqrt(np.maximum(variance, 1e-9)))
    return alarm
