"""Onsets: since when the evidence of a fail speaks, for sentences and numbers.

Law: description, made after the verdict. Times are event time, from the evidence. Numbers since an onset that was
chosen for speaking loudest keep their coverage, because each possible onset has its own part of alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.gates.evidence import Sums
from paritygate.gates.reasons import number

F64 = npt.NDArray[np.float64]

#: Chance that any interval since any onset misses.
ALPHA: Final = 0.05
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Onset:
    """A start of the evidence after the rollout's own.

    ``start``: its row in ``Sums.starts``. ``at_ms``: event time; None where the evidence does not tell.
    ``alpha``: of intervals since then.
    """

    start: int
    at_ms: int | None
    alpha: float

    @property
    def since(self) -> str:
        """``since 14:05 UTC``; the day is that of the decision."""
        if self.at_ms is None:
            return "since the onset"
        hours, minutes = divmod(self.at_ms // _MINUTE_MS % 1440, 60)
        return f"since {hours:02}:{minutes:02} UTC"

    def numbers(self, total: int, value: float, low: float, high: float) -> dict[str, float | int | None]:
        """What a verdict tells of ``total`` observations since then, beside the numbers of the whole."""
        told = {"onset_value": number(value), "onset_low": number(low), "onset_high": number(high)}
        return {"onset_at_ms": self.at_ms, "onset_total": total} | told


def late_onset(sums: Sums, log_e: F64) -> Onset | None:
    """The onset that says most, from log E of each row of ``Sums.starts``; None where it is the rollout's start."""
    start = sums.loudest_start(log_e)
    return onset_at(sums, start) if start else None


def onset_at(sums: Sums, start: int) -> Onset:
    """The onset of a row of ``Sums.starts`` other than the first."""
    return Onset(start, sums.start_at_ms(start), ALPHA * math.exp(sums.start_log_weight(start)))
