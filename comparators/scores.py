"""Scores: paired differences of outcome measures, in steps of 1/1000 from -1 to 1.

Law: a delta is candidate minus baseline of one request, each score in 0..1; bucket 1000 is "no difference".
Counts per bucket merge by ``+``, and every sum over requests that a test needs follows from them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Steps per unit of score.
STEPS: Final = 1000
#: -1.000, -0.999, …, 1.000.
BUCKETS: Final = 2 * STEPS + 1


def bucket(delta: F64) -> I64:
    """Bucket of each delta, rounded to 1/1000 and held to [-1, 1].

    :raises ValueError: a delta is NaN.
    """
    delta = np.asarray(delta, np.float64)
    if np.isnan(delta).any():
        raise ValueError("a score delta is NaN")
    return (np.rint(np.clip(delta, -1.0, 1.0) * STEPS) + STEPS).astype(np.int64)


def values() -> F64:
    """The delta that each bucket stands for."""
    return (np.arange(BUCKETS) - STEPS) / STEPS
