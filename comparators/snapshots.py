"""Snapshots: plain data as one versioned record.

Law: bytes of an unknown version are refused, never guessed at. Whoever stores them compresses them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from paritygate.schemas.errors import DecodeError

SNAPSHOT_VERSION: Final = 2
#: Its data were deflated here, and compressed again where they were stored.
_DEFLATED: Final = 1


def pack(plain: Mapping[str, Any]) -> bytes:
    """Version byte, then msgpack."""
    return b"".join((bytes([SNAPSHOT_VERSION]), msgpack.packb(plain)))


def unpack(data: bytes) -> dict[str, Any]:
    """Read :func:`pack` back, or what the version before wrote.

    :raises DecodeError: the bytes are no snapshot, or one of a version that is not known.
    """
    if not data or data[0] not in (_DEFLATED, SNAPSHOT_VERSION):
        version = data[0] if data else "none"
        raise DecodeError(f"snapshot version {version} is not known here (this is {SNAPSHOT_VERSION})")
    try:
        body = zlib.decompress(data[1:]) if data[0] == _DEFLATED else data[1:]
        plain = msgpack.unpackb(body, strict_map_key=False)
    except (ValueError, zlib.error) as error:
        raise DecodeError(f"snapshot cannot be read: {error}") from error
    if not isinstance(plain, dict):
        raise DecodeError("snapshot cannot be read: it is no map")
    return plain
