"""Where Kafka's default partitioner puts a key: murmur2 as Java, Faust and aiokafka compute it. Pure.

Law: equal to ``org.apache.kafka.common.utils.Utils.murmur2`` and ``toPositive(hash) % partitions``. Here to check
others; producers leave it to librdkafka.
"""

from __future__ import annotations

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    h = (_SEED ^ len(data)) & _MASK
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` in a topic with so many."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
