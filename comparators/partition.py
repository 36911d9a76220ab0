"""PartitionJoin: all rollouts of one topic partition, from batches of events to window reports.

Law: what was counted is a function of the offsets read. A snapshot holds counts and offsets as one record;
restoring it and reading again from :meth:`PartitionJoin.position` on gives what there would have been
without the restart. The caller drives it: ingest, advance, take reports, publish them, write the snapshot,
commit. It knows no Kafka, no clock and no thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from paritygate.comparators.joining import Lap, RolloutJoin, clamp
from paritygate.comparators.reports import Reports
from paritygate.comparators.settings import DEFAULT_MAX_FUTURE_MS, JoinSettings
from paritygate.comparators.snapshots import pack, unpack
from paritygate.comparators.sources import Replay, Source, frontier
from paritygate.schemas import topics
from paritygate.schemas.arrays import I64
from paritygate.schemas.codes import Codes
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.report import SourceRange, WindowReport

PRIMARY: Final = 0
SHADOW: Final = 1
OUTCOMES: Final = 2
PLATFORM: Final = 3
PREDICTIONS: Final = (PRIMARY, SHADOW)
#: Names of the sources, in the order of their numbers, and the topics they are by default.
SOURCES: Final[Mapping[str, str]] = {
    "primary": topics.PREDICTIONS_PRIMARY.name,
    "shadow": topics.PREDICTIONS_SHADOW.name,
    "outcomes": topics.OUTCOMES.name,
    "platform": topics.PLATFORM.name,
}


class PartitionJoin:
    """The join of one partition.

    ``sources`` maps ``primary``, ``shadow``, ``outcomes``, ``platform`` to topic names, default those of
    ``schemas.topics``. ``lap`` is told the name of each part of the work when it ends.

    :raises ConfigError: a source is named that there is not.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        *,
        sources: Mapping[str, str] | None = None,
        lap: Lap | None = None,
    ) -> None:
        self.partition, self.partitions = partition, partitions
        self._lap = lap
        unknown = set(sources or ()) - set(SOURCES)
        if unknown:
            raise ConfigError(f"unknown sources {sorted(unknown)}: the sources are {list(SOURCES)}")
        self._sources = [Source({**SOURCES, **(sources or {})}[name]) for name in SOURCES]
        self._rollouts: dict[str, RolloutJoin] = {}
        self._frontier_ms: int | None = None
        self._bins: Counter[str] = Counter()
        self._held: list[tuple[int, EventBatch | None, int]] = []
        self._reports = Reports(partition, partitions, self._rollouts)
        #: Where the caller's log of reports stood: all of this partition before it are in the snapshot.
        self.published_next: int | None = None

    # -- rollouts --------------------------------------------------------------------------------------------

    def declare(self, settings: JoinSettings) -> None:
        """A rollout becomes known: its events from the positions applied so far on are joined.

        Requests up to the newest event time read so far may have been read in part already: they are foreign
        in both arms, or those astride the declaration would look like answers that never came. The first
        declaration stands; another one of the same rollout only takes back :meth:`retire`.
        """
        known = self._rollouts.get(settings.rollout_id)
        if known is not None:
            known.retired = False
            return
        since = [source.applied for source in self._sources]
        rollout = self._rollouts[settings.rollout_id] = RolloutJoin(settings, since, self._bins, self._lap)
        rollout.from_ms = max((ms for ms in self.newest_ms.values() if ms is not None), default=None)
        if self._frontier_ms is not None:
            rollout.advance(self._frontier_ms)

    def retire(self, rollout_id: str) -> None:
        """A rollout has ended: no more heartbeats; it is forgotten once its windows are closed and reported."""
        rollout = self._rollouts.get(rollout_id)
        if rollout is not None:
            rollout.retired = True

    @property
    def rollouts(self) -> tuple[str, ...]:
        """Ids of the rollouts whose events are joined."""
        return tuple(self._rollouts)

    # -- positions -------------------------------------------------------------------------------------------

    def position(self, topic: str) -> int:
        """The next offset to fetch; after a restore, where reading again begins."""
        return self._source(topic)[1].position

    def committed(self, topic: str) -> int:
        """The next offset that is not in the counts yet: what to commit to the consumer group."""
        return self._source(topic)[1].applied

    def ranges(self) -> dict[str, tuple[int, int]]:
        """By topic: the first offset ever read, and the next one to count; :meth:`bins` cover what is between."""
        return {source.topic: (source.first, source.applied) for source in self._sources}

    @property
    def replay_left(self) -> int:
        """Offsets that are still to be read again after a restart; nothing is settled before."""
        replays = [s.replay for s in self._sources if s.replay is not None]
        return sum(max(0, replay.until - replay.cursor) for replay in replays)

    def begin(self, topic: str, offset: int) -> None:
        """The log of a topic that was never read begins at ``offset`` (retention took what was before)."""
        source = self._source(topic)[1]
        if source.applied == source.first and source.replay is None:
            source.first = source.applied = source.fetched = offset
            for rollout in self._rollouts.values():
                number = self._sources.index(source)
                rollout.since[number] = max(rollout.since[number], offset)

    def lost(self, topic: str, next_offset: int) -> int:
        """The log no longer has the offsets up to ``next_offset`` (OFFSET_OUT_OF_RANGE): go on there.

        Returns how many offsets that were never counted go to the bin ``lost``; nothing is skipped in
        silence. Events that waited and cannot be read again are added to it when the reading again ends.
        """
        number, source = self._source(topic)
        if source.replaying and source.replay is not None:
            source.replay.cursor = min(max(next_offset, source.replay.cursor), source.replay.until)
        count = max(0, next_offset - source.fetched)
        if count:
            source.fetched = next_offset
            self._held.append((number, None, next_offset))
            self._tell(number, "lost", count)
        self._settle_sources()
        return count

    @property
    def replaying(self) -> bool:
        """Whether prediction events that were counted before the restart are still being read again."""
        return any(self._sources[n].replaying for n in PREDICTIONS)

    def wanted(self, topic: str) -> bool:
        """Whether more of this topic can be used now: a source that has read again waits for the other one."""
        number, source = self._source(topic)
        return number not in PREDICTIONS or source.replaying or not self.replaying

    # -- arrival ---------------------------------------------------------------------------------------------

    def ingest(self, batch: EventBatch, next_offset: int) -> None:
        """Prediction events of one source, in offset order. ``next_offset``: after all that was fetched.

        Offsets that were ingested before are skipped, so a fetch may be delivered twice. A batch that comes
        while another source is still reading again is held until that ends.

        :raises ConfigError: the batch is of a topic that is no prediction source.
        """
        number, source = self._source(batch.topic)
        if number not in PREDICTIONS:
            raise ConfigError(f"{batch.topic!r} carries no prediction events: check the topic names")
        batch = _from(batch, source.position)
        if len(batch):
            source.at_end = False
            next_offset = max(next_offset, int(batch.offset[-1]) + 1)
        if source.replaying and source.replay is not None:
            until = source.replay.until
            self._replay(number, source.replay, batch)
            source.replay.cursor = max(source.replay.cursor, min(next_offset, until))
            batch = _from(batch, until)
        if next_offset > source.fetched:
            source.fetched = next_offset
            self._held.append((number, batch, next_offset))
        self._settle_sources()

    def ingest_outcomes(self, rows: Sequence[tuple[int, int, Outcome]], next_offset: int) -> None:
        """Outcomes as ``(offset, appended_at_ms, outcome)``, in offset order; offsets seen before are skipped."""
        source = self._sources[OUTCOMES]
        rows = [row for row in rows if row[0] >= source.position]
        if source.replay is not None:
            self._score([row for row in rows if row[0] < source.replay.until], replay=True)
            source.replay.cursor = max(source.replay.cursor, min(next_offset, source.replay.until))
            rows = [row for row in rows if row[0] >= source.replay.until]
            if source.replay.done:
                source.replay = None
        self._score(rows, replay=False)
        self._step(source, len(rows), next_offset)

    def ingest_platform(self, rows: Sequence[tuple[int, int, PlatformEvent]], next_offset: int) -> None:
        """Platform events as ``(offset, appended_at_ms, event)``; offsets seen before are skipped."""
        source = self._sources[PLATFORM]
        rows = [row for row in rows if row[0] >= source.position]
        for _, appended_at_ms, event in rows:
            rollout = self._rollouts.get(event.rollout_id)
            if rollout is None:
                self._bins["foreign"] += 1
            else:
                rollout.platform(appended_at_ms, event)
        self._step(source, len(rows), next_offset)

    def dead_letter(self, topic: str, offsets: Iterable[int]) -> int:
        """Records that nothing reads, by offset; returns how many of them were not counted before.

        Call it with rising offsets, before or after the ingest that steps over them; after a restore the same
        records may be named again and are not counted twice.
        """
        number, source = self._source(topic)
        fresh = [o for o in sorted(set(offsets)) if o >= source.poison_next]
        if fresh:
            source.poison_next = fresh[-1] + 1
            self._bins["poison"] += len(fresh)
            self._bins["gap"] -= len(fresh)
            self._tell(number, "poison", len(fresh))
        return len(fresh)

    def caught_up(self, topic: str, at_end: bool) -> None:
        """Whether a source has been read to the end of its log; then it does not hold time back.

        Say it after each fetch, after :meth:`ingest`; new events take it back.
        """
        self._source(topic)[1].at_end = at_end

    # -- time ------------------------------------------------------------------------------------------------

    def advance(self, now_ms: int | None = None) -> None:
        """Settle what waited too long and close windows, as far as the sources' event times allow.

        ``now_ms``: give it only when all prediction sources are idle at their log ends; it is ignored while
        one of them is not known to be there.
        """
        reached = frontier([self._sources[n] for n in PREDICTIONS], now_ms)
        known = [ms for ms in (reached, self._frontier_ms) if ms is not None]
        if self.replaying or not known:
            return
        self._frontier_ms = max(known)
        self._pass()

    def repeat(self, frontier_ms: int) -> None:
        """Like :meth:`advance`, to a time that a report of this partition recorded, whatever the sources say now.

        For counting recorded windows again; a worker never calls it.
        """
        self._frontier_ms = frontier_ms if self._frontier_ms is None else max(frontier_ms, self._frontier_ms)
        self._pass()

    def _pass(self) -> None:
        for rollout in self._rollouts.values():
            rollout.advance(self._frontier_ms or 0)
        for rollout_id in [i for i, r in self._rollouts.items() if r.finished]:
            del self._rollouts[rollout_id]

    @property
    def watermark_ms(self) -> int | None:
        """The slowest rollout's watermark (without rollouts: event time reached); None before there is one."""
        marks = [r.watermark_ms for r in self._rollouts.values() if r.watermark_ms is not None]
        return min(marks, default=self._frontier_ms)

    @property
    def pending(self) -> int:
        """Events that wait for their other arm."""
        if self.replaying:
            return sum(len(s.replay.pending) for s in self._sources if s.replay is not None)
        return sum(len(p) for r in self._rollouts.values() for p in r.pairing.pending)

    @property
    def forgotten(self) -> int:
        """Ids that were forgotten before ``dedupe_ms`` was over, in this process: ``max_seen`` is too small."""
        return sum(r.forgotten for r in self._rollouts.values())

    @property
    def newest_ms(self) -> dict[str, int | None]:
        """Newest event time per prediction topic: how far one side is ahead of the other."""
        return {self._sources[n].topic: self._sources[n].newest_ms for n in PREDICTIONS}

    def bins(self) -> dict[str, int]:
        """Where every record ended. The bins add up to the offsets applied since the first one read.

        ``paired``, ``shed``, ``missing_candidate``, ``missing_baseline``, ``evicted``, ``pending``,
        ``duplicate``, ``conflict``, ``late``, ``foreign``, ``outcome``, ``outcome_duplicate``, ``platform``,
        ``poison``, ``gap`` (offsets without a record: control records, compaction), ``lost``.
        """
        return {name: n for name, n in sorted({**self._bins, "pending": self.pending}.items()) if n}

    # -- reports ---------------------------------------------------------------------------------------------

    def take_reports(self, generation: int) -> list[WindowReport]:
        """Closed windows that are new or changed, whole, oldest first; and a sign of life where there are none.

        Then, early, the open windows with grave events that are new: those do not wait until a window closes.
        Publish them before the snapshot. If that fails, give them to :meth:`requeue`.
        """
        if self.replaying:
            return []
        ranges = tuple(
            SourceRange(topic=s.topic, partition=self.partition, first=s.first, next=s.applied)
            for s in self._sources
        )
        return self._reports.take(generation, ranges)

    def requeue(self, reports: Sequence[WindowReport]) -> None:
        """Reports that could not be published come again with the next :meth:`take_reports`."""
        self._reports.requeue(reports)

    def supersede(self, rollout_id: str, window_start_ms: int) -> None:
        """The life before reported this window after the snapshot: it is reported again when it is closed.

        Where time stood when a late or repeated event was read decides in which window it is counted, and that
        may come out another way now. Call it after :meth:`restore`, before the first :meth:`take_reports`.
        """
        rollout = self._rollouts.get(rollout_id)
        if rollout is not None:
            rollout.supersede(window_start_ms // rollout.settings.window_ms)

    # -- state -----------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The state as one record: counts, windows, and per source what was applied and what waits."""
        plain = {
            "partition": self.partition, "partitions": self.partitions, "frontier_ms": self._frontier_ms,
            "bins": dict(self._bins),
            "sources": {name: self._source_to_plain(n) for n, name in enumerate(SOURCES)},
            "rollouts": [rollout.to_plain() for rollout in self._rollouts.values()],
            "published_next": self.published_next, **self._reports.to_plain(),
        }  # fmt: skip
        return pack(plain)

    def _source_to_plain(self, number: int) -> dict[str, Any]:
        source = self._sources[number]
        if source.replay is not None and (self.replaying or number == OUTCOMES):
            return source.to_plain(source.replay.start, source.replay.pending)
        found: list[I64] = [p.offsets(number) for r in self._rollouts.values() for p in r.pairing.pending]
        pending = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
        starts = [r.pairing.requests.horizon.first_offset(number) for r in self._rollouts.values()]
        if number == OUTCOMES:
            starts = [r.scored.first_offset(number) for r in self._rollouts.values()]
        start = min([source.applied, *pending[:1].tolist(), *(s for s in starts if s is not None)])
        return source.to_plain(start, pending)

    @classmethod
    def restore(
        cls,
        data: bytes,
        *,
        partition: int | None = None,
        partitions: int | None = None,
        sources: Mapping[str, str] | None = None,
        lap: Lap | None = None,
    ) -> PartitionJoin:
        """The state of a snapshot. Then fetch from :meth:`position` on; declared rollouts are still known.

        Write a snapshot of it before publishing its first report: that is what makes its revisions higher
        than all that the life before it used after this snapshot.

        :raises DecodeError: the bytes are no snapshot of a version that is known.
        :raises ConfigError: it is of another partition, or the topics' partition count has changed.
        """
        plain = unpack(data)
        for name, given in (("partition", partition), ("partitions", partitions)):
            if given is not None and given != plain[name]:
                raise ConfigError(
                    f"the snapshot is of {name} {plain[name]}, not {given}: "
                    "topics must keep their partition count; use new topics or a new application id"
                )
        names = {name: source["topic"] for name, source in plain["sources"].items()}
        join = cls(plain["partition"], plain["partitions"], sources={**names, **(sources or {})}, lap=lap)
        join._reports.load(plain)
        join._frontier_ms = plain["frontier_ms"]
        join._bins.update(plain["bins"])
        join._sources = [
            Source.from_plain(plain["sources"][name], source.topic)
            for name, source in zip(SOURCES, join._sources, strict=True)
        ]
        join._sources[PLATFORM].replay = None
        for rollout in plain["rollouts"]:
            restored = RolloutJoin.from_plain(rollout, join._bins, lap)
            join._rollouts[restored.settings.rollout_id] = restored
        join.published_next = plain.get("published_next")
        join._settle_sources()
        return join

    # -- inside ----------------------------------------------------------------------------------------------

    def _source(self, topic: str) -> tuple[int, Source]:
        for number, source in enumerate(self._sources):
            if source.topic == topic:
                return number, source
        known = ", ".join(source.topic for source in self._sources)
        raise ConfigError(f"{topic!r} is no source of this join: the sources are {known}")

    def _tell(self, number: int, total: str, count: int) -> None:
        """Count what could not be read in every rollout: whose request it was cannot be known any more."""
        if number in PREDICTIONS:
            for rollout in self._rollouts.values():
                rollout.unread(total, count)

    def _step(self, source: Source, records: int, next_offset: int) -> None:
        if next_offset > source.applied:
            self._bins["gap"] += next_offset - source.applied - records
            source.applied = source.fetched = next_offset

    def _settle_sources(self) -> None:
        """Apply what is held, once no prediction source has to read again."""
        if self.replaying:
            return
        for number in PREDICTIONS:
            replay = self._sources[number].replay
            if replay is not None:
                # What waited and was not found again is gone. What was said of log ends is old by now.
                self._bins["lost"] += len(replay.pending) - replay.found
                self._sources[number].replay = None
                self._sources[number].at_end = False
        held, self._held = self._held, []
        for number, batch, next_offset in held:
            source = self._sources[number]
            skipped = next_offset - source.applied - (0 if batch is None else len(batch))
            self._bins["lost" if batch is None else "gap"] += skipped
            source.applied = next_offset
            if batch is not None:
                self._apply(number, source, batch)

    def _apply(self, number: int, source: Source, batch: EventBatch) -> None:
        for rollout_id, rows in _by_rollout(batch):
            rollout = self._rollouts.get(rollout_id)
            if rollout is not None:
                source.saw(rollout.arrive(batch, rows, number))
                continue
            self._bins["foreign"] += len(rows)
            times, _ = clamp(batch.event_at_ms[rows], batch.appended_at_ms[rows], DEFAULT_MAX_FUTURE_MS)
            source.saw(int(times.max()))

    def _replay(self, number: int, replay: Replay, batch: EventBatch) -> None:
        old = batch.take(np.flatnonzero(batch.offset < replay.until))
        for rollout_id, rows in _by_rollout(old):
            rollout = self._rollouts.get(rollout_id)
            if rollout is not None:
                rollout.replay(old, rows, number, replay.waited(old.offset[rows]))

    def _score(self, rows: Sequence[tuple[int, int, Outcome]], *, replay: bool) -> None:
        by_rollout: dict[str, list[tuple[int, int, Outcome]]] = {}
        for row in rows:
            by_rollout.setdefault(row[2].rollout_id, []).append(row)
        for rollout_id, mine in by_rollout.items():
            rollout = self._rollouts.get(rollout_id)
            if rollout is not None:
                rollout.outcomes(OUTCOMES, mine, replay=replay)
            elif not replay:
                self._bins["foreign"] += len(mine)


def _from(batch: EventBatch, offset: int) -> EventBatch:
    """The part of a batch from an offset on."""
    if not len(batch) or batch.offset[0] >= offset:
        return batch
    return batch.take(np.flatnonzero(batch.offset >= offset))


def _by_rollout(batch: EventBatch) -> list[tuple[str, I64]]:
    """Rows of each rollout."""
    if not len(batch):
        return []
    rollouts = Codes.of(batch.rollout_id)
    if len(rollouts.values) == 1:
        return [(rollouts.values[0], np.arange(len(batch)))]
    return [(name, np.flatnonzero(rollouts.index == code)) for code, name in enumerate(rollouts.values)]
