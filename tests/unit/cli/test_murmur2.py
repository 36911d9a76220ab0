from __future__ import annotations

import pytest

from paritygate.cli.murmur2 import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_equals_kafka(key: bytes, signed: int) -> None:
    """The vectors of Kafka's own UtilsTest.testMurmur2 hold."""
    assert murmur2(key) == signed & 0xFFFFFFFF


def test_partition_is_in_range() -> None:
    """Every key, empty included, has a partition."""
    assert all(0 <= partition_of(f"{n}".encode(), 7) < 7 for n in range(1000))
    assert 0 <= partition_of(b"", 3) < 3
