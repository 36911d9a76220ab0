"""Memory: how seldom a worker looks for cycles of garbage, and what it does with what it has freed.

Law: nothing on the hot path makes cycles, but every JSON event makes containers, which Python counts; looking
through all that waits for its pair would find nothing and cost a tenth of the time. What does make cycles, such
as exceptions, is still collected. The arrays of a fetch are as large as those of the fetch before; given back to
the system and asked for anew, their pages would cost a third of the time of decoding. What only the start needed is
given back once: most of it is the compiler's code, which nobody runs any more.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: New containers before the youngest are looked through; Python's own default is some hundreds.
THRESHOLD: Final = 100_000
#: Arrays up to this size come from the heap; the most that glibc takes.
HEAP_BYTES: Final = 32 << 20
#: So much freed memory at the heap's end is kept for what comes next.
KEPT_BYTES: Final = 64 << 20
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# A private mapping of a file that cannot be written to, in Linux's list: from, to, its rights, where in which file.
_OF_FILE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ \S+ +/")
_MAPPING: Final = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
_MAPPINGS: Final = Path("/proc/self/smaps")


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


def give_back_start() -> bool:
    """Give back what only the start needed: gaps in the heap, and libraries' pages that are as in their files.

    The system reads a page again when somebody asks for it, as it did the first time. False where it has no way.
    """
    library = ctypes.CDLL(None)
    madvise, trim = getattr(library, "madvise", None), getattr(library, "malloc_trim", None)
    if madvise is None or trim is None or not _MAPPINGS.exists():
        return False
    trim(ctypes.c_size_t(0))
    done = [
        madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), ctypes.c_int(mmap.MADV_DONTNEED))
        for begin, end in _as_in_files(_MAPPINGS.read_text(encoding="utf-8", errors="replace"))
    ]
    return 0 in done


def _as_in_files(mappings: str) -> Iterator[tuple[int, int]]:
    """From where to where memory is just what lies in a file: no page of it was ever written to."""
    found: re.Match[str] | None = None
    for line in mappings.splitlines():
        if _MAPPING.match(line):
            found = _OF_FILE.match(line)
        elif found is not None and line.split() == ["Anonymous:", "0", "kB"]:
            yield int(found[1], 16), int(found[2], 16)
