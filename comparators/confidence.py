"""Confidence: how sure each arm was of the same requests, in steps of 1/20.

Law: only pairs that both arms answered count, and of those only the ones where at least one arm gave a confidence.
An arm that gave none stands in the last bucket: what is missing is different from every value, and never good.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Steps per unit of confidence; the last one includes 1.
STEPS: Final = 20
#: The steps, and "none given".
BUCKETS: Final = STEPS + 1


def bucket(confidence: F64) -> I64:
    """Bucket of each confidence, held to [0, 1]; NaN (none given) has the last one."""
    known = np.nan_to_num(np.clip(np.asarray(confidence, np.float64), 0.0, 1.0))
    step = np.minimum((known * STEPS).astype(np.int64), STEPS - 1)
    return np.where(np.isnan(confidence), STEPS, step)


def pair_histograms(baseline: F64, candidate: F64) -> dict[str, I64]:
    """``confidence.baseline`` and ``confidence.candidate`` of pairs that both arms answered; none of none."""
    told = ~(np.isnan(baseline) & np.isnan(candidate))
    if not told.any():
        return {}
    return {
        f"confidence.{arm}": np.bincount(bucket(values[told]), minlength=BUCKETS).astype(np.int64)
        for arm, values in (("baseline", baseline), ("candidate", candidate))
    }
