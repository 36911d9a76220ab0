"""Scoring: outcomes of one rollout, each counted once, as paired score deltas.

Law: only outcomes with both scores are paired evidence. A repeat of (request id, measure) is recognised for at
least ``dedupe_ms`` of the outcomes' own time (while there is room), event by event: outcomes may be read long
before or after the answers, in batches of any size, and again after a restart, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.seen import MAX_KEYS, Seen
from paritygate.comparators.windows import Window
from paritygate.schemas.arrays import B1, I64
from paritygate.schemas.outcome import Outcome

#: Measures with a histogram of their own per window; more are counted as ``outcome_overflow``.
MAX_MEASURES: Final = 32


class Scored:
    """Which outcomes were counted, for as long as repeats must be recognised.

    ``newest_ms``: newest outcome time. With it a snapshot keeps the oldest slice remembered; no more is needed.
    """

    def __init__(self, dedupe_ms: int, max_seen: int = MAX_KEYS, newest_ms: int | None = None) -> None:
        self.newest_ms = newest_ms
        self.seen: Seen[tuple[str, str]] = Seen(dedupe_ms, max_seen)
        if newest_ms is not None:
            self.seen.move(newest_ms)

    def first(self, outcomes: Sequence[Outcome], event_at_ms: I64, source: int, offset: I64) -> B1:
        """Which of the outcomes are no repeats; all of them are remembered."""
        self.seen.horizon.note(source, event_at_ms, offset)
        fresh = np.zeros(len(outcomes), np.bool_)
        for i, (at_ms, outcome) in enumerate(zip(event_at_ms.tolist(), outcomes, strict=True)):
            if self.newest_ms is None or at_ms > self.newest_ms:
                self.newest_ms = at_ms
                self.seen.move(at_ms)
            key = (outcome.request_id, outcome.measure)
            fresh[i] = key not in self.seen
            self.seen.add(key, at_ms)
        return fresh

    def first_offset(self, source: int) -> int | None:
        """Where re-reading the outcomes must begin to remember all; None where nothing is remembered."""
        return self.seen.horizon.first_offset(source)


def count_scores(window: Window, outcomes: Sequence[Outcome]) -> None:
    """Count outcomes in their window: deltas of the paired ones by measure, the others as single."""
    deltas: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.baseline is None or outcome.candidate is None:
            window.bump("outcome_single", 1)
            continue
        window.bump("outcome_paired", 1)
        deltas.setdefault(outcome.measure, []).append(outcome.candidate - outcome.baseline)
    for measure, found in deltas.items():
        name = f"scores.{measure}"
        known = sum(1 for histogram in window.histograms if histogram.startswith("scores."))
        if name not in window.histograms and known >= MAX_MEASURES:
            window.bump("outcome_overflow", len(found))
            continue
        buckets = scores.bucket(np.array(found, np.float64))
        window.add_histogram(name, np.bincount(buckets, minlength=scores.BUCKETS))
