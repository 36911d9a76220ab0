"""Worst: the segments in which the candidate is worst, as gauges for Prometheus.

Law: of each open rollout 50 segments at most, those of the page's ranking; one that is no longer among them, or
whose rollout has ended, has no series any more. How many segments there are is told beside them, and what the cap
of a family refuses is counted (``paritygate_series_dropped_total``), so that nobody takes the list for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from paritygate.dashboard.board import Entry
from paritygate.dashboard.segments import Ranked, ranking
from paritygate.rollouts.review import Review
from paritygate.schemas.metrics import Gauge, Metrics

#: Segments of one rollout.
WORST: Final = 50
_Labels = tuple[tuple[str, str], ...]


class WorstSegments:
    """Keeps the gauges of ``metrics``. Not thread-safe: one caller at a time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: set[tuple[Gauge, _Labels]] = set()
        self._ranked: dict[str, tuple[int, tuple[Ranked, ...], int]] = {}

    def tell(self, entries: Iterable[Entry], review_of: Callable[[Entry], Review | None]) -> None:
        """Bring the gauges to where ``entries`` stand; call it with the board's lock held."""
        self._ranked = {e.rollout_id: self._of(e, review_of) for e in entries if e.active and e.ledger is not None}
        wanted: dict[tuple[Gauge, _Labels], float] = {}
        for rollout, (_, rows, total) in self._ranked.items():
            wanted[Gauge.SEGMENTS, (("rollout", rollout),)] = total
            for row in rows:
                _put(wanted, rollout, row)
        # First those that go, so that the cap has room for those that come.
        for metric, labels in self._told - wanted.keys():
            self._metrics.remove(metric, **dict(labels))
        for (metric, labels), value in wanted.items():
            self._metrics.set(metric, value, **dict(labels))
        self._told = set(wanted)

    def _of(self, entry: Entry, review_of: Callable[[Entry], Review | None]) -> tuple[int, tuple[Ranked, ...], int]:
        known = self._ranked.get(entry.rollout_id)
        if known is not None and known[0] == entry.version:
            return known
        assert entry.ledger is not None
        review = review_of(entry)
        rows, total = ranking(entry.ledger.whole, review.findings if review is not None else (), WORST)
        return entry.version, rows, total


def _put(wanted: dict[tuple[Gauge, _Labels], float], rollout: str, row: Ranked) -> None:
    where = (("rollout", rollout), ("segment", row.name))
    wanted[Gauge.SEGMENT_REQUESTS, where] = row.requests
    wanted[Gauge.SEGMENT_FLAGGED, where] = 1.0 if row.finding else 0.0
    if row.requests:
        for arm, errors in (("baseline", row.baseline_errors), ("candidate", row.candidate_errors)):
            wanted[Gauge.SEGMENT_ERRORS, (*where, ("arm", arm))] = errors / row.requests
