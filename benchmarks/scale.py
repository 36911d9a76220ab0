"""Scale: what one pair, event, waiting request and window report cost, for the arithmetic of docs/scale.md.

    python benchmarks/scale.py [--pairs N] [--runs N] [--json FILE]

Law: CPU time of this process and sizes in bytes only, so that the figures hold on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cramjam
from core import FETCH_BYTES, WAYS, measure
from core_traffic import DIMENSIONS, START_MS, Log, make_logs

from paritygate.comparators.partition import PartitionJoin
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW

TOPICS: Final = (PREDICTIONS_PRIMARY.name, PREDICTIONS_SHADOW.name)
#: Partition counts at which the decider's cost of a report is measured.
PARTITIONS: Final = (8, 64, 512)
WINDOWS: Final = 3
PLAN: Final = RolloutPlan.from_plain(
    {
        "rollout": "bench", "service": "bench", "owner": "bench", "rollback_condition": "any gate fails",
        "baseline": {"version": "1"}, "candidate": {"version": "2"}, "segments": list(DIMENSIONS),
        "stages": [
            {"name": "shadow", "weight": 0, "minimum_seconds": 86_400, "minimum_pairs": 10**9},
            {"name": "50", "weight": 50},
            {"name": "100", "weight": 100},
        ],
        "join": {"window_ms": 1000, "grace_ms": 2000, "lateness_ms": 500},
        "promotion_gates": {
            "error_rate": {"maximum": 0.01}, "schema_validation_pass_rate": {"minimum": 0.995},
            "latency_p95_ms": {"maximum_regression_percent": 10}, "label_change_rate": {"maximum": 0.05},
        },
    }
)  # fmt: skip


def joined(logs: Sequence[Log]) -> tuple[PartitionJoin, list[WindowReport]]:
    """One partition's join after all of the traffic, and its reports."""
    join = PartitionJoin(0, 1)
    join.declare(PLAN.join_settings())
    found: list[WindowReport] = []
    for turn in zip(*(log.fetches(FETCH_BYTES // 8) for log in logs), strict=True):
        for topic, (start, data) in zip(TOPICS, turn, strict=True):
            decoded = decode_batches(topic, 0, data, start)
            join.ingest(decoded.batch, decoded.next_offset)
        join.advance()
        found += join.take_reports(1)
    join.caught_up(TOPICS[0], True)
    join.caught_up(TOPICS[1], True)
    join.advance(START_MS + 60_000)
    found += join.take_reports(1)
    return join, found


def report_cost(reports: Sequence[WindowReport], partitions: int) -> float:
    """CPU milliseconds for the decider to decode and fold one report, judging whenever a window is complete."""
    fold = Fold()
    start = Command(kind=CommandKind.START, rollout_id="bench", actor="b", issued_at_ms=0, plan=PLAN.to_plain())
    fold.apply_command(0, start)
    whole = [r for r in reports if r.cells][:WINDOWS]
    values = [
        encode(replace(r, partition=p, partitions=partitions, revision=i + 1))
        for i, r in enumerate(whole)
        for p in range(partitions)
    ]
    began = time.process_time()
    for offset, value in enumerate(values):
        fold.apply_report(offset, decode_report(value))
    return (time.process_time() - began) * 1000 / len(values)


def waiting_bytes(log: Log, count: int) -> float:
    """Snapshot bytes for each request that waits for its other arm."""
    join = PartitionJoin(0, 1)
    join.declare(PLAN.join_settings())
    empty = len(cramjam.zstd.compress(join.snapshot()))
    for start, data in log.fetches(FETCH_BYTES):
        decoded = decode_batches(TOPICS[0], 0, data, start)
        join.ingest(decoded.batch, decoded.next_offset)
    if join.pending != count:
        raise SystemExit(f"{join.pending} wait, not {count}")
    return float(len(cramjam.zstd.compress(join.snapshot())) - empty) / count


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    ways = [way for way in WAYS if way.name in ("avro", "avro_outputs", "json")]
    rows = measure(ways, options.pairs, options.runs)
    logs = make_logs(options.pairs, distinct=True)
    raw = sum(len(data) for _, data in logs[0].batches) / options.pairs
    packed = sum(len(cramjam.lz4.compress(data)) for _, data in logs[0].batches) / options.pairs
    _, reports = joined(logs)
    whole = max((r for r in reports if r.cells), key=lambda r: len(r.cells))
    result: dict[str, Any] = {
        "pairs_per_cpu_s": {row["way"]: row["pairs_per_cpu_s"] for row in rows},
        "us_per_pair": {row["way"]: row["us_per_pair"] for row in rows},
        "event_bytes": {"raw": round(raw), "lz4": round(packed)},
        "report": {"cells": len(whole.cells), "bytes": len(encode(whole))},
        "report_cpu_ms": {
            str(p): round(min(report_cost(reports, p) for _ in range(options.runs)), 3) for p in PARTITIONS
        },
        "snapshot_bytes_per_waiting_request": round(waiting_bytes(logs[0], options.pairs), 2),
        "command": " ".join(["python benchmarks/scale.py", *(arguments or sys.argv[1:])]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "numpy": version("numpy"), "pyarrow": version("pyarrow")},
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
