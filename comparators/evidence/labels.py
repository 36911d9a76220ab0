"""Label evidence: has the share of some label changed by more than a limit, and do the arms' labels differ at all?

Law: state = counts per bucket of ``comparators.labels``. On pairs the *size* of the largest change is tested: the
mean over all buckets and directions, with fixed weights, against "no label has changed more", and the least of
them for "none has". On unpaired answers only "the label does not depend on the arm" is tested, which any change
refutes, however small; so it may be shown, and nothing may be rolled back on it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from paritygate.comparators.evidence.dependence import log_gamma
from paritygate.comparators.evidence.mixture import F64, I64, log_mixture, uniform
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.labels import BUCKETS

#: A change of a share goes up or down.
TESTS: Final = 2 * BUCKETS
#: How many answers the belief "each label's share is the arm's share" is worth: gross to slight changes.
_CONCENTRATIONS: Final = np.array([20.0, 200.0, 2000.0])


def log_e_moved(up: I64, down: I64, pairs: I64 | int, limit: float) -> F64:
    """log E against "no share has changed by more than ``limit``": the mean of all buckets and directions.

    ``up``, ``down``: ``[..., BUCKETS]``, of so many ``pairs`` ``[...]``.
    """
    test, total = paired(limit, "above"), np.asarray(pairs)[..., None]
    both = np.concatenate([test.log_e(up, down, total), test.log_e(down, up, total)], axis=-1)
    return log_mixture(uniform(TESTS), both)


def log_e_stayed(up: I64, down: I64, pairs: int, limit: float) -> tuple[float, F64]:
    """log E against "some share has changed by ``limit`` or more", and log-wealth of each bet of the slowest.

    The least of all buckets and directions: whichever share has changed, its own test is among them.
    """
    test = paired(limit, "below")
    worse, better = np.concatenate([up, down]), np.concatenate([down, up])
    log_e = test.log_e(worse, better, pairs)
    slowest = int(np.argmin(np.round(log_e, 6)))
    wealth = test.wealth(int(worse[slowest]), int(better[slowest]), pairs)
    return float(log_e[slowest]), wealth


def log_e_unlike(candidate: I64, baseline: I64, share: float) -> float:
    """log E against "the label says nothing about which arm answered", of answers per bucket; 0 of none.

    Product over labels of beta-binomials around the declared ``share`` of the candidate, averaged over three
    concentrations, over the best single share of all labels (universal inference: Wasserman, Ramdas & Balakrishnan,
    PNAS 2020). So a share other than the declared one costs power and is never taken for a change of labels.

    :raises ValueError: ``share`` is not inside (0, 1).
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"a declared share must lie inside 0..1, not {share}")
    seen = (candidate + baseline) > 0
    ours, theirs = (np.asarray(n[seen], np.float64)[:, None] for n in (candidate, baseline))
    a, b = _CONCENTRATIONS * share, _CONCENTRATIONS * (1.0 - share)
    mixed = log_gamma(ours + a) + log_gamma(theirs + b) - log_gamma(ours + theirs + a + b)
    mixed = mixed - log_gamma(a) - log_gamma(b) + log_gamma(a + b)
    alternative = float(log_mixture(uniform(len(_CONCENTRATIONS)), mixed.sum(axis=0)))
    return alternative - _best_single(int(candidate.sum()), int(baseline.sum()))


def _best_single(candidate: int, baseline: int) -> float:
    """log of what the likeliest single share makes of the arms."""
    total = candidate + baseline
    return sum(n * float(np.log(n / total)) for n in (candidate, baseline) if n)
