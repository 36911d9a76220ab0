"""Sticky chooser: request key + weight -> arm. Pure.

Law: the same key, salt and weight always give the same arm, in every process. Raising the weight only adds
keys to the candidate, and 0 and 100 percent are exact. The salt (the rollout id) makes two rollouts pick
different keys, so that the same users are not the first to try everything.
"""

from __future__ import annotations

from hashlib import blake2b

from paritygate.schemas.prediction import Arm

#: Keys fall into this many buckets: one percent of weight is 100 of them.
BUCKETS = 10_000
_BUCKETS_PER_PERCENT = BUCKETS // 100


def bucket(key: str, salt: str) -> int:
    """Bucket 0..9999 of a key: 64 bits of BLAKE2b (RFC 7693) over salt, a zero byte, and key, in UTF-8."""
    # surrogatepass: a header with broken bytes is still a key, not an exception into the request.
    text = f"{salt}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) % BUCKETS


def choose(key: str, weight_percent: int, salt: str) -> Arm:
    """The arm that answers ``key`` when the candidate has ``weight_percent`` (0..100) of the traffic.

    Takes about a microsecond. Weights below 0 count as 0, above 100 as 100.
    """
    if weight_percent <= 0:
        return Arm.BASELINE
    if weight_percent >= 100:
        return Arm.CANDIDATE
    return Arm.CANDIDATE if bucket(key, salt) < weight_percent * _BUCKETS_PER_PERCENT else Arm.BASELINE
