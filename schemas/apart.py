"""Apart: large memory beside the heap, which goes back to the system at once when nobody uses it any more.

Law: what lives long or comes in large pieces leaves no gaps in the heap, and pages that nobody has written to take
no memory. Where the system has them, the pages are large ones: looking up places all over a table of some MiB would
else miss the processor's table of pages each time.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

from paritygate.schemas.arrays import I64, U8


def room(count: int) -> mmap.mmap:
    """So many bytes, at least one, all 0."""
    memory = mmap.mmap(-1, max(1, count), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def zero_bytes(count: int) -> U8:
    """An array of bytes."""
    found: U8 = np.frombuffer(room(count), np.uint8, count)
    return found


def zero_rows(count: int, width: int) -> I64:
    """A matrix of 64-bit integers."""
    found: npt.NDArray[np.int64] = np.frombuffer(room(8 * count * width), np.int64, count * width)
    return found.reshape(count, width)
