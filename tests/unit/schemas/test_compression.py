from __future__ import annotations

import cramjam
import pytest

from paritygate.schemas.compression import Compression, decompress
from paritygate.schemas.errors import DecodeError

TEXT = b"all the same to me, " * 5000
PACKED = {
    Compression.NONE: TEXT,
    Compression.GZIP: bytes(cramjam.gzip.compress(TEXT)),
    Compression.SNAPPY: bytes(cramjam.snappy.compress_raw(TEXT)),
    Compression.LZ4: bytes(cramjam.lz4.compress(TEXT)),
    Compression.ZSTD: bytes(cramjam.zstd.compress(TEXT)),
}


def xerial(*parts: bytes) -> bytes:
    """snappy-java's framing: magic, two versions, then blocks with their length before them."""
    blocks = [bytes(cramjam.snappy.compress_raw(p)) for p in parts]
    return b"\x82SNAPPY\0" + b"\0\0\0\1" * 2 + b"".join(len(b).to_bytes(4, "big") + b for b in blocks)


@pytest.mark.parametrize("codec", list(Compression))
def test_every_codec_comes_back(codec: Compression) -> None:
    """What any of Kafka's codecs packed is unpacked, however much it shrank."""
    assert decompress(codec, PACKED[codec]) == TEXT
    assert decompress(codec, memoryview(PACKED[codec])) == TEXT


def test_snappy_of_java_clients_is_framed() -> None:
    """Both snappy framings are read: xerial's blocks and the raw stream."""
    assert decompress(Compression.SNAPPY, xerial(TEXT[:70], b"", TEXT[70:])) == TEXT
    assert decompress(Compression.SNAPPY, xerial()) == b""


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.SNAPPY, Compression.LZ4, Compression.ZSTD])
def test_a_bomb_is_refused(codec: Compression) -> None:
    """More output than the limit is an error that says so, one byte less is not."""
    assert len(decompress(codec, PACKED[codec], len(TEXT))) == len(TEXT)
    with pytest.raises(DecodeError, match=f"over {len(TEXT) - 1} bytes"):
        decompress(codec, PACKED[codec], len(TEXT) - 1)


def test_the_limit_counts_all_blocks_of_a_frame() -> None:
    """A bomb in many small snappy blocks is one bomb."""
    with pytest.raises(DecodeError, match="snappy"):
        decompress(Compression.SNAPPY, xerial(TEXT, TEXT), len(TEXT) + 1)


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.SNAPPY, Compression.LZ4, Compression.ZSTD])
def test_broken_bodies_are_refused(codec: Compression) -> None:
    """Junk and truncated bodies are a DecodeError naming the codec."""
    for broken in (
        b"",
        b"junk" * 9,
        PACKED[codec][:-3],
        xerial(TEXT)[:-3] if codec is Compression.SNAPPY else b"x",
    ):
        with pytest.raises(DecodeError, match=codec.name.lower()):
            decompress(codec, broken)


def test_unknown_codecs_are_refused() -> None:
    """The three bits have room for numbers that mean nothing yet."""
    with pytest.raises(DecodeError, match="unknown compression codec 5"):
        decompress(5, b"")
