"""Numbers: what both arms' events say of the same request in ``measures``, as one bounded difference per gate.

Law: a pair counts where both arms answered and both gave the number; each value is held to ``0..cap``. The
difference ``candidate - slope * baseline`` is rounded to a millionth of its span and split between the two nearest
of 2001 buckets so that its mean stays. Wealth is concave in the difference, so the split takes from the evidence
of either side and adds to none. A number that only one arm gave is counted apart, by which arm lacks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators import scores

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FAMILY: Final = "numbers"
#: Those of the score deltas, so that the same bets serve.
BUCKETS: Final = scores.BUCKETS
STEPS: Final = scores.STEPS
#: Units that one pair adds to the buckets.
PARTS: Final = 1000
#: Units of ``cap`` in which the values of each arm are summed, for people to see.
SUM_STEPS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class NumberRule:
    """What is counted for a gate: ``candidate - slope * baseline`` of ``measure``, each value held to ``0..cap``.

    The difference lies in ``[-slope * cap, cap]``. On the buckets it lies in [-1, 1], on a straight line; for
    ``slope`` 1 and ``cap`` 1 it is itself.
    """

    measure: str
    slope: float
    cap: float

    @property
    def name(self) -> str:
        """Name of the histogram, and beginning of the names of the totals."""
        return f"{FAMILY}.{self.measure}.{self.slope!r}.{self.cap!r}"

    def total(self, word: str) -> str:
        """Name of a total: ``sum_<arm>``, or ``without_<arm>`` of pairs that lack the number of that arm only."""
        return f"{self.name}.{word}"

    def on_buckets(self, difference: float) -> float:
        """Where a difference lies in [-1, 1]."""
        return (2.0 * difference / self.cap + self.slope - 1.0) / (1.0 + self.slope)

    def off_buckets(self, place: float) -> float:
        """The difference that lies there."""
        return self.cap * ((1.0 + self.slope) * place + 1.0 - self.slope) / 2.0


def names(rules: Sequence[NumberRule]) -> tuple[str, ...]:
    """Numbers to be kept of every event, each once."""
    return tuple(dict.fromkeys(rule.measure for rule in rules))


def pair_counts(
    rules: Sequence[NumberRule], baseline: F64, candidate: F64
) -> tuple[dict[str, I64], dict[str, int]]:
    """Histograms and totals of pairs that both arms answered.

    ``baseline`` and ``candidate``: a column for each number in the order of :func:`names`, NaN where there is none.
    """
    histograms: dict[str, I64] = {}
    totals: dict[str, int] = {}
    if not len(baseline):
        return histograms, totals
    order = names(rules)
    for rule in rules:
        column = order.index(rule.measure)
        base, other = baseline[:, column], candidate[:, column]
        without_base, without = np.isnan(base), np.isnan(other)
        totals[rule.total("without_baseline")] = int((without_base & ~without).sum())
        totals[rule.total("without_candidate")] = int((without & ~without_base).sum())
        both = ~(without_base | without)
        if both.any():
            b, c = (np.clip(v[both], 0.0, rule.cap) / rule.cap for v in (base, other))
            histograms[rule.name] = split((2.0 * (c - rule.slope * b) + rule.slope - 1.0) / (1.0 + rule.slope))
            for arm, values in (("baseline", b), ("candidate", c)):
                totals[rule.total(f"sum_{arm}")] = int(np.rint(values * SUM_STEPS).astype(np.int64).sum())
    return histograms, totals


def split(place: F64) -> I64:
    """Bucket counts of places in [-1, 1]: ``PARTS`` units each, shared by the two nearest buckets."""
    units = (np.rint(np.clip(place, -1.0, 1.0) * (STEPS * PARTS)) + STEPS * PARTS).astype(np.int64)
    lower, upper_part = np.divmod(units, PARTS)
    counts = np.zeros(BUCKETS + 1, np.int64)
    np.add.at(counts, lower, PARTS - upper_part)
    np.add.at(counts, lower + 1, upper_part)
    return counts[:BUCKETS]  # the place beyond the last bucket only ever gets nothing
