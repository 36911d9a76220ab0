"""Join the partitions this worker owns: fetch, decode, pair, publish windows, checkpoint.

Law: for each partition the order is outputs, then snapshot. A snapshot holds the open windows, the pending
requests and the positions of all sources in one record, so after kill -9 the work since then is done again
from exactly there, and publishing a window twice is an upsert. Snapshots and windows carry a generation that
rises with every owner, so a late write of an earlier owner never wins.

One task serves all owned partitions: a request is fetched from every broker at once, and what came is
applied before the next request goes out, which is the back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import cramjam

from paritygate.comparators.partition import PartitionJoin
from paritygate.schemas.codec import decode_outcome, decode_platform, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.dead_letter import Poison, dead_letter
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import BULK, BY_NAME, OUTCOMES, PLATFORM, WINDOWS
from paritygate.streams.control import RolloutRegistry
from paritygate.streams.decode import decode_rows
from paritygate.streams.fetch import BatchFetcher, Fetched, Lost
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.outbox import Outbox, Outgoing
from paritygate.streams.settings import WorkerSettings

log = logging.getLogger(__name__)

#: A catching-up source may run this much event time ahead of its sibling before it is paused.
MAX_SKEW_MS = 10_000


class SnapshotStore(Protocol):
    """Where snapshots live: the Faust Table and its changelog."""

    def newest(self, partition: int) -> tuple[int, bytes] | None:
        """Generation and bytes of the newest snapshot of a partition; ``None`` when it has none."""

    async def save(self, partition: int, generation: int, data: bytes) -> None:
        """Write a snapshot; returns when the broker has it."""


class JoinKeeper:
    """Keeps the joins of the owned partitions going until told to release them."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        registry: RolloutRegistry,
        outbox: Outbox,
        store: SnapshotStore,
        metrics: WorkerMetrics,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._outbox = outbox
        self._store = store
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._names = {t.name: settings.kafka.topic(t.name) for t in BULK}
        self._logical = {v: k for k, v in self._names.items()}
        self._joins: dict[int, PartitionJoin] = {}
        self._generations: dict[int, int] = {}
        self._last_data_ms: dict[int, int] = {}
        self._at_end: set[tuple[int, str]] = set()
        self._checkpointed_ms = 0
        self._fetcher: BatchFetcher | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.answered_at_ms = clock_ms()

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partitions owned now."""
        return tuple(sorted(self._joins))

    async def take(self, partitions: Iterable[int], group_generation: int) -> None:
        """Start to own ``partitions``: restore each from its newest snapshot, then read on from there."""
        await self.release()
        for partition in partitions:
            self._restore(partition, group_generation)
        if not self._joins:
            return
        if self._fetcher is None:
            fetcher = BatchFetcher(
                self._settings.kafka,
                list(self._names.values()),
                wait_ms=self._settings.fetch_wait_ms,
                partition_bytes=self._settings.fetch_bytes,
            )
            await fetcher.start()
            self._fetcher = fetcher
        await self._registry.refresh()
        self._declare()
        # Before the first report: the snapshot is what lifts the revisions above those of the owner before.
        await self._checkpoint()
        self._stopping = False
        self.answered_at_ms = self._clock_ms()
        self._task = asyncio.create_task(self._run(self._fetcher), name="join")

    async def release(self, timeout_s: float = 4.0) -> None:
        """Publish what is closed, checkpoint, and stop owning. Safe to call when nothing is owned."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            done, _ = await asyncio.wait([task], timeout=timeout_s)
            if not done:
                # A fetch that hangs must not hold up the group; the next owner does the work again.
                task.cancel()
                log.warning("the join did not stop within %g s; its last work will be repeated", timeout_s)
            elif task.exception() is None:
                await self._checkpoint()
        self._joins.clear()
        self._generations.clear()
        self._at_end.clear()

    async def close(self) -> None:
        """Release everything and close connections."""
        await self.release()
        if self._fetcher is not None:
            await self._fetcher.stop()
            self._fetcher = None

    def failed(self) -> BaseException | None:
        """What ended the task, if something did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return None

    def _restore(self, partition: int, group_generation: int) -> None:
        newest = self._store.newest(partition)
        count = self._settings.partitions
        if newest is None:
            join, before = PartitionJoin(partition, count), 0
        else:
            before, data = newest
            join = PartitionJoin.restore(
                bytes(cramjam.zstd.decompress(data)), partition=partition, partitions=count
            )
        # Kafka forgets a group's generation with its last member and offset; a snapshot remembers.
        self._generations[partition] = max(before + 1, group_generation)
        self._joins[partition] = join
        self._last_data_ms[partition] = self._clock_ms()

    def _declare(self) -> None:
        live = self._registry.live()
        for join in self._joins.values():
            for plan in live.values():
                join.declare(plan.join_settings())
            for gone in set(join.rollouts) - live.keys():
                join.retire(gone)

    async def _run(self, fetcher: BatchFetcher) -> None:
        while not self._stopping:
            asked_ms = self._clock_ms()
            fetched, lost = await fetcher.fetch(self._positions())
            for gap in lost:
                self._report_loss(gap)
            if fetched:
                self.answered_at_ms = self._clock_ms()
            for answer in fetched:
                began = time.perf_counter()
                await self._apply(answer)
                if answer.data:
                    self._metrics.applied(time.perf_counter() - began)
            await self._settle(fetched, asked_ms)
            if self._clock_ms() - self._checkpointed_ms >= self._settings.checkpoint_ms:
                await self._checkpoint()
            await asyncio.sleep(0)

    def _positions(self) -> dict[tuple[str, int], int]:
        return {
            (cluster_name, partition): join.position(name)
            for partition, join in self._joins.items()
            for name, cluster_name in self._names.items()
            if join.wanted(name) and not self._too_far_ahead(partition, name)
        }

    def _too_far_ahead(self, partition: int, name: str) -> bool:
        """Whether to let the sibling topic catch up first. A sibling at its log end has nothing to catch up."""
        newest = self._joins[partition].newest_ms
        mine = newest.get(name)
        return mine is not None and any(
            other is not None and mine - other > MAX_SKEW_MS and (partition, topic) not in self._at_end
            for topic, other in newest.items()
            if topic != name
        )

    def _report_loss(self, gap: Lost) -> None:
        name = self._logical[gap.topic]
        join = self._joins[gap.partition]
        if join.committed(name) == 0:
            join.begin(name, gap.next)
            return
        count = join.lost(name, gap.next)
        log.error(
            "%s-%d: offsets %d to %d were deleted before they were read; %d records are lost to the join",
            gap.topic, gap.partition, gap.first, gap.next - 1, count,
        )  # fmt: skip
        self._metrics.lost(name, count)

    async def _apply(self, answer: Fetched) -> None:
        join = self._joins[answer.partition]
        name = self._logical[answer.topic]
        poison: list[Poison] = []
        if answer.data:
            self._last_data_ms[answer.partition] = self._clock_ms()
            poison = await self._ingest(join, name, answer)
        if poison:
            await self._bury(answer, name, poison)
        position = join.position(name)
        at_end = position >= answer.log_end
        join.caught_up(name, at_end)
        (self._at_end.add if at_end else self._at_end.discard)((answer.partition, name))
        self._metrics.lag(name, answer.partition, answer.log_end - position)

    async def _ingest(self, join: PartitionJoin, name: str, answer: Fetched) -> list[Poison]:
        if name == OUTCOMES.name:
            outcomes = decode_rows(answer.data, answer.start, decode_outcome)
            await self._make_known({r.rollout_id for _, _, r in outcomes.rows})
            join.ingest_outcomes(outcomes.rows, outcomes.next_offset)
            poison, read = outcomes.poison, len(outcomes.rows)
        elif name == PLATFORM.name:
            reports = decode_rows(answer.data, answer.start, decode_platform)
            await self._make_known({r.rollout_id for _, _, r in reports.rows})
            join.ingest_platform(reports.rows, reports.next_offset)
            poison, read = reports.poison, len(reports.rows)
        else:
            # Skipping at once what is damaged: TCP's checksum makes damage on the way as rare as on the disk.
            decoded = decode_batches(name, answer.partition, answer.data, answer.start, skip_damaged=True)
            await self._make_known(set(decoded.batch.rollout_id.values))
            join.ingest(decoded.batch, decoded.next_offset)
            poison, read = decoded.poison, len(decoded.batch)
        self._metrics.read(name, read)
        return poison

    async def _make_known(self, rollout_ids: set[str]) -> None:
        """An id nobody named is only foreign once the command topic has been read to its end."""
        if rollout_ids - self._registry.plans.keys():
            await self._registry.refresh()
            self._declare()

    async def _bury(self, answer: Fetched, name: str, poison: list[Poison]) -> None:
        join = self._joins[answer.partition]
        letters = [dead_letter(BY_NAME[name], answer.partition, self._settings.app_id, p) for p in poison]
        await self._outbox.send(
            Outgoing(
                topic=self._settings.kafka.topic(letter.topic),
                partition=0,
                key=letter.key,
                value=letter.value,
                headers=letter.headers,
            )
            for letter in letters
        )
        join.dead_letter(name, [p.offset for p in poison])
        for p in poison:
            self._metrics.dead_letter(name, p.kind)
        log.warning(
            "%s-%d offset %d: %s (%d records of this fetch went to %s)",
            answer.topic, answer.partition, poison[0].offset, poison[0].reason, len(poison), letters[0].topic,
        )  # fmt: skip

    async def _settle(self, fetched: list[Fetched], asked_ms: int) -> None:
        """Let time pass and publish what it closed.

        Where all sources are idle the wall clock drives time, but only to the moment at which the request
        was sent: what was appended since then is not known to be absent.
        """
        answered = {f.partition for f in fetched}
        reports: list[WindowReport] = []
        self._declare()
        for partition, join in self._joins.items():
            idle_ms = asked_ms - self._last_data_ms[partition]
            idle = partition in answered and idle_ms > self._settings.idle_after_ms
            join.advance(asked_ms if idle else None)
            reports += join.take_reports(self._generations[partition])
            self._metrics.join_state(partition, join)
        await self._publish(reports)

    async def _publish(self, reports: list[WindowReport]) -> None:
        topic = self._settings.kafka.topic(WINDOWS.name)
        try:
            await self._outbox.send(
                Outgoing(
                    topic=topic,
                    partition=0,
                    key=f"{r.rollout_id}|{r.partition}|{r.window_start_ms}".encode(),
                    value=encode(r),
                )
                for r in reports
            )
        except BaseException:
            for r in reports:
                if r.partition in self._joins:
                    self._joins[r.partition].requeue([r])
            raise
        self._metrics.published(len(reports))

    async def _checkpoint(self) -> None:
        started_ms = self._clock_ms()
        saves: list[Any] = []
        size = 0
        for partition, join in self._joins.items():
            data = bytes(cramjam.zstd.compress(join.snapshot()))
            size += len(data)
            saves.append(self._store.save(partition, self._generations[partition], data))
        await asyncio.gather(*saves)
        self._checkpointed_ms = started_ms
        self._metrics.checkpoint(size, self._clock_ms() - started_ms)
