"""Bodies of Kafka record batches out of gzip, snappy, lz4 and zstd.

Law: no input makes more than ``MAX_BODY_BYTES`` of output; what would is refused, so that a compressed bomb
costs one bounded buffer. Sources: Kafka's batch attributes (codec numbers); lz4 and zstd frame formats; the
block framing of xerial's snappy-java, which Java clients write, next to the raw snappy of librdkafka.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, unique
from typing import Any

import cramjam

from paritygate.schemas.errors import DecodeError

#: Largest decompressed body of one batch in bytes.
MAX_BODY_BYTES = 64 << 20

#: What cramjam says when the output has no room left; other errors would come again with more room.
_FULL = "failed to write whole buffer"
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16


@unique
class Compression(IntEnum):
    """Codec numbers as in the lowest three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def decompress(codec: int, data: bytes | memoryview, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The plain body of a batch.

    :raises DecodeError: unknown codec, broken data, or more than ``limit_bytes`` of output.
    """
    try:
        kind = Compression(codec)
    except ValueError:
        raise DecodeError(f"record batch has the unknown compression codec {codec}") from None
    try:
        if kind is Compression.NONE:
            return bytes(data)
        if kind is Compression.SNAPPY:
            return _unsnap(bytes(data), limit_bytes)
        return _inflate(_INTO[kind], data, limit_bytes)
    except cramjam.DecompressionError:
        raise DecodeError(
            f"record batch body is broken {kind.name.lower()}, or over {limit_bytes} bytes when decompressed"
        ) from None


_INTO: dict[Compression, Callable[[Any, Any], int]] = {
    Compression.GZIP: cramjam.gzip.decompress_into,
    Compression.LZ4: cramjam.lz4.decompress_into,
    Compression.ZSTD: cramjam.zstd.decompress_into,
}


def _inflate(into: Callable[[Any, Any], int], data: bytes | memoryview, limit_bytes: int) -> bytes:
    # The buffer grows eightfold: a batch rarely shrinks more, and clearing 64 MiB for each would cost 40 ms.
    size = min(max(8 * len(data), 1 << 16), limit_bytes)
    while True:
        out = bytearray(size)
        try:
            return bytes(memoryview(out)[: into(data, out)])
        except cramjam.DecompressionError as e:
            if size >= limit_bytes or _FULL not in str(e):
                raise
        size = min(8 * size, limit_bytes)


def _unsnap(data: bytes, limit_bytes: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _unsnap_block(data, limit_bytes)
    blocks: list[bytes] = []
    room, at = limit_bytes, _XERIAL_HEADER_BYTES
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        block = data[at + 4 : at + 4 + size]
        if len(block) < size:
            raise cramjam.DecompressionError("truncated block")
        blocks.append(_unsnap_block(block, room))
        room -= len(blocks[-1])
        at += 4 + size
    return b"".join(blocks)


def _unsnap_block(block: bytes, limit_bytes: int) -> bytes:
    # The length stands before the data: the bomb is seen without being lit.
    if cramjam.snappy.decompress_raw_len(block) > limit_bytes:
        raise cramjam.DecompressionError("over the limit")
    return bytes(cramjam.snappy.decompress_raw(block))
