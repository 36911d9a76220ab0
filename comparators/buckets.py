"""Buckets: how long the dense array of each histogram family is; what ``Tally.from_report`` asks for.

Law: the family is the part of a histogram's name before the first dot. Changing a length changes the
meaning of stored windows; it needs a new family name.
"""

from __future__ import annotations

from typing import Final

from paritygate.comparators import confidence, instances, labels, latency, numbers, scores

BUCKET_COUNTS: Final[dict[str, int]] = {
    "latency": latency.BUCKETS,
    "exceed": latency.BUCKETS,
    "scores": scores.BUCKETS,
    "confidence": confidence.BUCKETS,
    instances.FAMILY: instances.BUCKETS,
    labels.FAMILY: labels.BUCKETS,
    numbers.FAMILY: numbers.BUCKETS,
}
