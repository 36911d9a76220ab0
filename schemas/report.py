"""WindowReport: everything that one partition knows about one window of one rollout.

Law: a report is a full upsert. For one (rollout, partition, window) the report with the highest
(generation, revision) replaces all others, so publishing one twice changes nothing. Reports of different
partitions or windows merge by addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRange:
    """Offsets of one source partition that were applied before this report: ``[first, next)``."""

    topic: str
    partition: int
    first: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Counts of one combination of segment values; ``counts`` follows the report's ``count_names``."""

    values: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Sparse counts: ``counts[i]`` stands in bucket ``index[i]``; counts may be negative in difference arrays."""

    name: str
    index: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One request pair worth showing. ``kind`` says why; ids only, payloads stay in the prediction topics.

    ``trace_id``: the trace of the request as the event that completed the pair names it; empty where it names none,
    and where no event completed it.
    """

    request_id: str
    kind: str
    detail: str
    values: tuple[str, ...]
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterGroup:
    """Routers that said the same last: ``count`` of them, some ``named``; the rest as in a ``RouterAck``."""

    sequence: int
    weight: int
    state: str
    count: int
    named: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """Cumulative content of the half-open window ``[window_start_ms, window_end_ms)`` in one partition.

    ``partitions``: how many partitions the source topics have, so that a reader knows when it has all.
    ``watermark_ms``: event time up to which this partition believes that it has seen all.
    ``generation``: rises with every owner of the partition; ``revision`` rises within it.
    ``sources``: offsets applied so far. ``dimensions`` names the parts of each cell's ``values``.
    ``totals``: counts that have no segment (bins, platform events, failed rules).
    ``routers``: the live routers of the rollout by the acknowledgements before offset ``acks_next`` of
    ``router.acks.v1``; 0 where those were not read. They come with the report and are no part of the window.

    A report whose watermark lies before its window's end is an early one (:attr:`is_early`): the window is open.
    """

    rollout_id: str
    partition: int
    partitions: int
    generation: int
    revision: int
    window_start_ms: int
    window_end_ms: int
    watermark_ms: int
    sources: tuple[SourceRange, ...]
    dimensions: tuple[str, ...]
    count_names: tuple[str, ...]
    cells: tuple[Cell, ...]
    histograms: tuple[Histogram, ...]
    totals: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    acks_next: int = 0
    routers: tuple[RouterGroup, ...] = ()

    @property
    def is_early(self) -> bool:
        """Whether it only tells of grave events in an open window; the whole report follows when that closes."""
        return self.watermark_ms < self.window_end_ms
