"""Trends: the charts over time of a rollout, their numbers as a table, and what is pushed of them.

Law: chart and table show the same panes. A page holds the frames of the charts and the newest panes alone; its
module asks for all of them once, and again when it missed some, so that a push is small whatever the rollout's age.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from typing import Final

import orjson

from paritygate.dashboard import paths
from paritygate.dashboard.board import Entry
from paritygate.dashboard.document import Paragraph, Table
from paritygate.dashboard.elements import Html, element
from paritygate.dashboard.parts import Part, notices, part
from paritygate.dashboard.words import amount
from paritygate.gates.reasons import duration, instant
from paritygate.rollouts.trend import TrendPoint
from paritygate.schemas.decision import GateDecision

#: Newest panes that a push repeats: late windows still change those.
PUSHED: Final = 5
#: A partition that is further behind than this no longer holds up the newest pane.
LAG_MS: Final = 30_000
COLUMNS: Final = tuple(f.name for f in fields(TrendPoint))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: a column of the points, its name, and whose it is."""

    column: str
    name: str
    whose: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines of one unit: ``per_s``, ``ms`` or ``ratio``. ``short``: the title in a table."""

    title: str
    short: str
    unit: str
    lines: tuple[Line, ...]


def _both(what: str) -> tuple[Line, ...]:
    return Line(f"baseline_{what}", "stable", "stable"), Line(f"candidate_{what}", "candidate", "candidate")


CHARTS: Final = (
    Chart(
        "Requests each second",
        "",
        "per_s",
        (
            Line("compared_per_s", "compared on both", "both"),
            Line("baseline_live_per_s", "users got stable", "stable"),
            Line("candidate_live_per_s", "users got candidate", "candidate"),
        ),
    ),
    Chart("Latency p50", "p50", "ms", _both("p50_ms")),
    Chart("Latency p95", "p95", "ms", _both("p95_ms")),
    Chart("Error rate", "errors", "ratio", _both("error_ratio")),
    Chart("Timeout rate", "timeouts", "ratio", _both("timeout_ratio")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where a stage began, in event time."""

    at_ms: int
    stage: str
    weight: int


def points_of(entry: Entry, newest: int | None = None) -> tuple[TrendPoint, ...]:
    """The panes that are whole, oldest first: up to what every partition has reported, if none is far behind."""
    ledger, trend = entry.ledger, entry.trend
    if ledger is None or trend is None:
        return ()
    lag = ledger.lag_ms
    until = ledger.frontier_ms if lag is not None and lag <= LAG_MS else ledger.at_ms
    return trend.points(until) if newest is None else trend.points(until, newest)


def marks_of(entry: Entry) -> tuple[Begun, ...]:
    """Where the stages began, those before the first pane left out."""
    return tuple(_marks(entry.decisions))


def _marks(decisions: list[GateDecision]) -> Iterator[Begun]:
    for before, after in pairwise(decisions):
        if before.stage != after.stage:
            yield Begun(at_ms=after.at_ms, stage=after.stage, weight=after.weight)


def trend_parts(entry: Entry) -> tuple[Part, ...]:
    """The frames of the charts, which never change, and the newest panes."""
    title = "Over time"
    if entry.trend is None:
        missing = Paragraph("The windows of this rollout are being read, or are past their retention.")
        return part("trend", title, missing), _points(entry)
    source = paths.trend_json(entry.rollout_id)
    told = element("p", "Event time in UTC; where a dotted line stands, a stage begins.", class_="quiet")
    frames = element("div", *map(_frame, CHARTS), class_="trends", data_source=source)
    link = ("The same numbers as a table", paths.rollout(entry.rollout_id, "trend"))
    return part("trend", title, told, frames, link=link), _points(entry)


def _frame(chart: Chart) -> Html:
    legend = []
    for line in chart.lines:
        # Not an <output>: that would be read aloud at every push.
        words = element("span", line.name), " ", element("span", "", class_="value")
        legend.append(element("li", *words, class_=line.whose, data_column=line.column))
    return element(
        "figure",
        element("figcaption", chart.title),
        element("div", class_="plot"),
        element("ul", *legend, class_="legend"),
        data_unit=chart.unit,
    )


def _points(entry: Entry) -> Part:
    told = [[_known(value) for value in astuple(p)] for p in points_of(entry, PUSHED)]
    return Part(
        "points",
        element(
            "div",
            id="points",
            hidden="hidden",
            data_pane=str(entry.trend.pane_ms if entry.trend else 0),
            data_marks=str(sum(1 for _ in _marks(entry.decisions))),
            data_columns=",".join(COLUMNS),
            data_points=orjson.dumps(told).decode(),
        ),
    )


def _known(value: float | int | None) -> float | int | None:
    """For JSON, at the precision of the buckets."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def column(points: tuple[TrendPoint, ...], name: str) -> tuple[float | int | None, ...]:
    """One column of the points; None where it is not known, or never."""
    return tuple(_known(getattr(p, name)) for p in points)


def table_parts(entry: Entry) -> tuple[Part, ...]:
    """The page of the numbers behind the charts, the newest first."""
    points = points_of(entry)
    lines = [(chart, line) for chart in CHARTS for line in chart.lines]
    begun = {_pane(mark.at_ms, entry): mark for mark in marks_of(entry)}
    rows = tuple(
        (
            instant(p.at_ms) + (f", stage {begun[p.at_ms].stage} begins" if p.at_ms in begun else ""),
            *(amount(getattr(p, line.column), chart.unit) for chart, line in lines),
        )
        for p in reversed(points)
    )
    columns = ("from", *(f"{chart.short} {line.name}".strip() for chart, line in lines))
    title = f"Over time: {entry.rollout_id}"
    told: list[Paragraph | Table] = [Paragraph("No window was reported yet.")]
    if entry.trend is not None and rows:
        width = f"Each row is {duration(entry.trend.pane_ms)} of event time, the newest first."
        told = [
            Paragraph(f"{width} A latency is told to 4.4 %."),
            Table(columns, rows, tuple(range(1, len(columns))), (0,)),
        ]
    return notices(()), Part("title", element("h1", title, id="title")), part("rows", "By time", *told)


def _pane(at_ms: int, entry: Entry) -> int:
    width = entry.trend.pane_ms if entry.trend else 1
    return at_ms // width * width
