"""Ids: request ids hashed, under a key that nobody outside knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import I32, I64, U8
from paritygate.schemas.compiled import address, compiled, prefetch, siphash

#: The secret of this process, of Python's own: nobody outside can choose ids that fall together.
KEYS: Final = tuple(np.uint64(hash(name) & 0xFFFF_FFFF_FFFF_FFFF) for name in ("request", "id"))

#: How many ids ahead the bytes of one are asked for from memory: between them lie the values of their events.
_SOON: Final = 8

#: Hash of each id: (buffer, first byte of each, bytes of each) to 64 bits.
Hashes = Callable[[U8, I64, I32], I64]


@compiled
def _hashes(k0: Any, k1: Any, buffer: Any, at: Any, size: Any) -> Any:
    found, base = np.empty(len(at), np.int64), address(buffer)
    for i in range(len(at)):
        if i + _SOON < len(at):
            prefetch(base + at[i + _SOON])
            prefetch(base + at[i + _SOON] + size[i + _SOON])
        found[i] = np.int64(siphash(k0, k1, base + at[i], size[i]))
    return found


def hashes(buffer: U8, at: I64, size: I32) -> I64:
    """SipHash of each id under this process's key."""
    found: I64 = _hashes(KEYS[0], KEYS[1], buffer, at, size)
    return found
