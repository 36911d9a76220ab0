"""Ledger: what the window reports of one rollout add up to.

Law: the content depends on the set of newest reports, not on how often or in which order older ones came. A
report replaces the one of the same (partition, window) with a lower (generation, revision): its old tally is
taken out, its new one added. Memory is bounded: reports are kept, for replacing, only of the newest windows;
panes are 24 at most, minutes 1440 (``rollouts.minutes``), live batches 4096; all coarsen by merging neighbours,
which adds whole tallies and loses no count.

What may promote is counted later than what may roll back: the stage takes a window only when *every*
partition has reported it or a later one. Each partition's windows close in order, but a slow or missing answer
holds up its own partition alone; without this rule the stage would hold the good answers of the others and
wait for the bad one, and a proof would be chosen by its outcome. An early report of an open window is evidence of
what it tells, but with it no partition has come to that window. A window that is no longer kept before every
partition came so far is not in the stage; its requests count there as ``lost``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.tally import COUNT_NAMES, INDEX, Counts, Tally, zero_counts
from paritygate.gates.assess import Evidence
from paritygate.rollouts.ladder import Stage
from paritygate.rollouts.minutes import Minutes
from paritygate.schemas.decision import SourceOffsets
from paritygate.schemas.report import RouterGroup, WindowReport

#: Most panes of the start-mixture; more are merged in pairs.
MAX_PANES: Final = 24
#: Most rows of live batches; more are merged in pairs.
MAX_LIVE_BATCHES: Final = 4096
#: A partition that lags keeps its windows replaceable, up to this many times ``retain`` windows.
LAG_FACTOR: Final = 16
#: Routers have obeyed a stage by then. A decision is made a window and the lateness behind event time, and is then
#: published and read; a router that needs longer than this does not obey, and that is to be seen.
OBEY_MS: Final = 10_000

_LIVE = [INDEX[n] for n in ("live_candidate", "live_baseline", "live_candidate_errors", "live_baseline_errors")]
_HARM = [INDEX[n] for n in ("candidate_errors", "candidate_invalid")]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one report changed.

    ``closed``: event time has passed the end of a window, in the newest partition or in all of them.
    ``harm``: it brought failures, invalid outputs or memory exhaustion of the candidate that were not known
    before; an early report, also restarts. ``change``: what its window gained, negative where it replaced more.
    """

    closed: bool
    harm: bool
    change: Tally = field(default_factory=lambda: Tally(()), compare=False, repr=False)


class Ledger:
    """Evidence of one rollout.

    ``window_ms``: width of its windows. ``dimensions``: of its cells. ``settle_ms``: a partition may still
    report a window for so long after its watermark has passed the window's end (grace and retention of the
    join). ``retain``: how many of the newest window starts stay replaceable in any case. ``ignored`` counts
    what was not taken: ``old`` (a revision that is known or replaced), ``stale`` (a window that is no longer
    replaceable), ``foreign`` (dimensions, bucket families or lengths other than ours).
    """

    def __init__(
        self, dimensions: tuple[str, ...], window_ms: int, *, settle_ms: int = 0, retain: int = 64
    ) -> None:
        self.ignored: Counter[str] = Counter()
        self.first_start_ms: int | None = None
        self.candidate_until_ms: int | None = None
        self.baseline_until_ms: int | None = None
        self.at_ms: int | None = None
        self.stage_from_ms: int | None = None
        self._dimensions = dimensions
        self._whole = Tally(dimensions)
        self._stage = Tally(dimensions)
        self._obeyed = np.zeros(2, np.int64)
        self._reported_ms: dict[int, int] = {}
        #: Windows that end here or before are in the stage, as far as they belong to it; it never steps back.
        self._common_ms: int | None = None
        self._fresh: dict[int, Tally] = {}
        self._window_ms = window_ms
        self._settle_ms = settle_ms
        self._retain = retain
        self._kept: dict[int, dict[int, WindowReport]] = {}
        self._edge_ms: int | None = None
        self._watermarks: dict[int, int] = {}
        self._partitions = 1
        self._pane_ms = window_ms
        self._panes: dict[int, Tally] = {}
        self._pane_counts: dict[int, Counts] = {}
        self._minutes = Minutes(window_ms)
        #: Starts of the windows that are kept and were added up at an earlier look.
        self._begun: set[int] = set()
        self._live: dict[int, npt.NDArray[np.int64]] = {}
        self._settled_live: list[npt.NDArray[np.int64]] = []
        self._sources: dict[tuple[str, int], tuple[int, int]] = {}
        #: The live routers, as the report tells that has heard most of them.
        self.routers: tuple[RouterGroup, ...] = ()
        self._acks_next = 0

    @property
    def whole(self) -> Tally:
        """Everything since the rollout began."""
        self._settle()
        return self._whole

    @property
    def stage(self) -> Tally:
        """Windows that start in the present stage and that every partition has come to report."""
        self._settle()
        return self._stage

    @property
    def common_ms(self) -> int | None:
        """Event time up to which the stage holds every window; None until every partition has reported."""
        self._settle()
        return self._common_ms

    @property
    def lag_ms(self) -> int | None:
        """How far the slowest partition is behind the fastest; None while one has never reported."""
        frontier = self.frontier_ms
        return None if frontier is None or self.at_ms is None else self.at_ms - frontier

    @property
    def frontier_ms(self) -> int | None:
        """Event time that every partition has reached; None until each has reported."""
        return min(self._watermarks.values()) if len(self._watermarks) >= self._partitions else None

    def take(self, report: WindowReport) -> Taken | None:
        """Take one report in; None when it changes nothing (the reason is counted in ``ignored``)."""
        start = report.window_start_ms
        if self._edge_ms is not None and start < self._edge_ms:
            return self._ignore("stale")
        known = self._kept.get(start, {}).get(report.partition)
        if known is not None and _version(report) <= _version(known):
            return self._ignore("old")
        if report.dimensions != self._dimensions or any(map(_foreign, report.histogram_names)):
            return self._ignore("foreign")
        try:
            change = Tally.from_report(report, BUCKET_COUNTS)
        except (IndexError, ValueError):
            # Buckets or counts beyond their arrays: one bad record must not stop every other rollout.
            return self._ignore("foreign")
        if known is not None:
            change.add(Tally.from_report(known, BUCKET_COUNTS), sign=-1)
        self._kept.setdefault(start, {})[report.partition] = report
        counts = change.overall()
        self._add(start, change, counts)
        if not report.is_early:
            self._note_silence(report.window_end_ms, counts)
            self._reported_ms[report.partition] = max(
                report.window_end_ms, self._reported_ms.get(report.partition, report.window_end_ms)
            )
        for s in report.sources:
            first, following = self._sources.get((s.topic, s.partition), (s.first, s.next))
            self._sources[s.topic, s.partition] = (min(first, s.first), max(following, s.next))
        if report.acks_next > self._acks_next:
            self._acks_next, self.routers = report.acks_next, report.routers
        closed = self._advance(report)
        self._retire()
        harm = bool((counts[_HARM] > 0).any()) or change.totals.get("ooms.candidate", 0) > 0
        harm |= report.is_early and change.totals.get("restarts.candidate", 0) > 0
        return Taken(closed, harm, change)

    def enter_stage(self, at_ms: int) -> None:
        """A new stage begins: its evidence is that of the windows that start at ``at_ms`` or later."""
        self._settle()
        self.stage_from_ms = at_ms
        self._stage = Tally(self._dimensions)
        self._obeyed = np.zeros(2, np.int64)
        for start in sorted(self._kept):
            if self._in_stage(start) and self._is_common(start):
                self._into_stage(start, self._window(start))

    def evidence(self, stage: Stage) -> Evidence:
        """What the gates judge: views of the ledger's own tallies, good until the next report is taken."""
        rows = [*self._settled_live, *(self._live[s] for s in sorted(self._live))]
        rows = [r for r in rows if r[2] or r[3]]
        self._settle()
        passed = max(self._reported_ms.values(), default=0)
        return Evidence(
            whole=self.whole,
            stage=self.stage,
            panes=tuple(self._panes[p] for p in sorted(self._panes)),
            pane_starts_ms=tuple(p * self._pane_ms for p in sorted(self._panes)),
            pane_counts=np.array([self._pane_counts[p] for p in sorted(self._panes)], np.int64).reshape(
                -1, len(COUNT_NAMES)
            ),
            stage_from_ms=self.stage_from_ms,
            live_batches=np.array(rows, np.int64).reshape(-1, 4),
            minutes=self._minutes.closed(passed),
            opening=self._minutes.opening(),
            instances=self._minutes.by_instance(passed, self.stage_from_ms, self._common_ms),
            stage_name=stage.name,
            weight=stage.weight,
            obeyed=(int(self._obeyed[0]), int(self._obeyed[1])),
        )

    def settle(self) -> None:
        """Add up what has come since the last look, which the next look would do; changes nothing that it shows."""
        self._settle()

    def newest_windows(self) -> Iterator[Tally]:
        """The windows of the stage that every partition has come to report, the newest first, while kept."""
        self._settle()
        for start in sorted(self._kept, reverse=True):
            if self._in_stage(start) and self._is_common(start):
                yield self._window(start)

    def digest(self) -> str:
        """SHA-256 in hex of the canonical JSON of the tallies: the evidence a decision rests on."""
        parts = {"whole": self.whole.to_parts(), "stage": self.stage.to_parts()}
        return hashlib.sha256(orjson.dumps(parts, default=list, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def sources(self) -> tuple[SourceOffsets, ...]:
        """Offsets ``[first, next)`` of every source partition that are in the evidence."""
        return tuple(
            SourceOffsets(topic=topic, partition=partition, first=first, next=following)
            for (topic, partition), (first, following) in sorted(self._sources.items())
        )

    def _ignore(self, why: str) -> Taken | None:
        self.ignored[why] += 1
        return None

    def _add(self, start: int, change: Tally, counts: Counts) -> None:
        self.first_start_ms = start if self.first_start_ms is None else min(self.first_start_ms, start)
        self._live[start] = self._live.get(start, np.zeros(4, np.int64)) + counts[_LIVE]
        self._minutes.add(start, change, counts, self.first_start_ms)
        self._fresh.setdefault(start, Tally(self._dimensions)).add(change)
        if len(self._fresh) > self._retain:
            self._settle()

    def _settle(self) -> None:
        """Add what came since the last look: once per window, not once per window and partition."""
        fresh, self._fresh = self._fresh, {}
        # What came of a window of which nothing had come before is all that is kept of it.
        whole = {start: change for start, change in fresh.items() if start not in self._begun}
        self._begun = {start for start in (*self._begun, *fresh) if start in self._kept}
        for start, change in fresh.items():
            self._whole.add(change)
            if self._in_stage(start) and self._is_common(start):
                self._into_stage(start, change)
            self._into_pane(start // self._pane_ms, change, change.overall())
        self._move_common(whole)
        # Panes are aligned to the epoch, so halving their number gives the same panes in any order.
        while len(self._panes) > MAX_PANES:
            self._pane_ms *= 2
            halves, self._panes = self._panes, {}
            counts, self._pane_counts = self._pane_counts, {}
            for pane in sorted(halves):
                self._into_pane(pane // 2, halves[pane], counts[pane])

    def _into_pane(self, pane: int, change: Tally, counts: Counts) -> None:
        self._panes.setdefault(pane, Tally(self._dimensions)).add(change)
        self._pane_counts[pane] = self._pane_counts.get(pane, zero_counts()) + counts

    def _move_common(self, whole: Mapping[int, Tally]) -> None:
        """Take the windows into the stage that every partition has come to report since the last look.

        ``whole``: some of them, by their start.
        """
        if len(self._reported_ms) < self._partitions:
            return
        before, common = self._common_ms, min(self._reported_ms.values())
        if before is not None and common <= before:
            return
        self._common_ms = common
        for start in sorted(self._kept):
            known = before is not None and start + self._window_ms <= before
            if not known and self._in_stage(start) and self._is_common(start):
                self._into_stage(start, whole.get(start) or self._window(start))

    def _into_stage(self, start: int, change: Tally) -> None:
        self._stage.add(change)
        if self.stage_from_ms is None or start >= self.stage_from_ms + self._window_ms + OBEY_MS:
            self._obeyed += change.overall()[_LIVE[:2]]

    def _in_stage(self, start: int) -> bool:
        return self.stage_from_ms is None or start >= self.stage_from_ms

    def _is_common(self, start: int) -> bool:
        return self._common_ms is not None and start + self._window_ms <= self._common_ms

    def _window(self, start: int) -> Tally:
        """What all partitions reported of one kept window."""
        window = Tally(self._dimensions)
        for report in self._kept[start].values():
            window.add(Tally.from_report(report, BUCKET_COUNTS))
        return window

    def _note_silence(self, end_ms: int, counts: Counts) -> None:
        pairs = counts[INDEX["pairs"]]
        if pairs > 0 or counts[INDEX["missing_baseline"]] > 0:
            self.candidate_until_ms = max(end_ms, self.candidate_until_ms or 0)
        if pairs > 0 or counts[INDEX["missing_candidate"]] > 0:
            self.baseline_until_ms = max(end_ms, self.baseline_until_ms or 0)

    def _advance(self, report: WindowReport) -> bool:
        """Move event time on; True when it has passed the end of a window in one partition, or everywhere."""
        newest, before = self.at_ms, self.frontier_ms
        self._partitions = report.partitions
        self._watermarks[report.partition] = max(
            report.watermark_ms, self._watermarks.get(report.partition, report.watermark_ms)
        )
        self.at_ms = max(self._watermarks.values())
        # A partition that stands still must not keep the others' evidence from being judged.
        return self._passed(newest, self.at_ms) or self._passed(before, self.frontier_ms)

    def _passed(self, before: int | None, after: int | None) -> bool:
        """Whether the end of a window lies between two times."""
        if after is None:
            return False
        return before is None or after // self._window_ms > before // self._window_ms

    def _retire(self) -> None:
        """Windows that every partition has passed for long can no longer be replaced."""
        while len(self._kept) > self._retain:
            oldest = min(self._kept)
            frontier = self.frontier_ms
            passed = frontier is not None and oldest + self._window_ms + self._settle_ms <= frontier
            if not passed and len(self._kept) <= self._retain * LAG_FACTOR:
                return
            self._give_up(oldest)
            del self._kept[oldest]
            self._edge_ms = oldest + 1
            self._minutes.fold(self._edge_ms)
            row = self._live.pop(oldest)
            if row[2] or row[3]:
                self._settled_live.append(row)
        if len(self._settled_live) > MAX_LIVE_BATCHES:
            rows = self._settled_live
            self._settled_live = [sum(rows[i : i + 2], np.zeros(4, np.int64)) for i in range(0, len(rows), 2)]

    def _give_up(self, start: int) -> None:
        """A window is forgotten: if a partition has not come so far, the stage cannot have it any more."""
        if not self._in_stage(start) or self._is_common(start):
            return
        self._settle()
        if not self._is_common(start):
            self._stage.bump("lost", self._window(start).count("requests"))


def _version(report: WindowReport) -> tuple[int, int]:
    return report.generation, report.revision


def _foreign(histogram: str) -> bool:
    return histogram.partition(".")[0] not in BUCKET_COUNTS
