"""Snapshots: plain data as one compressed, versioned record.

Law: bytes of an unknown version are refused, never guessed at.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from paritygate.schemas.errors import DecodeError

SNAPSHOT_VERSION: Final = 1


def pack(plain: Mapping[str, Any]) -> bytes:
    """Version byte, then msgpack, deflated."""
    return bytes([SNAPSHOT_VERSION]) + zlib.compress(msgpack.packb(plain), 1)


def unpack(data: bytes) -> dict[str, Any]:
    """Read :func:`pack` back.

    :raises DecodeError: the bytes are no snapshot, or one of a version that is not known.
    """
    if not data or data[0] != SNAPSHOT_VERSION:
        version = data[0] if data else "none"
        raise DecodeError(f"snapshot version {version} is not known here (this is {SNAPSHOT_VERSION})")
    try:
        plain = msgpack.unpackb(zlib.decompress(data[1:]), strict_map_key=False)
    except (ValueError, zlib.error) as error:
        raise DecodeError(f"snapshot cannot be read: {error}") from error
    if not isinstance(plain, dict):
        raise DecodeError("snapshot cannot be read: it is no map")
    return plain
