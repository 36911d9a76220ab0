"""Measure how fast a live failure is undone: from the first decidable failure to weight 0.

A failure is *decidable* when the evidence of the live answers so far would roll back: the same e-process and
the same floor as the ``error_rate`` gate, fed with each live answer in the order in which it was given. The
clock is that of the serving process at both ends.
"""

from __future__ import annotations

import math

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.gates.evidence import WHOLE_LOG_WEIGHT
from paritygate.gates.segments import ALL_LOG_WEIGHT
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status

#: What the gate gives to the evidence of the live answers since the rollout's start: it averages two tests (all
#: answers, live ones), gives half of the weight to onsets later than the start, and half to segments: 1/8.
#: Another test, onset or segment that speaks too can only make the gate quicker than this clock.
_SHARE = math.exp(WHOLE_LOG_WEIGHT + ALL_LOG_WEIGHT) / 2


class ExposureClock:
    """Hears of every published event and of every change of the weight."""

    def __init__(self, *, limit: float, minimum_bad: int = 3, alpha: float = 0.05) -> None:
        self._bet = bernoulli(limit, "above")
        self._minimum_bad = minimum_bad
        self._threshold = math.log(1 / alpha / _SHARE)
        self._answers = self._bad = 0
        self._decidable_ms: float | None = None
        self._stopped_ms: float | None = None

    def saw(self, event: PredictionEvent, now_ms: float) -> None:
        """One event was handed to the publisher."""
        if event.arm is not Arm.CANDIDATE or event.role is not Role.PRIMARY or self._stopped_ms is not None:
            return
        self._answers += 1
        if event.status in (Status.ERROR, Status.TIMEOUT):
            self._bad += 1
            if self._decidable_ms is None and self._bad >= self._minimum_bad:
                log_e = float(self._bet.log_e(self._bad, self._answers))
                if log_e >= self._threshold:
                    self._decidable_ms = now_ms

    def rolled_back(self, now_ms: float) -> None:
        """The router's weight went to 0."""
        if self._stopped_ms is None:
            self._stopped_ms = now_ms

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from the first decidable failure to weight 0; ``None`` where there was none."""
        if self._decidable_ms is None or self._stopped_ms is None:
            return None
        return round(self._stopped_ms - self._decidable_ms, 1)
