"""Texts: columns of texts as bytes where they lie; they become strings only where somebody reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, copy, is_same


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
def _spots(buffer: Any, at: Any) -> Any:
    return address(buffer) + at


@compiled
def _begins(buffer: Any, at: Any, size: Any) -> Any:
    """The first eight bytes of each as a number that sorts like them; those of a shorter one end with zeros."""
    found, base = np.zeros(len(at), np.uint64), address(buffer)
    for i in range(len(at)):
        for k in range(min(8, size[i])):
            found[i] |= np.uint64(byte(base + at[i] + k)) << np.uint64(56 - 8 * k)
    return found


def read_only(buffer: U8) -> U8:
    """The same memory, not to be written."""
    view = buffer.view()
    view.flags.writeable = False
    return view


@dataclass(slots=True)
class Texts:
    """UTF-8 texts in a buffer: text i is ``size[i]`` bytes from ``at[i]`` on; there is none where the size is -1.

    ``buffer`` has ``compiled.SPARE_BYTES`` behind the last text, and is read-only: what is compiled for such arrays
    would be compiled again for others. Some rows of a batch share its buffer.
    """

    buffer: U8
    at: I64
    size: I32

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Texts:
        """Plain strings, copied into a buffer of their own."""
        raw = [b"" if text is None else text.encode() for text in texts]
        size = np.fromiter(map(len, raw), np.int32, len(raw))
        at = _begin(size)
        size[[row for row, text in enumerate(texts) if text is None]] = -1
        return cls(np.frombuffer(b"".join([*raw, bytes(SPARE_BYTES)]), np.uint8), at, size)

    @classmethod
    def same(cls, text: str | None, count: int) -> Texts:
        """The same text so many times, or none."""
        one = cls.of([text])
        return cls(one.buffer, np.zeros(count, np.int64), np.full(count, one.size[0]))

    def __len__(self) -> int:
        return len(self.at)

    def spots(self) -> I64:
        """Where in memory each begins, for as long as somebody holds these texts."""
        spots: I64 = _spots(self.buffer, self.at)
        return spots

    @property
    def there(self) -> B1:
        """Where there is a text."""
        there: B1 = self.size >= 0
        return there

    def take(self, rows: I64 | B1) -> Texts:
        """Some of them, in the same buffer."""
        return Texts(self.buffer, self.at[rows], self.size[rows])

    def copied(self, behind: bytes = b"") -> Texts:
        """The same texts in a buffer of their own, in which other bytes come first."""
        at = _begin(np.maximum(self.size, 0)) + len(behind)
        buffer = np.empty(int(np.maximum(self.size, 0).sum()) + len(behind) + SPARE_BYTES, np.uint8)
        buffer[: len(behind)] = np.frombuffer(behind, np.uint8)
        _copy(self.buffer, self.at, self.size, buffer, at)
        return Texts(read_only(buffer), at, self.size)

    def equal(self, other: Texts) -> B1:
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
        """One of them as a string, empty where there is none."""
        at = int(self.at[row])
        return self.buffer[at : at + max(int(self.size[row]), 0)].tobytes().decode()

    def smallest(self, rows: I64, count: int) -> I64:
        """Some of the rows, among them those of the ``count`` smallest texts; most often no others."""
        if count <= 0 or len(rows) <= count:
            return rows
        begins = _begins(self.buffer, self.at[rows], self.size[rows])
        small: I64 = rows[begins <= np.partition(begins, count - 1)[count - 1]]
        return small

    @staticmethod
    def concat(parts: Sequence[Texts]) -> Texts:
        """All the texts of some; what lies in one buffer stays there."""
        size = np.concatenate([part.size for part in parts])
        if len({id(part.buffer) for part in parts}) == 1:
            return Texts(parts[0].buffer, np.concatenate([part.at for part in parts]), size)
        parts = [part.copied() for part in parts]
        shifts = accumulate((len(part.buffer) for part in parts), initial=0)
        at = np.concatenate([part.at + shift for part, shift in zip(parts, shifts, strict=False)])
        return Texts(read_only(np.concatenate([part.buffer for part in parts])), at, size)


def _begin(size: I32) -> I64:
    """Where each text begins that lies behind the one before."""
    at = np.zeros(len(size), np.int64)
    np.cumsum(size[:-1], out=at[1:])
    return at
