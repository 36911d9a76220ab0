"""Join the partitions this worker owns: fetch, decode, pair, publish windows, checkpoint.

Law: for each partition the order is outputs, then snapshot. A snapshot holds the open windows, the pending
requests and the positions of all sources in one unit, so after kill -9 the work since then is done again
from exactly there, and publishing a window twice is an upsert. Snapshots and windows carry a generation that
rises with every owner, so a late write of an earlier owner never wins; and what an owner reported after its last
snapshot is reported again by the next, also where nothing of it is left.

One task serves all owned partitions: every broker is asked at once. While what came is applied, what follows it is
asked for already, at the offsets that the batches' headers promise; it is used only where the join stands there by
then. No third request goes out before, which is the back-pressure. Reports and snapshots are written meanwhile, one
round of each at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Protocol

import cramjam

from paritygate.comparators.partition import PartitionJoin
from paritygate.schemas.codec import ConfluentIds, decode_outcome, decode_platform
from paritygate.schemas.codes import Codes
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.dead_letter import Poison
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.record_batches import end_offset
from paritygate.schemas.report import WindowReport
from paritygate.schemas.report_columns import encode_report
from paritygate.schemas.standing import Standing
from paritygate.schemas.topics import (
    BULK,
    OUTCOMES,
    PLATFORM,
    PREDICTIONS_PRIMARY,
    PREDICTIONS_SHADOW,
    WINDOWS,
)
from paritygate.streams.bury import Graves
from paritygate.streams.control import RolloutRegistry
from paritygate.streams.decode import decode_rows
from paritygate.streams.fetch import BatchFetcher, Fetched, Lost
from paritygate.streams.log_lines import described
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.outbox import Outbox, Outgoing
from paritygate.streams.pace import Absence, Progress, too_far_ahead
from paritygate.streams.positions import GroupPositions, Membership
from paritygate.streams.settings import WorkerSettings
from paritygate.streams.stages import Stages
from paritygate.streams.under_way import UnderWay

log = logging.getLogger(__name__)

#: How often the loop turns between two answers, so that the next ones come in; where a thread takes those in, only
#: so that what is written gets its answers.
BREATHS, FEW_BREATHS = 16, 3


class StuckError(ParityGateError):
    """A position has stood still for too long while its log holds more."""


class SnapshotStore(Protocol):
    """Where snapshots live: the Faust Table and its changelog."""

    async def claim(self, partition: int) -> int:
        """Begin to own a partition; returns the generation, above that of every owner before."""

    def newest(self, partition: int) -> tuple[int, bytes] | None:
        """Generation and bytes of the newest snapshot of a partition; ``None`` when it has none."""

    async def save(self, partition: int, generation: int, data: bytes) -> None:
        """Write a snapshot; returns when the broker has it."""


class Published(Protocol):
    """What lies in ``windows.v1``."""

    async def since(
        self, offset: int | None, partitions: Collection[int]
    ) -> tuple[list[tuple[int, str, int]], int]:
        """Windows of the partitions that were reported from an offset on, and the end of the log.

        Each as (partition, rollout id, window start); none where ``offset`` is ``None``.
        """


class JoinKeeper:
    """Keeps the joins of the owned partitions going until told to release them."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        registry: RolloutRegistry,
        outbox: Outbox,
        store: SnapshotStore,
        published: Published,
        metrics: WorkerMetrics,
        positions: GroupPositions,
        clock_ms: Callable[[], int],
        confluent_ids: ConfluentIds | None = None,
        tell_routers: Callable[[WindowReport], WindowReport] = lambda report: report,
    ) -> None:
        self._settings = settings
        self._tell_routers = tell_routers
        self._ids = confluent_ids
        self._registry = registry
        self._outbox = outbox
        self._store = store
        self._published = published
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._names = {t.name: settings.kafka.topic(t.name) for t in BULK}
        self._logical = {v: k for k, v in self._names.items()}
        self._joins: dict[int, PartitionJoin] = {}
        self._generations: dict[int, int] = {}
        self._last_data_ms: dict[int, int] = {}
        self._at_end: set[tuple[int, str]] = set()
        self._absence = Absence()
        self._progress = Progress()
        self._stages = Stages(time.perf_counter)
        self._group = positions
        self._graves = Graves(settings, outbox, metrics)
        self._checkpointed_ms = 0
        #: Under way while the join goes on: reports, and the snapshots that follow them.
        self._writing, self._saving = UnderWay(), UnderWay()
        self._fetcher: BatchFetcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._worker = settings.instance_id
        self.answered_at_ms = clock_ms()

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partitions owned now."""
        return tuple(sorted(self._joins))

    async def take(self, partitions: Iterable[int], membership: Membership) -> None:
        """Start to own ``partitions``: restore each from its newest snapshot, then read on from there."""
        await self.release()
        for partition in partitions:
            await self._restore(partition)
        if not self._joins:
            return
        if self._fetcher is None:
            fetcher = BatchFetcher(
                self._settings.kafka,
                list(self._names.values()),
                partitions=self._settings.partitions,
                wait_ms=self._settings.fetch_wait_ms,
                partition_bytes=self._settings.fetch_bytes,
            )
            await fetcher.start()
            self._fetcher = fetcher
        await self._fetcher.forget()  # what was asked for at the positions of the life before
        await self._registry.refresh()
        self._declare()
        await self._supersede()
        self._group.join(membership)
        self._worker = self._settings.instance_id or membership.member_id
        # Before the first report: the snapshot is what lifts the revisions above those of the owner before.
        self._stages.skip()
        await self._checkpoint()
        await self._saving.ended()
        self._stopping = False
        self.answered_at_ms = self._clock_ms()
        self._task = asyncio.create_task(self._run(self._fetcher), name="join")

    async def release(self, timeout_s: float = 3.0) -> None:
        """Publish what is closed, checkpoint, and stop owning. Safe to call when nothing is owned."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            try:
                await asyncio.wait_for(self._finish(task), timeout_s)
            except TimeoutError:
                # A broker that hangs must not hold up the group; the next owner does the work again.
                log.warning("the join did not stop within %g s; its last work will be repeated", timeout_s)
        self._writing.give_up()
        self._saving.give_up()
        await self._group.leave()
        self._progress = Progress()
        self._joins.clear()
        self._generations.clear()
        self._at_end.clear()
        self._metrics.released()

    async def _finish(self, task: asyncio.Task[None]) -> None:
        """Wait for the loop's last round, then checkpoint; a loop that is not waited for any more is ended."""
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.warning("the join had ended (%s); its last work will be repeated", described(error))
        elif not task.cancelled():
            await self._checkpoint()
            await self._saving.ended()

    async def close(self) -> None:
        """Release everything and close connections."""
        await self.release()
        await self._group.close()
        if self._fetcher is not None:
            await self._fetcher.stop()
            self._fetcher = None

    def failed(self) -> BaseException | None:
        """What ended the task, if something did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return None

    async def _restore(self, partition: int) -> None:
        self._absence.begin(partition, self._clock_ms())
        # Not the group's generation: a static member that comes back is given the same one again.
        generation = await self._store.claim(partition)
        newest = self._store.newest(partition)
        count = self._settings.partitions
        if newest is None:
            join = PartitionJoin(partition, count, lap=self._stages.lap)
        else:
            join = PartitionJoin.restore(
                bytes(cramjam.zstd.decompress(newest[1])),
                partition=partition,
                partitions=count,
                lap=self._stages.lap,
            )
        self._generations[partition] = generation
        self._joins[partition] = join
        self._metrics.restored(partition, join)
        self._last_data_ms[partition] = self._clock_ms()

    async def _supersede(self) -> None:
        """Report again what the owner before reported after its last snapshot, whatever comes of it now."""
        known = [join.published_next for join in self._joins.values() if join.published_next is not None]
        windows, end = await self._published.since(min(known, default=None), self._joins.keys())
        for partition, rollout, start_ms in windows:
            self._joins[partition].supersede(rollout, start_ms)
        for join in self._joins.values():
            join.published_next = end if join.published_next is None else join.published_next

    def _declare(self) -> None:
        live = self._registry.live()
        for join in self._joins.values():
            for plan in live.values():
                join.declare(plan.join_settings())
            for gone in set(join.rollouts) - live.keys():
                join.retire(gone)

    async def _run(self, fetcher: BatchFetcher) -> None:
        self._stages.skip()
        ahead: dict[tuple[str, int], int] = {}
        asked_ms = 0
        while not self._stopping:
            positions = {place: offset for place, offset in ahead.items() if self._stands(place) == offset}
            if not positions:
                asked_ms, positions = self._clock_ms(), self._positions()
            fetched, lost = await fetcher.fetch(positions)
            self._stages.lap("fetch")
            next_asked_ms = self._clock_ms()
            ahead = self._following(fetched)
            fetcher.ask_ahead(ahead)
            answered = {(a.topic, a.partition) for a in fetched if a.is_new} | {
                (a.topic, a.partition) for a in lost
            }
            self._absence.note(self._clock_ms(), positions.keys(), answered)
            self._progress.forget(self._progress.known() - answered)
            for topic, partition in positions.keys() - answered:
                # Its leader said nothing: what was known of its log end is old, and must not let time pass.
                self._joins[partition].caught_up(self._logical[topic], False)
                self._at_end.discard((partition, self._logical[topic]))
            for gap in lost:
                self._report_loss(gap)
            if fetched:
                self.answered_at_ms = self._clock_ms()
            await self._apply_all(fetcher, fetched)
            del fetched  # or it would lie in memory beside the two that come next
            self._check_progress()
            await self._settle(answered, asked_ms)
            asked_ms = next_asked_ms
            if self._clock_ms() - self._checkpointed_ms >= self._settings.checkpoint_ms:
                await self._checkpoint()
            await asyncio.sleep(0)

    async def _apply_all(self, fetcher: BatchFetcher, fetched: Iterable[Fetched]) -> None:
        for answer in fetched:
            began = time.perf_counter()
            await self._apply(answer)
            if answer.data:
                self._metrics.applied(time.perf_counter() - began)
                await self._breathe(FEW_BREATHS if fetcher.reads_beside else BREATHS)

    def _check_progress(self) -> None:
        """End where nothing moves although there is more to read: a supervisor's restart is exact.

        :raises StuckError: names the place.
        """
        stuck = self._progress.stuck(self._clock_ms(), self._settings.stuck_after_s * 1000)
        if stuck is not None:
            topic, partition, position, for_ms = stuck
            raise StuckError(
                f"{topic}-{partition} has stood at offset {position} for {for_ms / 1000:.0f} s although its log "
                "goes on"
            )

    def _positions(self) -> dict[tuple[str, int], int]:
        return {
            (cluster_name, partition): join.position(name)
            for partition, join in self._joins.items()
            for name, cluster_name in self._names.items()
            if join.wanted(name) and not self._must_wait(partition, name)
        }

    def _stands(self, place: tuple[str, int]) -> int:
        topic, partition = place
        return self._joins[partition].position(self._logical[topic])

    def _following(self, fetched: list[Fetched]) -> dict[tuple[str, int], int]:
        """What to ask for while ``fetched`` is applied; nothing where there is no data, or a source reads again."""
        if not any(answer.data for answer in fetched) or any(join.replaying for join in self._joins.values()):
            return {}
        ends = {(a.topic, a.partition): end_offset(a.data, a.start) for a in fetched if a.data}
        return {place: ends.get(place, offset) for place, offset in self._positions().items()}

    async def _breathe(self, turns: int) -> None:
        """Let the loop take in what the brokers send meanwhile: it reads some 100 KiB at a time."""
        for _ in range(turns):
            await asyncio.sleep(0)
        self._stages.lap("fetch")

    def _must_wait(self, partition: int, name: str) -> bool:
        """Whether to let the sibling topic catch up first.

        Never while a source reads again what was counted before a restart: its sibling waits for just that.
        """
        join = self._joins[partition]
        at_end = {topic for p, topic in self._at_end if p == partition}
        return not join.replaying and too_far_ahead(name, join.newest_ms, at_end)

    def _report_loss(self, gap: Lost) -> None:
        name = self._logical[gap.topic]
        join = self._joins[gap.partition]
        if join.committed(name) == 0:
            join.begin(name, gap.next)
            return
        counted = join.committed(name)
        count = join.lost(name, gap.next)
        if gap.first < counted:
            log.warning(
                "%s-%d: offsets %d to %d were deleted before they were read again; what waited there is lost, and "
                "repeats of it are not known any more",
                gap.topic, gap.partition, gap.first, min(counted, gap.next) - 1,
            )  # fmt: skip
        if count:
            log.error(
                "%s-%d: offsets %d to %d were deleted before they were read; %d records are lost to the join",
                gap.topic, gap.partition, gap.next - count, gap.next - 1, count,
            )  # fmt: skip
        self._metrics.lost(name, count)

    async def _apply(self, answer: Fetched) -> None:
        join = self._joins[answer.partition]
        name = self._logical[answer.topic]
        poison: list[Poison] = []
        if answer.data:
            self._last_data_ms[answer.partition] = self._clock_ms()
            # What was counted before a restart was buried before its snapshot, and is only read again.
            counted = join.committed(name)
            poison = [p for p in await self._ingest(join, name, answer) if p.offset >= counted]
        if poison:
            await self._graves.bury(name, answer.partition, poison, self._clock_ms())
            join.dead_letter(name, [p.offset for p in poison])
        position = join.position(name)
        at_end = answer.is_new and position >= answer.log_end
        join.caught_up(name, at_end and self._absence.is_over(answer.partition, self._clock_ms()))
        (self._at_end.add if at_end else self._at_end.discard)((answer.partition, name))
        self._metrics.lag(name, answer.partition, answer.log_end - position)
        self._progress.note((answer.topic, answer.partition), position, answer.log_end, self._clock_ms())
        self._stages.lap("other")

    async def _ingest(self, join: PartitionJoin, name: str, answer: Fetched) -> list[Poison]:
        if name == OUTCOMES.name:
            outcomes = decode_rows(
                answer.data, answer.start, partial(decode_outcome, confluent_ids=self._ids), lambda o: o.request_id
            )
            await self._make_known({r.rollout_id for _, _, r in outcomes.rows})
            join.ingest_outcomes(outcomes.rows, outcomes.next_offset)
            poison, read = outcomes.poison, len(outcomes.rows)
        elif name == PLATFORM.name:
            reports = decode_rows(answer.data, answer.start, partial(decode_platform, confluent_ids=self._ids))
            await self._make_known({r.rollout_id for _, _, r in reports.rows})
            join.ingest_platform(reports.rows, reports.next_offset)
            poison, read = reports.poison, len(reports.rows)
        else:
            # Skipping at once what is damaged: TCP's checksum makes damage on the way as rare as on the disk.
            decoded = decode_batches(
                name, answer.partition, answer.data, answer.start, confluent_ids=self._ids, skip_damaged=True
            )
            self._stages.lap("decode")
            await self._make_known(set(Codes.of(decoded.batch.rollout_id).values))
            self._stages.lap("other")
            join.ingest(decoded.batch, decoded.next_offset)
            poison, read = decoded.poison, len(decoded.batch)
        self._stages.lap("aggregate")
        self._metrics.read(name, read)
        return poison

    async def _make_known(self, rollout_ids: set[str]) -> None:
        """An id nobody named is only foreign once the command topic has been read to its end."""
        unknown = rollout_ids - self._registry.plans.keys()
        if unknown:
            await self._registry.settle(unknown)
            self._declare()

    async def _settle(self, answered: set[tuple[str, int]], asked_ms: int) -> None:
        """Let time pass and publish what it closed.

        Where all sources are idle the wall clock drives time, but only to the moment at which the request
        was sent: what was appended since then is not known to be absent.
        """
        joined = [self._names[t.name] for t in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW)]
        reports: list[WindowReport] = []
        self._declare()
        for partition, join in self._joins.items():
            idle_ms = asked_ms - self._last_data_ms[partition]
            known = all((topic, partition) in answered for topic in joined)
            idle = known and idle_ms > self._settings.idle_after_ms
            join.advance(asked_ms if idle else None)
            reports += join.take_reports(self._generations[partition])
            self._metrics.join_state(partition, join)
        self._stages.lap("aggregate")
        # What cannot wait goes first, also before the whole windows of other partitions. The rest goes window by
        # window: the decider looks once all partitions have reported one, and again when one reports twice.
        reports.sort(key=lambda r: (not r.is_early, r.window_start_ms, r.partition))
        await self._writing.ended()
        if reports:
            self._writing.begin(self._publish(reports))
        self._stages.lap("publish")
        self._metrics.stages(self._stages.took_s)

    async def _publish(self, reports: list[WindowReport]) -> None:
        topic = self._settings.kafka.topic(WINDOWS.name)
        try:
            offsets = await self._outbox.send(
                Outgoing(
                    topic=topic,
                    partition=0,
                    key=f"{r.rollout_id}|{r.partition}|{r.window_start_ms}".encode(),
                    value=encode_report(self._tell_routers(r)),
                )
                for r in reports
            )
        except BaseException:
            for r in reports:
                if r.partition in self._joins:
                    self._joins[r.partition].requeue([r])
            raise
        if offsets:
            for join in self._joins.values():
                join.published_next = max(offsets) + 1
        self._metrics.published(len(reports))

    async def _checkpoint(self) -> None:
        """Take snapshots once all reports before them are written; they are written while the join goes on.

        What is reported meanwhile may be out before them: an owner that finds older ones reports it again.
        """
        await self._writing.ended()
        await self._saving.ended()
        started_ms = self._clock_ms()
        snapshots = {p: bytes(cramjam.zstd.compress(join.snapshot())) for p, join in self._joins.items()}
        standings = {p: self._standing(p, join) for p, join in self._joins.items()}
        self._saving.begin(self._save(snapshots, standings, started_ms))
        self._checkpointed_ms = started_ms
        self._stages.lap("checkpoint")

    async def _save(self, snapshots: Mapping[int, bytes], standings: dict[int, Standing], started_ms: int) -> None:
        saves = (self._store.save(p, self._generations[p], data) for p, data in snapshots.items())
        await asyncio.gather(*saves)
        # After the snapshots, never before: what the group shows is what a restart keeps.
        self._group.commit(standings)
        self._metrics.checkpoint(sum(map(len, snapshots.values())), self._clock_ms() - started_ms)

    def _standing(self, partition: int, join: PartitionJoin) -> Standing:
        return Standing(
            worker=self._worker,
            generation=self._generations[partition],
            written_at_ms=self._clock_ms(),
            ranges=join.ranges(),
            bins=join.bins(),
            pending=join.pending,
            replay_left=join.replay_left,
            watermark_ms=join.watermark_ms,
            stages={name: round(took_s, 3) for name, took_s in self._stages.took_s.items()},
        )
