"""Reports: what is told of the windows of one partition, in which form and under which revision.

Law: a revision is used once, and a later report of a window has a higher one, across restarts from a snapshot too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from paritygate.comparators.joining import RolloutJoin
from paritygate.comparators.tally import COUNT_NAMES
from paritygate.comparators.windows import Window
from paritygate.schemas.report import Cell, Example, Histogram, RouterGroup, SourceRange, WindowReport

#: Revisions of one life of the state; a restore jumps to the next multiple, above all that the last life used.
_REVISIONS: Final = 1 << 32


class Reports:
    """The reports of the rollouts of one partition. ``rollouts``: those there are, at any time."""

    def __init__(self, partition: int, partitions: int, rollouts: Mapping[str, RolloutJoin]) -> None:
        self._partition, self._partitions, self._rollouts = partition, partitions, rollouts
        self._revision = 0
        self._returned: dict[tuple[str, int], WindowReport] = {}

    def take(self, generation: int, sources: tuple[SourceRange, ...]) -> list[WindowReport]:
        """Those that came back, then of each rollout the closed windows, then the early reports; all numbered."""
        returned, self._returned = self._returned, {}
        found = list(returned.values())
        for rollout in self._rollouts.values():
            windows = [(window, False) for window in rollout.reportable()]
            windows += [(window, True) for window in rollout.grave()]
            for (index, window), early in windows:
                found.append(self._build(rollout, index, window, sources, early=early))
        first, self._revision = self._revision + 1, self._revision + len(found)
        return [replace(r, generation=generation, revision=n) for n, r in enumerate(found, first)]

    def requeue(self, reports: Sequence[WindowReport]) -> None:
        """Reports that could not be published come again with the next :meth:`take`."""
        for report in reports:
            if report.is_early:
                continue  # its window is reported as a whole anyhow
            rollout = self._rollouts.get(report.rollout_id)
            index = None if rollout is None else report.window_start_ms // rollout.settings.window_ms
            if rollout is not None and index in rollout.windows.by_index:
                rollout.windows.by_index[index].changed = True
            else:
                self._returned[report.rollout_id, report.window_start_ms] = report

    def to_plain(self) -> dict[str, Any]:
        """What a restart must know of."""
        return {"revision": self._revision, "returned": [report_to_plain(r) for r in self._returned.values()]}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Read :meth:`to_plain` back."""
        self._revision = (plain["revision"] // _REVISIONS + 1) * _REVISIONS
        for report in map(report_from_plain, plain["returned"]):
            self._returned[report.rollout_id, report.window_start_ms] = report

    def _build(
        self, rollout: RolloutJoin, index: int, window: Window, sources: tuple[SourceRange, ...], *, early: bool
    ) -> WindowReport:
        """The whole content of one window of a rollout, not numbered yet.

        ``early``: the window is open, so the watermark told is not beyond its start, whatever it is.
        """
        width = rollout.settings.window_ms
        watermark_ms = rollout.watermark_ms or 0
        if early:
            watermark_ms = min(watermark_ms, index * width)
        cells, histograms, totals = window.tally(rollout.vocabulary).to_parts()
        return WindowReport(
            rollout_id=rollout.settings.rollout_id, partition=self._partition, partitions=self._partitions,
            generation=0, revision=0, window_start_ms=index * width, window_end_ms=(index + 1) * width,
            watermark_ms=watermark_ms, sources=sources, dimensions=rollout.settings.dimensions,
            count_names=COUNT_NAMES, cells=cells, histograms=histograms, totals=totals,
            examples=window.examples,
        )  # fmt: skip


def report_to_plain(report: WindowReport) -> dict[str, Any]:
    """The report as plain data, for the snapshot."""
    rows = replace(report, cells=tuple(report.cells), histograms=tuple(report.histograms))
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
