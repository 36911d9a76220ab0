"""Memory: how seldom a worker looks for cycles of garbage, and what it does with what it has freed.

Law: nothing on the hot path makes cycles, but every JSON event makes containers, which Python counts; looking
through all that waits for its pair would find nothing and cost a tenth of the time. What does make cycles, such
as exceptions, is still collected. The arrays of a fetch are as large as those of the fetch before; given back to
the system and asked for anew, their pages would cost a third of the time of decoding.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

#: New containers before the youngest are looked through; Python's own default is some hundreds.
THRESHOLD: Final = 100_000
#: Arrays up to this size come from the heap; the most that glibc takes.
HEAP_BYTES: Final = 32 << 20
#: So much freed memory at the heap's end is kept for what comes next.
KEPT_BYTES: Final = 64 << 20
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def relax_collector() -> None:
    """Look seldom, and never through what was there when the work began."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 10, 10)


def keep_freed_memory() -> bool:
    """Use freed memory again instead of giving it back; false where the C library has no such knob."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, HEAP_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
