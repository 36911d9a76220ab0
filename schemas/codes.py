"""Codes: columns of texts numbered in order of first appearance, each decoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import I32, I64
from paritygate.schemas.compiled import address, compiled, is_same, siphash, word
from paritygate.schemas.ids import KEYS
from paritygate.schemas.texts import Texts

#: Places for texts at first; a power of two.
_SMALLEST_TABLE: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Texts by number: that of row i is ``values[index[i]]``; there is none where the index is -1."""

    index: I32
    values: list[str]

    @classmethod
    def of(cls, texts: Texts) -> Codes:
        """Numbers in place of texts, in order of first appearance."""
        index, first = numbered(texts)
        return cls(index, texts.take(first).decoded())


def numbered(texts: Texts) -> tuple[I32, I64]:
    """The number of each text in order of first appearance, -1 where there is none, and the first row of each."""
    index, first = np.empty(len(texts), np.int32), np.empty(len(texts), np.int64)
    found = _encode(KEYS[0], KEYS[1], texts.buffer, texts.at, texts.size, index, first)
    return index, first[:found]


@compiled
def begin_of(at: int, size: int) -> Any:
    """The first eight bytes of a text; zeros behind a shorter one."""
    if size >= 8:
        return word(at)
    rest = np.uint64(8 * (8 - size))
    return (word(at) << rest) >> rest if size > 0 else np.uint64(0)


@compiled
def place_of(k0: Any, k1: Any, at: int, size: int, begin: Any) -> Any:
    """Where to look for a text first: a keyed hash, a product where eight bytes hold all of it."""
    if size > 8:
        return np.int64(siphash(k0, k1, at, size))
    return np.int64((begin * (k0 | np.uint64(1))) >> np.uint64(32))


@compiled
def _encode(k0: Any, k1: Any, buffer: Any, at: Any, size: Any, index: Any, first: Any) -> int:
    """Number the texts; how many there are. ``first``: the first row of each."""
    base, found, code = address(buffer), 0, -1
    table = np.zeros(_SMALLEST_TABLE, np.int32)
    begins, sizes = np.empty(len(at), np.uint64), np.empty(len(at), np.int32)
    for row in range(len(at)):
        text, length = base + at[row], size[row]
        if length < 0:
            index[row] = -1
            continue
        begin = begin_of(text, length)
        # A long text is often that of the row before. Of short ones nobody could foretell it; the table is as fast.
        if not (
            length > 8
            and code >= 0
            and begins[code] == begin
            and sizes[code] == length
            and is_same(base + at[first[code]], text, length)
        ):
            place = place_of(k0, k1, text, length, begin) & (len(table) - 1)
            code = table[place] - 1
            while code >= 0 and not (
                begins[code] == begin
                and sizes[code] == length
                and (length <= 8 or is_same(base + at[first[code]], text, length))
            ):
                place = (place + 1) & (len(table) - 1)
                code = table[place] - 1
            if code < 0:
                code = found
                begins[code], sizes[code], first[code] = begin, length, row
                found += 1
                table[place] = found
                if 2 * found > len(table):
                    table = np.zeros(8 * len(table), np.int32)
                    for known in range(found):
                        place = place_of(k0, k1, base + at[first[known]], sizes[known], begins[known]) & (
                            len(table) - 1
                        )
                        while table[place] > 0:
                            place = (place + 1) & (len(table) - 1)
                        table[place] = known + 1
        index[row] = code
    return found
