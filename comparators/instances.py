"""Instances: what each instance of both arms did, as additive counts of 64 places.

Law: an instance's place follows from its id alone, so partitions agree on it and counts merge by ``+``. Two
instances of an arm that share a place count as one: that makes a burst of one weaker, never a good one bad. Place
0 holds the requests of unknown instances: events without ``instance_id``, and answers that never came.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators import latency
from paritygate.comparators.tally import INDEX, Counts, Tally
from paritygate.schemas.prediction import ARMS

if TYPE_CHECKING:  # what only reads counts loads nothing that handles events
    from paritygate.comparators.measuring import Measured
    from paritygate.schemas.codes import Codes

I8 = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Places per arm; the first one is that of unknown instances.
BUCKETS: Final = 64
FAMILY: Final = "instances"
#: What is counted per instance: settled requests, failed ones, outputs checked, invalid ones, and, of pairs whose
#: baseline answered, the arm's answers and the sum of their latency buckets (``comparators.latency``).
WHATS: Final = ("requests", "errors", "checked", "invalid", "answered", "latency_buckets")
PLACE: Final[dict[str, int]] = {what: i for i, what in enumerate(WHATS)}
#: Histogram names, ``[arm][what]``, arms in the order of ``ARMS``.
NAMES: Final = tuple(tuple(f"{FAMILY}.{arm.value}.{what}" for what in WHATS) for arm in ARMS)


@dataclass(frozen=True, slots=True)
class InstanceMinutes:
    """Counts by instance of the minutes that have closed, ``[minutes, arms, WHATS, BUCKETS]``, oldest first.

    ``opening``: of the rollout's first minute, ``[arms, WHATS, BUCKETS]``. ``calm``: latency histograms and
    difference arrays of the minutes in which no instance was slow or failing. ``in_stage``: which minutes lie whole
    in the present stage and have been reported by every partition. ``minute_ms``: how long each is.
    """

    minutes: Counts
    opening: Counts
    in_stage: Mask
    minute_ms: int
    calm: Mapping[str, Counts] = field(default_factory=dict)


def places(instance_id: Codes) -> I8:
    """The place of each row's instance."""
    of = [1 + zlib.crc32(value.encode()) % (BUCKETS - 1) if value else 0 for value in instance_id.values]
    found: I8 = np.array([*of, 0], np.int8)[instance_id.index]  # index -1 reads the 0 at the end
    return found


def count(measured: Measured, rows: I64) -> dict[str, Counts]:
    """Histograms of some settled requests."""
    found: dict[str, Counts] = {}
    flags, timed = measured.flags[:, rows], measured.timed[rows]
    sides = (
        (measured.baseline_instance[rows], measured.baseline_ms[rows]),
        (measured.candidate_instance[rows], measured.candidate_ms[rows]),
    )
    for arm, names, (at, latency_ms) in zip(ARMS, NAMES, sides, strict=True):
        answered = timed & np.isfinite(latency_ms)
        masks = [
            flags[INDEX["requests"]],
            *(flags[INDEX[f"{arm.value}_{what}"]] for what in WHATS[1:4]),
            answered,
        ]
        for name, mask in zip(names, masks, strict=False):
            if mask.any():
                found[name] = np.bincount(at[mask], minlength=BUCKETS).astype(np.int64)
        if answered.any():
            # Whole numbers far below 2^53, so the sum in floats is exact in any order.
            summed = np.bincount(at[answered], latency.bucket(latency_ms[answered]), minlength=BUCKETS)
            found[names[PLACE["latency_buckets"]]] = summed.astype(np.int64)
    return found


def matrix(tally: Tally) -> Counts | None:
    """Counts ``[arms, WHATS, BUCKETS]`` of a tally; None where it holds none of them."""
    found = [[tally.histograms.get(name) for name in row] for row in NAMES]
    if all(part is None for row in found for part in row):
        return None
    none = np.zeros(BUCKETS, np.int64)
    return np.array([[none if part is None else part for part in row] for row in found], np.int64)


def no_counts() -> Counts:
    """A matrix of zeros."""
    return np.zeros((len(ARMS), len(WHATS), BUCKETS), np.int64)
