from __future__ import annotations

from typing import Any

from paritygate.streams.metrics import WorkerMetrics


class Join:
    """The parts of a partition's join that are exported."""

    pending = 3
    watermark_ms = 5_000
    replay_left = 0
    forgotten = 0

    def __init__(self, **bins: int) -> None:
        self._bins = bins

    def ranges(self) -> dict[str, tuple[int, int]]:
        return {"t": (10, 10 + sum(self._bins.values()))}

    def bins(self) -> dict[str, int]:
        return self._bins


def shown(metrics: WorkerMetrics, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_takeover_counts_only_what_is_new() -> None:
    """What a snapshot holds was counted by the process before; only growth is this one's."""
    metrics = WorkerMetrics()
    restored: Any = Join(paired=100, late=2)
    metrics.restored(0, restored)
    metrics.join_state(0, restored)
    grown: Any = Join(paired=104, late=2)
    metrics.join_state(0, grown)

    assert shown(metrics, "paritygate_worker_paired_events_total") == {(): 4.0}
    assert shown(metrics, "paritygate_worker_late_total") == {(): 0.0}
    assert shown(metrics, "paritygate_worker_offsets_total") == {("t",): 4.0}


def test_released_partitions_are_not_shown() -> None:
    """After a rebalance the gauges of a partition are the next owner's; its counters stay."""
    metrics = WorkerMetrics()
    join: Any = Join(paired=7)
    metrics.join_state(1, join)
    metrics.lag("platform.v1", 1, 12)
    metrics.owned((1,))
    metrics.released()
    metrics.owned(())

    for gauge in ("lag_events", "pending_requests", "watermark_timestamp_seconds", "unaccounted_records"):
        assert shown(metrics, f"paritygate_worker_{gauge}") == {}
    assert shown(metrics, "paritygate_worker_owned_partitions") == {(): 0.0}
    assert shown(metrics, "paritygate_worker_paired_events_total") == {(): 7.0}
    assert shown(metrics, "paritygate_worker_rebalances_total") == {(): 1.0}


def test_record_in_no_bin_is_shown() -> None:
    """Offsets less bins is 0 as long as every record is in exactly one bin, and says by how much it is not."""
    metrics = WorkerMetrics()
    join: Any = Join(paired=7, late=1)
    metrics.join_state(2, join)
    assert shown(metrics, "paritygate_worker_unaccounted_records") == {("2",): 0.0}
    join.bins = lambda: {"paired": 6, "late": 1}
    metrics.join_state(2, join)
    assert shown(metrics, "paritygate_worker_unaccounted_records") == {("2",): 1.0}


def test_stages_are_counted_once() -> None:
    """Totals of seconds become counters that only grow by what is new."""
    metrics = WorkerMetrics()
    metrics.stages({"fetch": 1.0, "decode": 0.5})
    metrics.stages({"fetch": 1.5, "decode": 0.5})
    assert shown(metrics, "paritygate_worker_stage_seconds_total") == {("fetch",): 1.5, ("decode",): 0.5}
