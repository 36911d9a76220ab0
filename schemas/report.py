"""WindowReport: everything that one partition knows about one window of one rollout.

Law: a report is a full upsert. For one (rollout, partition, window) the report with the highest
(generation, revision) replaces all others, so publishing one twice changes nothing. Reports of different
partitions or windows merge by addition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

#: An array of 64-bit integers: services that only publish load no numpy, not even for its types.
_Numbers = Any


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


class _Columns:
    """Rows that are made of columns when somebody looks at them; equal to any sequence of equal rows."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)  # type: ignore[arg-type]


class Cells(_Columns, Sequence[Cell]):
    """Cells in columns: the ``values`` of each, and the ``counts`` of all, ``[cells, count_names]``."""

    __slots__ = ("counts", "values")

    def __init__(self, values: Sequence[tuple[str, ...]], counts: _Numbers) -> None:
        self.values, self.counts = values, counts

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Cell]:
        for values, counts in zip(self.values, self.counts.tolist(), strict=True):
            yield Cell(values=values, counts=tuple(counts))

    @overload
    def __getitem__(self, at: int) -> Cell: ...
    @overload
    def __getitem__(self, at: slice) -> Cells: ...
    def __getitem__(self, at: int | slice) -> Cell | Cells:
        if isinstance(at, slice):
            return Cells(self.values[at], self.counts[at])
        return Cell(values=self.values[at], counts=tuple(self.counts[at].tolist()))


class Histograms(_Columns, Sequence[Histogram]):
    """Histograms in columns: their ``names``, and of number k bucket numbers (``buckets``) and ``counts`` from
    ``ends[k]`` to ``ends[k + 1]``.
    """

    __slots__ = ("buckets", "counts", "ends", "names")

    def __init__(self, names: Sequence[str], ends: Sequence[int], buckets: _Numbers, counts: _Numbers) -> None:
        self.names, self.ends, self.buckets, self.counts = names, ends, buckets, counts

    def __len__(self) -> int:
        return len(self.names)

    def columns(self) -> Iterator[tuple[str, _Numbers, _Numbers]]:
        """Name, bucket numbers and counts of each."""
        for name, first, last in zip(self.names, self.ends, self.ends[1:], strict=False):
            yield name, self.buckets[first:last], self.counts[first:last]

    @overload
    def __getitem__(self, at: int) -> Histogram: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Histogram, ...]: ...
    def __getitem__(self, at: int | slice) -> Histogram | tuple[Histogram, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        name, buckets, counts = list(self.columns())[at]
        return Histogram(name=name, index=tuple(buckets.tolist()), counts=tuple(counts.tolist()))

    def __iter__(self) -> Iterator[Histogram]:
        for name, buckets, counts in self.columns():
            yield Histogram(name=name, index=tuple(buckets.tolist()), counts=tuple(counts.tolist()))


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

    ``cells`` and ``histograms`` are in columns (:class:`Cells`, :class:`Histograms`) where there are many of them.

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
    cells: Sequence[Cell]
    histograms: Sequence[Histogram]
    totals: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    acks_next: int = 0
    routers: tuple[RouterGroup, ...] = ()

    @property
    def histogram_names(self) -> Sequence[str]:
        """The names of the histograms, in their order."""
        histograms = self.histograms
        return histograms.names if isinstance(histograms, Histograms) else [h.name for h in histograms]

    @property
    def is_early(self) -> bool:
        """Whether it only tells of grave events in an open window; the whole report follows when that closes."""
        return self.watermark_ms < self.window_end_ms
