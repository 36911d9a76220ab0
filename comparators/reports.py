"""Reports: a window of a join in its wire form, and reports that wait to be published as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paritygate.comparators.joining import RolloutJoin
from paritygate.comparators.tally import COUNT_NAMES
from paritygate.comparators.windows import Window
from paritygate.schemas.report import Cell, Example, Histogram, RouterGroup, SourceRange, WindowReport


def build_report(
    rollout: RolloutJoin,
    index: int,
    window: Window,
    *,
    partition: int,
    partitions: int,
    sources: tuple[SourceRange, ...],
    early: bool = False,
) -> WindowReport:
    """The whole content of one window of a rollout; generation and revision are left to the publisher (0).

    ``early``: the window is open, so the watermark told is not beyond its start, whatever it is.
    """
    width = rollout.settings.window_ms
    watermark_ms = rollout.watermark_ms or 0
    if early:
        watermark_ms = min(watermark_ms, index * width)
    cells, histograms, totals = window.tally(rollout.vocabulary).to_parts()
    return WindowReport(
        rollout_id=rollout.settings.rollout_id, partition=partition, partitions=partitions,
        generation=0, revision=0, window_start_ms=index * width, window_end_ms=(index + 1) * width,
        watermark_ms=watermark_ms, sources=sources, dimensions=rollout.settings.dimensions,
        count_names=COUNT_NAMES, cells=cells, histograms=histograms, totals=totals,
        examples=window.examples,
    )  # fmt: skip


def report_to_plain(report: WindowReport) -> dict[str, Any]:
    """The report as plain data, for the snapshot."""
    rows = dataclasses.replace(report, cells=tuple(report.cells), histograms=tuple(report.histograms))
    return dataclasses.asdict(rows)


def report_from_plain(plain: Mapping[str, Any]) -> WindowReport:
    """Read :func:`report_to_plain` back."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    values["sources"] = tuple(SourceRange(**s) for s in plain["sources"])
    values["cells"] = tuple(Cell(values=tuple(c["values"]), counts=tuple(c["counts"])) for c in plain["cells"])
    values["histograms"] = tuple(
        Histogram(name=h["name"], index=tuple(h["index"]), counts=tuple(h["counts"])) for h in plain["histograms"]
    )
    values["examples"] = tuple(Example(**{**e, "values": tuple(e["values"])}) for e in plain["examples"])
    values["routers"] = tuple(RouterGroup(**{**r, "named": tuple(r["named"])}) for r in plain.get("routers", ()))
    return WindowReport(**values)
