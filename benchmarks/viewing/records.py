"""Records: one long rollout with many segments, as it lies in the topics, made before anything is timed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from paritygate.comparators.latency import bucket
from paritygate.comparators.tally import COUNT_NAMES
from paritygate.rollouts.fold import Fold
from paritygate.schemas.codec import encode
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import Cell, Histogram, SourceRange, WindowReport
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, WINDOWS

ROLLOUT: Final = "viewed"
START_MS: Final = 1_700_000_000_000
WINDOW_MS: Final = 1000
PARTITIONS: Final = 2
#: Requests of one segment in one window and partition.
REQUESTS: Final = 5
_LATENCIES: Final = (("baseline", 40.0), ("candidate", 42.0))

#: (topic of the table, offset, key, value).
Record = tuple[str, int, bytes, bytes]


def plan() -> dict[str, Any]:
    """A plan that stays in shadow as long as the benchmark looks on."""
    return {
        "rollout": ROLLOUT,
        "service": "benchmark",
        "baseline": {"version": "1"},
        "candidate": {"version": "2"},
        "owner": "benchmark",
        "rollback_condition": "any gate fails",
        "stages": [{"weight": 0, "minimum_seconds": 86_400}, {"weight": 50}, {"weight": 100}],
        "promotion_gates": {
            "error_rate": {"maximum": 0.1},
            "schema_validation_pass_rate": {"minimum": 0.9},
            "latency_p95_ms": {"maximum": 500},
        },
        "segments": ["cohort"],
    }


def report(window: int, partition: int, segments: int) -> WindowReport:
    """A closed window: every segment has had requests, and in one window of ten a hundredth of them a failure."""
    cells = []
    for i in range(segments):
        failed = int((i + 7 * window) % 1000 == 0 or (i % 100 == 0 and window % 10 == 0))
        counts = {
            "requests": REQUESTS, "pairs": REQUESTS, "baseline_checked": REQUESTS,
            "candidate_checked": REQUESTS - failed, "candidate_errors": failed, "candidate_only_errors": failed,
            "labels_compared": REQUESTS - failed, "live_baseline": REQUESTS, "timeouts_counted": REQUESTS,
        }  # fmt: skip
        cells.append(Cell(values=(f"cohort-{i:04}",), counts=tuple(counts.get(n, 0) for n in COUNT_NAMES)))
    start = START_MS + window * WINDOW_MS
    latencies = tuple(
        Histogram(name=f"latency.{arm}", index=(int(bucket(np.array([ms]))[0]),), counts=(REQUESTS * segments,))
        for arm, ms in _LATENCIES
    )
    return WindowReport(
        rollout_id=ROLLOUT, partition=partition, partitions=PARTITIONS, generation=1, revision=0,
        window_start_ms=start, window_end_ms=start + WINDOW_MS, watermark_ms=start + WINDOW_MS,
        sources=(SourceRange(topic="predictions.primary.v1", partition=partition, first=0, next=window + 1),),
        dimensions=("cohort",), count_names=COUNT_NAMES, cells=tuple(cells), histograms=latencies, totals={},
    )  # fmt: skip


def windows(count: int, segments: int) -> Iterator[list[Record]]:
    """The records of each window in log order, the start of the rollout before the first."""
    fold, audited = Fold(), 0
    start = Command(
        kind=CommandKind.START, rollout_id=ROLLOUT, actor="benchmark", issued_at_ms=START_MS, plan=plan()
    )
    made = [(ROLLOUTS.name, 0, ROLLOUT.encode(), start.to_bytes())]

    def decided(decisions: list[GateDecision]) -> None:
        nonlocal audited
        for decision in decisions:
            key, value = ROLLOUT.encode(), decision.to_bytes()
            made.extend([(AUDIT.name, audited, key, value), (DECISIONS.name, audited, key, value)])
            audited += 1

    decided(fold.apply_command(0, start))
    for window in range(count):
        for partition in range(PARTITIONS):
            told = report(window, partition, segments)
            key = f"{ROLLOUT}|{partition}|{told.window_start_ms}".encode()
            made.append((WINDOWS.name, fold.windows_next, key, encode(told)))
            decided(fold.apply_report(fold.windows_next, told))
        yield made
        made = []
