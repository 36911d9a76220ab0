"""A worker keeps its memory; the collector of cycles is relaxed, not off."""

from __future__ import annotations

import gc
import platform

from paritygate.streams.memory import THRESHOLD, keep_freed_memory, relax_collector


def test_cycles_are_still_collected() -> None:
    """It looks seldom, and is on."""
    before = gc.get_threshold()
    usual = 700
    gc.set_threshold(usual, 10, 10)  # a worker that ran in this process has relaxed it
    try:
        relax_collector()

        assert gc.isenabled()
        assert gc.get_threshold()[0] == THRESHOLD > usual
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_freed_memory_is_kept_where_the_c_library_can() -> None:
    """glibc takes both bounds; another C library is left as it is."""
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
