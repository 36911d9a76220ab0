"""Latency: fixed log-spaced buckets, and paired difference arrays at every edge at once.

Law: the counts at the edges are exact, so they merge by ``+`` over batches, partitions and windows, and
what is tested at an edge is a plain count, never an estimate. (A rank-error sketch such as KLL breaks
sequential validity: ``statistics.md`` section 2.)

Buckets are those of OpenTelemetry's exponential histogram at scale 7: bucket ``i`` holds
``[2^((LOWEST+i-1)/128), 2^((LOWEST+i)/128))`` milliseconds, each 0.54 % wide. Bucket 0 holds all below
2^-10 ms (1 µs), the last one all from 2^21 ms (35 minutes) on and the answers that never came (``+inf``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]

#: Buckets per doubling.
SCALE: Final = 128
#: Exponent (in buckets) of the lowest edge, 2^-10 ms.
LOWEST: Final = -1280
#: Under 1 µs, 31 doublings, and "35 minutes or never".
BUCKETS: Final = SCALE * 31 + 2
#: Index of the bucket that holds ``+inf``.
NEVER: Final = BUCKETS - 1


def bucket(latency_ms: F64) -> I64:
    """Bucket of each latency, 0..BUCKETS-1.

    :raises ValueError: a latency is NaN (the decoder refuses those; one here would count as an answer).
    """
    latency_ms = np.asarray(latency_ms, np.float64)
    if np.isnan(latency_ms).any():
        raise ValueError("a latency is NaN")
    with np.errstate(divide="ignore"):
        place = np.floor(np.log2(np.maximum(latency_ms, 0.0)) * SCALE) - (LOWEST - 1)
    found: I64 = np.clip(place, 0, NEVER).astype(np.int64)
    return found


def edges() -> F64:
    """Lower edge of each bucket in ms; 0 for bucket 0."""
    lower = np.exp2((np.arange(BUCKETS) + (LOWEST - 1)) / SCALE)
    lower[0] = 0.0
    return lower


def quantile_ms(counts: Counts, p: float) -> float | None:
    """The ``p``-quantile in ms (middle of its bucket); None of no answers, ``inf`` if it lies with the failed.

    Rank as in the definition: the smallest x with at least ``p`` of the answers at or below it.
    """
    total = int(counts.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(counts), math.ceil(p * total - 1e-9), side="left"))
    if place >= NEVER:
        return math.inf
    return float(2.0 ** ((place + LOWEST - 0.5) / SCALE))


def shifts(maximum_regression_percent: float) -> tuple[int, int]:
    """Bucket shifts of the limit ``R = 1 + percent / 100``, for E_bad and for E_ok.

    At base edge ``e_j``, E_bad counts candidates from the first edge at or above ``R * e_(j+1)`` on, and
    E_ok from the last edge at or below ``R * e_(j-1)`` on. So for every x inside the bucket the count errs
    against the claim that is to be proven: at most two bucket widths of slack, none in validity.
    """
    width = math.log2(1.0 + maximum_regression_percent / 100.0) * SCALE
    return math.ceil(width - 1e-9) + 1, math.floor(width + 1e-9) - 1


def pair_histograms(baseline_ms: F64, candidate_ms: F64, shifts: Sequence[int]) -> dict[str, Counts]:
    """Histograms and difference arrays of pairs, ready to be added to a tally.

    ``baseline_ms`` is finite (evidence is taken where the baseline answered); ``candidate_ms`` is ``+inf``
    where the candidate failed. For each shift s, ``exceed.<s>.up`` summed up to edge j counts the pairs with
    the candidate at or above edge j+s and the baseline below edge j, ``exceed.<s>.down`` the reverse.
    Two array entries a pair give the paired counts at *every* edge (``statistics.md`` section 2).

    :raises ValueError: a latency is NaN, or the arrays differ in length.
    """
    if np.shape(baseline_ms) != np.shape(candidate_ms):
        raise ValueError("baseline and candidate latencies are not pairs")
    base, candidate = bucket(baseline_ms), bucket(candidate_ms)
    found = {
        "latency.baseline": np.bincount(base, minlength=BUCKETS),
        "latency.candidate": np.bincount(candidate, minlength=BUCKETS),
    }
    for shift in dict.fromkeys(shifts):
        # The last aligned edge that the candidate still reaches; a failed one reaches every edge.
        reach = np.where(candidate == NEVER, NEVER, np.clip(candidate - shift, -1, NEVER))
        worse, better = reach > base, reach < base
        found[f"exceed.{shift}.up"] = _steps(base[worse], reach[worse])
        found[f"exceed.{shift}.down"] = _steps(reach[better], base[better])
    return {name: counts.astype(np.int64) for name, counts in found.items()}


def _steps(after: I64, until: I64) -> Counts:
    """Difference array of one unit over the edges ``after+1 .. until`` of each pair."""
    starts = np.bincount(after + 1, minlength=BUCKETS + 1)
    ends = np.bincount(until + 1, minlength=BUCKETS + 1)
    steps: Counts = (starts - ends)[:BUCKETS]
    return steps
