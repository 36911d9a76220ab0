"""A worker keeps its memory; the collector of cycles is relaxed, not off."""

from __future__ import annotations

import ctypes
import gc
import mmap
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paritygate.streams.memory import THRESHOLD, give_back_start, keep_freed_memory, relax_collector

_BYTES = 1 << 20
linux_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="Linux lists mappings, glibc gives back"
)


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


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[tuple[mmap.mmap, Path]]:
    """Pages of ones, privately of a file, which can be read and written to."""
    path = tmp_path / "library"
    path.write_bytes(b"1" * _BYTES)
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), _BYTES, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with memory:
        yield memory, path


def _make_read_only(path: Path) -> None:
    begin, end = (int(x, 16) for x in _listed(path).split()[0].split("-"))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.PROT_READ) == 0


def _rss_kib(path: Path) -> int:
    return int(_listed(path).partition("\nRss:")[2].split()[0])


def _listed(path: Path) -> str:
    """What the system says of the mapping of a file."""
    before, _, after = Path("/proc/self/smaps").read_text().partition(str(path))
    return before.rpartition("\n")[2] + after


@linux_only
def test_pages_that_are_as_in_their_file_are_given_back(mapped: tuple[mmap.mmap, Path]) -> None:
    """They take no memory any more, and are there when they are asked for."""
    memory, path = mapped
    _make_read_only(path)
    assert memory[:] == b"1" * _BYTES
    assert _rss_kib(path) == _BYTES // 1024

    assert give_back_start()

    assert _rss_kib(path) == 0
    assert memory[:] == b"1" * _BYTES


@linux_only
def test_pages_that_were_written_to_are_kept(mapped: tuple[mmap.mmap, Path]) -> None:
    """What the loader has put into a library's read-only pages is in no file."""
    memory, path = mapped
    memory[:1] = b"2"
    _make_read_only(path)

    give_back_start()

    assert memory[:2] == b"21"


@linux_only
def test_pages_that_may_be_written_to_are_kept(mapped: tuple[mmap.mmap, Path]) -> None:
    """Somebody may be about to write."""
    memory, path = mapped
    assert memory[:] == b"1" * _BYTES

    give_back_start()

    assert _rss_kib(path) == _BYTES // 1024
