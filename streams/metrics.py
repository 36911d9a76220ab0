"""Export what the worker does: the one place in this room that names Prometheus series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paritygate.schemas.metrics import Counter, Gauge, Histogram, Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from paritygate.comparators.partition import PartitionJoin
    from paritygate.rollouts.fold import Fold
    from paritygate.schemas.decision import GateDecision

#: Bins of the join's accounting and the counters that export them.
_BINS = {
    "paired": Counter.PAIRED_EVENTS,
    "shed": Counter.SHED,
    "duplicate": Counter.DUPLICATES,
    "conflict": Counter.CONFLICTS,
    "late": Counter.LATE,
    "foreign": Counter.FOREIGN,
    "missing_candidate": Counter.MISSING_CANDIDATE,
    "missing_baseline": Counter.MISSING_BASELINE,
    "evicted": Counter.EVICTED,
}


class WorkerMetrics:
    """Counters, gauges and histograms of one worker process."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._metrics.begin("streams")
        self._bins: dict[tuple[int, str], int] = {}
        self._forgotten: dict[int, int] = {}
        self._lags: set[tuple[str, int]] = set()
        self._marked: set[int] = set()
        self._next: dict[tuple[int, str], int] = {}
        self._took_s: dict[str, float] = {}

    @property
    def registry(self) -> CollectorRegistry:
        """What the HTTP exposition serves."""
        return self._metrics.registry

    def read(self, topic: str, records: int) -> None:
        """Records of a topic were decoded."""
        if records:
            self._metrics.inc(Counter.CONSUMED, records, topic=topic)

    def dead_letter(self, topic: str, kind: str) -> None:
        """One record went to the dead letter topic."""
        self._metrics.inc(Counter.DEAD_LETTERS, topic=topic, kind=kind)

    def lost(self, topic: str, count: int) -> None:
        """The broker deleted records before they were read."""
        self._metrics.inc(Counter.LOST, count, topic=topic)

    def lag(self, topic: str, partition: int, events: int) -> None:
        """How far a position is behind the end of the log."""
        self._metrics.set(Gauge.LAG, max(0, events), topic=topic, partition=str(partition))
        self._lags.add((topic, partition))

    def owned(self, partitions: tuple[int, ...]) -> None:
        """A new assignment; empty when everything was revoked."""
        if partitions:
            self._metrics.inc(Counter.REBALANCES)
        self._metrics.set(Gauge.OWNED, len(partitions))

    def restored(self, partition: int, join: PartitionJoin) -> None:
        """A partition was taken over: what its snapshot holds was counted by the process before."""
        for name, value in join.bins().items():
            self._bins[partition, name] = value
        for topic, (_, after) in join.ranges().items():
            self._next[partition, topic] = after

    def released(self) -> None:
        """Nothing is owned any more: its gauges are the next owner's to show."""
        for topic, partition in self._lags:
            self._metrics.remove(Gauge.LAG, topic=topic, partition=str(partition))
        for partition in self._marked:
            self._metrics.remove(Gauge.PENDING, partition=str(partition))
            self._metrics.remove(Gauge.WATERMARK, partition=str(partition))
            self._metrics.remove(Gauge.REPLAY, partition=str(partition))
            self._metrics.remove(Gauge.UNACCOUNTED, partition=str(partition))
        self._lags.clear()
        self._marked.clear()
        self._bins.clear()
        self._forgotten.clear()
        self._next.clear()

    def applied(self, took_s: float) -> None:
        """One fetched batch was decoded, joined and counted."""
        self._metrics.observe(Histogram.BATCH, took_s)

    def join_state(self, partition: int, join: PartitionJoin) -> None:
        """Pending requests, watermark and the growth of each bin since last time."""
        self._metrics.set(Gauge.PENDING, join.pending, partition=str(partition))
        self._marked.add(partition)
        if join.watermark_ms is not None:
            self._metrics.set(Gauge.WATERMARK, join.watermark_ms / 1000, partition=str(partition))
        self._metrics.set(Gauge.REPLAY, join.replay_left, partition=str(partition))
        bins, offsets = join.bins(), 0
        for topic, (first, after) in join.ranges().items():
            grown = after - self._next.get((partition, topic), first)
            self._next[partition, topic] = after
            offsets += after - first
            if grown > 0:
                self._metrics.inc(Counter.OFFSETS, grown, topic=topic)
        self._metrics.set(Gauge.UNACCOUNTED, offsets - sum(bins.values()), partition=str(partition))
        for name, value in bins.items():
            counter = _BINS.get(name)
            grown = value - self._bins.get((partition, name), 0)
            self._bins[partition, name] = value
            if counter is not None and grown > 0:
                self._metrics.inc(counter, grown)
        forgotten = join.forgotten
        grown = forgotten - self._forgotten.get(partition, 0)
        self._forgotten[partition] = forgotten
        if grown > 0:
            self._metrics.inc(Counter.FORGOTTEN, grown)

    def stages(self, took_s: Mapping[str, float]) -> None:
        """Seconds by stage since the join's task began."""
        for stage, seconds in took_s.items():
            grown = seconds - self._took_s.get(stage, 0.0)
            self._took_s[stage] = seconds
            if grown > 0:
                self._metrics.inc(Counter.STAGE_SECONDS, grown, stage=stage)

    def published(self, reports: int) -> None:
        """Window reports were acknowledged."""
        if reports:
            self._metrics.inc(Counter.REPORTS, reports)

    def checkpoint(self, size_bytes: int, took_ms: int) -> None:
        """Snapshots of all owned partitions were acknowledged."""
        self._metrics.set(Gauge.SNAPSHOT, size_bytes)
        self._metrics.observe(Histogram.CHECKPOINT, took_ms / 1000)

    def deciding(self, fold: Fold) -> None:
        """Where the decider stands in its logs."""
        self._metrics.set(Gauge.DECIDER_POSITION, fold.windows_next)

    def refused(self, why: str) -> None:
        """One command changes nothing."""
        self._metrics.inc(Counter.REFUSED, why=why)

    def disbelieved(self) -> None:
        """One record of the audit counts for nothing."""
        self._metrics.inc(Counter.DISBELIEVED)

    def decided(self, decision: GateDecision) -> None:
        """One decision was written."""
        rollout = decision.rollout_id
        self._metrics.inc(Counter.DECISIONS, rollout=rollout, action=decision.action.value)
        self._metrics.set(Gauge.WEIGHT, decision.weight / 100, rollout=rollout)
        self._metrics.set(Gauge.SEQUENCE, decision.sequence, rollout=rollout)
        self._metrics.set(Gauge.EXPOSED, decision.exposed_requests, rollout=rollout)
        for verdict in decision.verdicts:
            failed = verdict.verdict == "fail"
            self._metrics.set(Gauge.GATE_FAILED, failed, rollout=rollout, gate=verdict.gate)

    def diverged(self) -> None:
        """A recorded decision does not follow from the logs (any more)."""
        self._metrics.inc(Counter.DIVERGED)
