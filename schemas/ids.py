"""Ids: request ids as bytes where they lie, hashed once; they become strings only where somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, copy, is_same, prefetch, siphash

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


@compiled
def _equal(a: Any, at_a: Any, size_a: Any, b: Any, at_b: Any, size_b: Any) -> Any:
    same = np.empty(len(at_a), np.bool_)
    base_a, base_b = address(a), address(b)
    for i in range(len(at_a)):
        same[i] = size_a[i] == size_b[i] and (
            size_a[i] <= 0 or is_same(base_a + at_a[i], base_b + at_b[i], size_a[i])
        )
    return same


@compiled
def _copy(buffer: Any, at: Any, size: Any, to: Any, to_at: Any) -> None:
    """Copy texts to places that rise: each may write over the first bytes of the next one's."""
    source, target = address(buffer), address(to)
    for i in range(len(at)):
        copy(target + to_at[i], source + at[i], size[i])  # of none, whose size is -1, nothing


@compiled
def _begins(buffer: Any, at: Any, size: Any) -> Any:
    """The first eight bytes of each as a number that sorts like them; those of a shorter one end with zeros."""
    found, base = np.zeros(len(at), np.uint64), address(buffer)
    for i in range(len(at)):
        for k in range(min(8, size[i])):
            found[i] |= np.uint64(byte(base + at[i] + k)) << np.uint64(56 - 8 * k)
    return found


def hashes(buffer: U8, at: I64, size: I32) -> I64:
    """SipHash of each id under this process's key."""
    found: I64 = _hashes(KEYS[0], KEYS[1], buffer, at, size)
    return found


def read_only(buffer: U8) -> U8:
    """The same memory, not to be written."""
    view = buffer.view()
    view.flags.writeable = False
    return view


@dataclass(slots=True)
class Ids:
    """UTF-8 texts in a buffer: text i is ``size[i]`` bytes from ``at[i]`` on; there is none where the size is -1.

    ``buffer`` has ``compiled.SPARE_BYTES`` behind the last text, and is read-only: what is compiled for such arrays
    would be compiled again for others. Some rows of a batch share its buffer.
    """

    buffer: U8
    at: I64
    size: I32

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Ids:
        """Plain strings, copied into a buffer of their own."""
        raw = [b"" if text is None else text.encode() for text in texts]
        size = np.fromiter(map(len, raw), np.int32, len(raw))
        at = _begin(size)
        size[[row for row, text in enumerate(texts) if text is None]] = -1
        return cls(np.frombuffer(b"".join([*raw, bytes(SPARE_BYTES)]), np.uint8), at, size)

    @classmethod
    def same(cls, text: str | None, count: int) -> Ids:
        """The same text so many times, or none."""
        one = cls.of([text])
        return cls(one.buffer, np.zeros(count, np.int64), np.full(count, one.size[0]))

    def __len__(self) -> int:
        return len(self.at)

    @property
    def there(self) -> B1:
        """Where there is a text."""
        there: B1 = self.size >= 0
        return there

    def take(self, rows: I64 | B1) -> Ids:
        """Some of them, in the same buffer."""
        return Ids(self.buffer, self.at[rows], self.size[rows])

    def copied(self, behind: bytes = b"") -> Ids:
        """The same texts in a buffer of their own, in which other bytes come first."""
        at = _begin(np.maximum(self.size, 0)) + len(behind)
        buffer = np.empty(int(np.maximum(self.size, 0).sum()) + len(behind) + SPARE_BYTES, np.uint8)
        buffer[: len(behind)] = np.frombuffer(behind, np.uint8)
        _copy(self.buffer, self.at, self.size, buffer, at)
        return Ids(read_only(buffer), at, self.size)

    def equal(self, other: Ids) -> B1:
        """Row by row, whether the bytes are the same."""
        same: B1 = _equal(self.buffer, self.at, self.size, other.buffer, other.at, other.size)
        return same

    def optional(self) -> list[str | None]:
        """All of them as strings, None where there is none.

        :raises UnicodeDecodeError: one is not UTF-8.
        """
        return [text if size >= 0 else None for text, size in zip(self.decoded(), self.size.tolist(), strict=True)]

    def decoded(self) -> list[str]:
        """All of them as strings, empty where there is none.

        :raises UnicodeDecodeError: one is not UTF-8.
        """
        whole = memoryview(self.buffer)  # type: ignore[arg-type]
        ends = (self.at + np.maximum(self.size, 0)).tolist()
        return [str(whole[at:end], "utf-8") for at, end in zip(self.at.tolist(), ends, strict=True)]

    def text(self, row: int) -> str:
        """One of them as a string."""
        at = int(self.at[row])
        return self.buffer[at : at + int(self.size[row])].tobytes().decode()

    def smallest(self, rows: I64, count: int) -> I64:
        """Some of the rows, among them those of the ``count`` smallest texts; most often no others."""
        if count <= 0 or len(rows) <= count:
            return rows
        begins = _begins(self.buffer, self.at[rows], self.size[rows])
        small: I64 = rows[begins <= np.partition(begins, count - 1)[count - 1]]
        return small

    @staticmethod
    def concat(parts: Sequence[Ids]) -> Ids:
        """All the texts of some; what lies in one buffer stays there."""
        size = np.concatenate([part.size for part in parts])
        if len({id(part.buffer) for part in parts}) == 1:
            return Ids(parts[0].buffer, np.concatenate([part.at for part in parts]), size)
        parts = [part.copied() for part in parts]
        shifts = accumulate((len(part.buffer) for part in parts), initial=0)
        at = np.concatenate([part.at + shift for part, shift in zip(parts, shifts, strict=False)])
        return Ids(read_only(np.concatenate([part.buffer for part in parts])), at, size)


def _begin(size: I32) -> I64:
    """Where each text begins that lies behind the one before."""
    at = np.zeros(len(size), np.int64)
    np.cumsum(size[:-1], out=at[1:])
    return at
