"""SmallCounts: log E of two counts, worked out once for all that are small.

Law: the same bits as the function itself. A few thousand segments, or edges of a histogram, hold the same few
small counts again and again; a look at a table is fifty times cheaper than a mixture of bets. The table is a
constant of the bets (128 kB), never something that data have filled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from paritygate.comparators.evidence.mixture import F64, I64

#: Counts from here on are no longer in the table; a power of 2.
LIMIT: Final = 128
#: Fewer pairs of counts than this are worked out at once.
FEW: Final = 16


class SmallCounts:
    """A function of two counts, element by element, with a table of its values at small ones."""

    __slots__ = ("_log_e", "_table")

    def __init__(self, log_e: Callable[[I64, I64], F64]) -> None:
        self._log_e = log_e
        self._table: F64 | None = None

    def __call__(self, first: I64, second: I64) -> F64:
        """``log_e(first, second)`` of counts, both of one shape."""
        if first.size < FEW:
            return self._log_e(first, second)
        table = self._table
        if table is None:
            table = self._table = self._log_e(*np.divmod(np.arange(LIMIT * LIMIT), LIMIT))
        a, b = first.reshape(-1), second.reshape(-1)
        # Negative counts, of a source that contradicts itself, have high bits too.
        beyond = np.flatnonzero((a | b) & -LIMIT)
        if len(beyond) == a.size:
            return self._log_e(first, second)
        found: F64 = table[(a * LIMIT + b) & (LIMIT * LIMIT - 1)]
        if len(beyond):
            found[beyond] = self._log_e(a[beyond], b[beyond])
        return found.reshape(first.shape)
