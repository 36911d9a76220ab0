"""RolloutJoin: one rollout in one partition, from arriving rows to windows.

Law: every row ends in exactly one bin, and every settled request is counted in exactly one window. The window
of a request is that of the baseline's event time; all other counts go to the window of their own event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from paritygate.comparators import instances, numbers
from paritygate.comparators.answers import OutputChecks
from paritygate.comparators.counting import Counting
from paritygate.comparators.measuring import measure_alone, measure_pairs
from paritygate.comparators.pairing import BASELINE, CANDIDATE, Pairing
from paritygate.comparators.platform_counts import count_platform, grave_events, platform_totals
from paritygate.comparators.rows import Rows
from paritygate.comparators.scoring import Scored, count_scores
from paritygate.comparators.segments import Vocabulary
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import INDEX
from paritygate.comparators.windows import Window, Windows, groups
from paritygate.schemas.arrays import B1, I8, I64
from paritygate.schemas.codes import Codes
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ROLES, STATUSES, Role, Status

#: A rollout without content is reported at most this often, in event time.
HEARTBEAT_MS: Final = 500
_PRIMARY: Final = ROLES.index(Role.PRIMARY)
_SHED: Final = STATUSES.index(Status.SHED)
#: Longest trace id of an example; a longer one is no id, and a report must stay small.
_MAX_TRACE_CHARS: Final = 128
#: Told the name of a part of the work when it ends.
Lap = Callable[[str], None]


def _no_lap(_stage: str) -> None:
    """Nobody measures."""


def clamp(event_at_ms: I64, appended_at_ms: I64, max_future_ms: int) -> tuple[I64, B1]:
    """Event times that no clock of the future can move, and which of them were held back.

    An event that lies further after its record than ``max_future_ms`` gets the record's time. A record
    without a time (negative, as Kafka writes it) holds nothing back.
    """
    future = (appended_at_ms >= 0) & (event_at_ms > appended_at_ms + max_future_ms)
    clamped: I64 = np.where(future, appended_at_ms, event_at_ms)
    return clamped, future


class RolloutJoin:
    """State of one rollout. ``since``: per source, the offset from which on its events are known.

    ``bins`` counts where rows ended; it is shared by the rollouts of the partition. ``lap`` is told when a part
    of the work ends (``probe``, ``aggregate``), for whoever has a clock.
    """

    def __init__(
        self, settings: JoinSettings, since: Sequence[int], bins: Counter[str], lap: Lap | None = None
    ) -> None:
        self.settings = settings
        self.since = list(since)
        #: Requests up to this event time may have come in part before the rollout was declared: not counted.
        self.from_ms: int | None = None
        self._unread: Counter[str] = Counter()
        self.retired = False
        self._numbers = numbers.names(settings.numbers)
        self.pairing = Pairing(settings.dedupe_ms, settings.max_seen, len(self._numbers))
        self.windows = Windows(settings.window_ms, settings.retain_ms)
        self.watermark_ms: int | None = None
        self._bins = bins
        self._lap = lap or _no_lap
        self._vocabulary = Vocabulary(settings.dimensions, settings.max_values_per_dimension, settings.max_cells)
        self._counting = Counting(settings, self.windows, self._vocabulary)
        self._checks = OutputChecks(settings.output_rules, settings.diff_rules)
        self.scored = Scored(settings.dedupe_ms, settings.max_seen)
        self._reported_through: int | None = None
        self._forgotten: Counter[str] = Counter()
        #: By open window, the grave events that were told of it early.
        self._told: dict[int, int] = {}

    @property
    def vocabulary(self) -> Vocabulary:
        """Segment values and cells admitted so far."""
        return self._vocabulary

    @property
    def horizon_ms(self) -> int | None:
        """Requests before this event time are settled for good."""
        return None if self.watermark_ms is None else self.watermark_ms - self.settings.grace_ms

    @property
    def forgotten(self) -> int:
        """Ids of settled requests and outcomes that were forgotten for want of room, in this process."""
        return self.pairing.requests.forgotten + self.scored.seen.forgotten

    @property
    def finished(self) -> bool:
        """Retired, nothing waits, and all that was counted has been reported."""
        waiting = len(self.pairing.pending[BASELINE]) + len(self.pairing.pending[CANDIDATE])
        return self.retired and not waiting and not self.windows.by_index

    # -- arrival ---------------------------------------------------------------------------------------------

    def arrive(self, batch: EventBatch, rows: I64, source: int) -> int:
        """Take in new rows of a batch; returns their newest event time."""
        times, future = self._clamp(batch.event_at_ms[rows], batch.appended_at_ms[rows])
        newest = int(times.max())
        ours = self._ours(times)
        if not ours.all():
            self._bins["foreign"] += int(len(ours) - ours.sum())
            rows, times, future = rows[ours], times[ours], future[ours]
            if not len(rows):
                return newest
        self.pairing.requests.horizon.note(source, times, batch.offset[rows])
        self.windows.bump("future", times[future])
        for arm, part in self._arms(batch, rows, source, times):
            self._arrive(arm, part, batch)
        return newest

    def replay(self, batch: EventBatch, rows: I64, source: int, was_pending: B1) -> None:
        """Take in rows that were counted before a restart."""
        known = batch.offset[rows] >= self.since[source]
        rows, was_pending = rows[known], was_pending[known]
        times, _ = self._clamp(batch.event_at_ms[rows], batch.appended_at_ms[rows])
        ours = self._ours(times)
        rows, times, was_pending = rows[ours], times[ours], was_pending[ours]
        self.pairing.requests.horizon.note(source, times, batch.offset[rows])
        arms = batch.arm[rows]
        for arm in (BASELINE, CANDIDATE):
            mine = arms == arm
            part = self._rows(batch, rows[mine], source, times[mine], was_pending[mine])
            self.pairing.replay(arm, part, was_pending[mine])

    def _ours(self, times: I64) -> B1:
        """Which event times are of requests that came whole after the rollout was declared."""
        ours: B1 = np.ones(len(times), np.bool_) if self.from_ms is None else times > self.from_ms
        return ours

    def _clamp(self, event_at_ms: I64, appended_at_ms: I64) -> tuple[I64, B1]:
        return clamp(event_at_ms, appended_at_ms, self.settings.max_future_ms)

    def _arms(self, batch: EventBatch, rows: I64, source: int, times: I64) -> Iterator[tuple[int, Rows]]:
        arms = batch.arm[rows]
        for arm in (BASELINE, CANDIDATE):
            mine = arms == arm
            if mine.any():
                yield arm, self._rows(batch, rows[mine], source, times[mine], None)

    def _rows(self, batch: EventBatch, rows: I64, source: int, times: I64, admit: B1 | None) -> Rows:
        """Columns of some rows; ``admit`` limits which of them may bring new segment values."""
        cells = np.zeros(len(rows), np.int32)
        if admit is None:
            cells = self._vocabulary.cells(batch, rows)
        else:
            cells[admit] = self._vocabulary.cells(batch, rows[admit])
        return Rows.of(
            batch, rows, source, event_at_ms=times, cell=cells, instance=self._instances(batch, rows),
            names=self._numbers,
        )  # fmt: skip

    def _instances(self, batch: EventBatch, rows: I64) -> I8:
        """The place of each row's instance; 0 where nobody asks."""
        if not self.settings.instances:
            return np.zeros(len(rows), np.int8)
        return instances.places(Codes.of(batch.instance_id.take(rows)))

    def _arrive(self, arm: int, rows: Rows, batch: EventBatch) -> None:
        got = self.pairing.arrive(arm, rows, self.horizon_ms)
        self._lap("probe")
        if arm == CANDIDATE:
            users = (got.first.role == _PRIMARY) & (got.first.status != _SHED)
            self.windows.bump("exposed", got.first.event_at_ms[users])
        if len(got.baseline):
            measured = measure_pairs(got.baseline, got.candidate, self._checks, self.settings.latency_ratio)
            shed = int(measured.flags[INDEX["shed"]].sum())
            self._bins["shed"] += 2 * shed
            self._bins["paired"] += 2 * (len(got.baseline) - shed)
            arrived = got.baseline if arm == BASELINE else got.candidate
            self._counting.add(measured, lambda i: _trace(batch, arrived.offset[i]))
        if len(got.late):
            self.windows.late(int(got.late.event_at_ms.min())).bump("late", len(got.late))
            self._bins["late"] += len(got.late)
        if len(got.repeats):
            for name, mask in (("conflict", got.conflicting), ("duplicate", ~got.conflicting)):
                self.windows.bump(name, got.repeats.event_at_ms[mask])
                self._bins[name] += int(mask.sum())
        if len(self.pairing.pending[arm]) > self.settings.max_pending:
            evicted = self.pairing.evict(arm, self.settings.max_pending)
            self.windows.bump("evicted", evicted.event_at_ms)
            self._bins["evicted"] += len(evicted)
            self._counting.add(measure_alone(arm, evicted, self._checks))
        self._note_forgotten("forgotten", self.pairing.requests.forgotten, rows.event_at_ms)
        self._lap("aggregate")

    def unread(self, total: str, count: int) -> None:
        """Events that may have been of this rollout could not be read: they count against completeness.

        They have no time of their own; the window in which they are counted is open when time next moves.
        """
        self._unread[total] += count

    def _note_forgotten(self, total: str, forgotten: int, event_at_ms: I64) -> None:
        """Ids that had to be forgotten before ``dedupe_ms`` was over are told in the windows, and by a metric."""
        count = forgotten - self._forgotten[total]
        if count:
            self._forgotten[total] += count
            self.windows.late(int(event_at_ms.min())).bump(total, count)

    # -- outcomes and platform ---------------------------------------------------------------------------------

    def outcomes(self, source: int, rows: Sequence[tuple[int, int, Outcome]], *, replay: bool) -> None:
        """Count outcomes, or only remember them where they were counted before a restart.

        ``rows``: (offset, appended_at_ms, outcome), in offset order.
        """
        if replay:
            rows = [row for row in rows if row[0] >= self.since[source]]
        if not rows:
            return
        offsets, appended = (np.array([row[k] for row in rows], np.int64) for k in (0, 1))
        times, future = self._clamp(np.array([row[2].event_at_ms for row in rows], np.int64), appended)
        fresh = self.scored.first([row[2] for row in rows], times, source, offsets)
        if replay:
            return
        self._note_forgotten("outcome_forgotten", self.scored.seen.forgotten, times)
        self.windows.bump("future", times[future])
        self.windows.bump("outcome_duplicate", times[~fresh])
        self._bins["outcome_duplicate"] += int((~fresh).sum())
        self._bins["outcome"] += int(fresh.sum())
        for index, places in groups(self.windows.place(times)):
            count_scores(self.windows.at(index), [rows[i][2] for i in places.tolist() if fresh[i]])

    def platform(self, appended_at_ms: int, event: PlatformEvent) -> None:
        """Count what an instance's platform reported."""
        times, future = self._clamp(np.array([event.event_at_ms], np.int64), np.array([appended_at_ms], np.int64))
        window = self.windows.at(int(self.windows.place(times)[0]))
        window.bump("future", int(future[0]))
        count_platform(window, event)
        self._bins["platform"] += 1

    # -- time ------------------------------------------------------------------------------------------------

    def advance(self, frontier_ms: int) -> None:
        """Event time has come to ``frontier_ms``: settle what waited too long, close windows, forget."""
        watermark = frontier_ms - self.settings.lateness_ms
        if self.watermark_ms is not None and watermark <= self.watermark_ms:
            watermark = self.watermark_ms
        self.watermark_ms = watermark
        horizon = watermark - self.settings.grace_ms
        for arm, name in ((BASELINE, "missing_candidate"), (CANDIDATE, "missing_baseline")):
            alone = self.pairing.expire(arm, horizon)
            if len(alone):
                shed = int((alone.status == _SHED).sum())
                self._bins["shed"] += shed
                self._bins[name] += len(alone) - shed
                self._counting.add(measure_alone(arm, alone, self._checks))
        waiting = [ms for pending in self.pairing.pending if (ms := pending.oldest_ms()) is not None]
        self.windows.move(horizon, min([watermark, *waiting]))
        for total, count in self._unread.items():
            self.windows.late(watermark).bump(total, count)
        self._unread.clear()
        self.pairing.requests.move(horizon)

    def reportable(self) -> Iterator[tuple[int, Window]]:
        """Closed windows to report, oldest first; then an empty one where nothing else shows time pass."""
        for index, window in self.windows.changed_and_closed():
            window.changed = False
            through = self._reported_through
            self._reported_through = index if through is None else max(index, through)
            yield index, window
        newest = None if self.windows.settled is None else self.windows.settled - 1
        if newest is None or self.retired:
            return
        quiet_windows = -(-HEARTBEAT_MS // self.settings.window_ms)
        if self._reported_through is None or newest >= self._reported_through + quiet_windows:
            self._reported_through = newest
            yield newest, Window(changed=False)

    def grave(self) -> Iterator[tuple[int, Window]]:
        """Open windows with grave events of the candidate that nobody was told of: what its platform said, alone.

        Of requests nothing is told: in an open window fast answers are counted and slow ones are not yet.
        """
        open_from = self.windows.settled
        if self.watermark_ms is None or open_from is None:
            return
        counts = {i: grave_events(w.totals) for i, w in self.windows.by_index.items()}
        told, self._told = self._told, {i: n for i, n in counts.items() if n and i >= open_from}
        for index, count in sorted(self._told.items()):
            if count > told.get(index, 0):
                yield index, Window(totals=platform_totals(self.windows.by_index[index].totals))

    def supersede(self, index: int) -> None:
        """A window that was reported after the snapshot is to be reported again, empty if nothing is in it."""
        if self.windows.oldest_kept is None or index >= self.windows.oldest_kept:
            self.windows.at(index)

    # -- state -----------------------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """All but the waiting rows and the seen ids, which are read again from the sources."""
        return {
            "settings": self.settings.to_plain(), "since": self.since, "from_ms": self.from_ms,
            "unread": dict(self._unread),
            "retired": self.retired,
            "watermark_ms": self.watermark_ms, "reported_through": self._reported_through,
            "scored_ms": self.scored.newest_ms,
            "seen_from": [self.pairing.requests.horizon.oldest, self.scored.seen.horizon.oldest],
            "vocabulary": self._vocabulary.to_plain(),
            "windows": [[i, w.to_plain()] for i, w in sorted(self.windows.by_index.items())],
            "settled": self.windows.settled, "oldest_open": self.windows.oldest_open,
            "oldest_kept": self.windows.oldest_kept,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], bins: Counter[str], lap: Lap | None = None) -> RolloutJoin:
        """Read :meth:`to_plain` back."""
        join = cls(JoinSettings.from_plain(plain["settings"]), plain["since"], bins, lap)
        join.from_ms, join.retired = plain["from_ms"], plain["retired"]
        join._unread.update(plain["unread"])
        join.scored = Scored(join.settings.dedupe_ms, join.settings.max_seen, plain["scored_ms"])
        join._reported_through = plain["reported_through"]
        join._vocabulary.load(plain["vocabulary"])
        join.windows.by_index = {i: Window.from_plain(w) for i, w in plain["windows"]}
        join.windows.settled, join.windows.oldest_open = plain["settled"], plain["oldest_open"]
        join.windows.oldest_kept = plain["oldest_kept"]
        join.watermark_ms = plain["watermark_ms"]
        if join.horizon_ms is not None:
            # Not advance(): what waits is read again only later, and its windows must not close before.
            join.pairing.requests.move(join.horizon_ms)
        horizons = join.pairing.requests.horizon, join.scored.seen.horizon
        for horizon, oldest_slice in zip(horizons, plain.get("seen_from", (None, None)), strict=True):
            if oldest_slice is not None:
                horizon.forget_before(oldest_slice)
        return join


def _trace(batch: EventBatch, offset: np.int64) -> str:
    """The trace that the event at this offset of a batch names."""
    found = batch.trace_of(int(np.searchsorted(batch.offset, offset)))
    return found if len(found) <= _MAX_TRACE_CHARS else ""
