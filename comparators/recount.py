"""Recount: the windows of one partition made again from its raw events, and held against those recorded.

Law: what a window holds follows from the events and from how far event time had come when they were read. Events
come from the topics; how far time had come is taken from the recorded reports, each of which names the offsets that
it covers and its watermark. Held against the record is the *newest* version of each window, count by count. Three
totals stand in a window by the moment of reading and are compared as sums (``late``, ``poison``, ``lost``), and
``conflict`` is one with ``duplicate``. What lies before the worker knew of the rollout is in no recorded window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import Tally
from paritygate.schemas.prediction import ARMS
from paritygate.schemas.report import WindowReport

#: Totals whose window follows from the moment of reading.
ANYWHERE: Final = ("late", "poison", "lost")
#: Totals that earlier workers did not count: a record in which none of them stands does not speak of them.
_LATER: Final = tuple(f"{name}.{arm}" for name in ("memory_bytes", "memory_reports") for arm in ARMS)


@dataclass(frozen=True, slots=True)
class Pin:
    """A moment of the recorded join: offsets applied by topic, and the watermark."""

    applied: Mapping[str, int]
    watermark_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recounted:
    """What came of one partition.

    ``identical``: windows whose newest version is the same, count by count. ``edge``: windows at the beginning that
    hold more than recorded, since their first requests came before the worker knew of the rollout. ``differences``:
    a sentence each. ``contents``: by (partition, window start) the version that was recorded, as (generation,
    revision), and the recounted tally with the moment's totals as recorded; not of the edge. ``gone``: what
    the raw topics no longer hold, in words; differences then prove nothing.
    """

    partition: int
    windows: int
    identical: int
    edge: int
    differences: tuple[str, ...]
    contents: Mapping[tuple[int, int], tuple[tuple[int, int], Tally]]
    gone: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Nothing that can be known speaks against the record."""
        return not self.differences or bool(self.gone)


def newest(reports: Iterable[WindowReport]) -> dict[tuple[int, int], WindowReport]:
    """The report that counts, by (partition, window start)."""
    found: dict[tuple[int, int], WindowReport] = {}
    for report in reports:
        key = report.partition, report.window_start_ms
        known = found.get(key)
        if known is None or (report.generation, report.revision) > (known.generation, known.revision):
            found[key] = report
    return found


def pins(reports: Iterable[WindowReport]) -> Iterator[Pin]:
    """The moments of one partition in log order. One that goes back (a worker that began again) is left out."""
    before: Pin | None = None
    for report in reports:
        pin = Pin({s.topic: s.next for s in report.sources}, report.watermark_ms)
        back = before is not None and (
            pin.watermark_ms < before.watermark_ms
            or any(pin.applied.get(topic, 0) < offset for topic, offset in before.applied.items())
        )
        if not back and pin != before:
            before = pin
            yield pin


def recount(
    settings: JoinSettings,
    partition: int,
    reports: Sequence[WindowReport],
    feed: Callable[[PartitionJoin, Pin], None],
) -> Recounted:
    """Make the windows of a partition again.

    ``reports``: all of this partition and rollout, in log order. ``feed``: called with each pin, it is to ingest
    every record below the pin's offsets that it has not ingested yet.
    """
    join = PartitionJoin(partition, reports[0].partitions)
    join.declare(settings)
    made: dict[tuple[int, int], WindowReport] = {}
    for pin in pins(reports):
        feed(join, pin)
        join.repeat(pin.watermark_ms + settings.lateness_ms)
        made |= {(partition, r.window_start_ms): r for r in join.take_reports(1)}
    return compare(partition, newest(reports), made)


def compare(
    partition: int,
    recorded: Mapping[tuple[int, int], WindowReport],
    made: Mapping[tuple[int, int], WindowReport],
) -> Recounted:
    """Hold recounted windows against the recorded ones; only windows that are recorded are looked at."""
    differences: list[str] = []
    contents: dict[tuple[int, int], tuple[tuple[int, int], Tally]] = {}
    sums = [dict.fromkeys(ANYWHERE, 0), dict.fromkeys(ANYWHERE, 0)]
    identical = edge = 0
    begun = False
    for key in sorted(recorded):
        theirs = Tally.from_report(recorded[key], BUCKET_COUNTS)
        ours = Tally(theirs.dimensions) if key not in made else Tally.from_report(made[key], BUCKET_COUNTS)
        moment = {name: theirs.totals.get(name, 0) for name in ANYWHERE}
        for side, tally in zip(sums, (theirs, ours), strict=True):
            for name in ANYWHERE:
                side[name] += tally.totals.pop(name, 0)
        if not any(name in theirs.totals for name in _LATER):
            for name in _LATER:
                ours.totals.pop(name, None)
        at_edge = False
        plain_ours, plain_theirs = _as_one(ours), _as_one(theirs)
        if plain_ours == plain_theirs:
            identical += 1
            moment |= {name: theirs.totals.get(name, 0) for name in ("duplicate", "conflict")}
            begun = begun or bool(plain_theirs.cells)
        elif not begun and plain_ours.count("requests") > plain_theirs.count("requests"):
            edge, at_edge = edge + 1, True
        else:
            differences.append(f"partition {partition}, window {key[1]}: {_apart(plain_theirs, plain_ours)}")
        for name, count in moment.items():
            ours.bump(name, count - ours.totals.get(name, 0))
        if not at_edge:
            contents[key] = (recorded[key].generation, recorded[key].revision), ours
    if edge == 0:
        differences += [
            f"partition {partition}: {name} are {sums[0][name]:,} in the record, {sums[1][name]:,} recounted"
            for name in ANYWHERE
            if sums[0][name] != sums[1][name]
        ]
    return Recounted(
        partition=partition,
        windows=len(recorded),
        identical=identical,
        edge=edge,
        differences=tuple(differences),
        contents=contents,
    )


def with_content(report: WindowReport, tally: Tally) -> WindowReport:
    """The report at its place in the log, with recounted content."""
    cells, histograms, totals = tally.to_parts()
    return replace(report, cells=cells, histograms=histograms, totals=totals)


def _as_one(tally: Tally) -> Tally:
    """With conflicts and duplicates as one: only a repeat of what still waits can be told apart."""
    one = Tally(tally.dimensions, dict(tally.cells), dict(tally.histograms), dict(tally.totals))
    one.bump("duplicate", one.totals.get("conflict", 0))
    one.totals.pop("conflict", None)
    return one


def _apart(theirs: Tally, ours: Tally) -> str:
    """The first thing in which two tallies differ: totals, cells, histograms."""
    for name in sorted(theirs.totals.keys() | ours.totals.keys()):
        if theirs.totals.get(name, 0) != ours.totals.get(name, 0):
            had, has = theirs.totals.get(name, 0), ours.totals.get(name, 0)
            return f"total {name} is {had:,} in the record, {has:,} recounted"
    for name in ("requests", "pairs", "missing_candidate", "missing_baseline", "candidate_errors"):
        if theirs.count(name) != ours.count(name):
            return f"{name} are {theirs.count(name):,} in the record, {ours.count(name):,} recounted"
    for values in sorted(theirs.cells.keys() | ours.cells.keys()):
        one, other = theirs.cells.get(values), ours.cells.get(values)
        if one is None or other is None or bool((one != other).any()):
            return f"counts of segment {', '.join(values) or 'all'} differ"
    return "histograms differ"
