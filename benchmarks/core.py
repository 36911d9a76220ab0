"""Core: how many pairs a second the core of a worker decodes, joins, checks and counts, without Kafka.

    python benchmarks/core.py [--pairs N] [--runs N] [--only TEXT] [--profile] [--json FILE]

Law: all paths are measured in one process, turn by turn, in CPU time of that process, and the fastest of some
runs counts. So the ratios between paths hold on a machine that others use too; the figures themselves hold for
the machine that is named.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import platform
import pstats
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cramjam
from core_traffic import DIMENSIONS, Log, make_logs

from paritygate.comparators.latency import shifts
from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.validation import OutputRules
from paritygate.schemas.codec import encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from paritygate.streams.memory import keep_freed_memory, relax_collector

PAIRS: Final = 200_000
RUNS: Final = 5
#: As the worker's settings have them by default.
FETCH_BYTES: Final = 2 << 20
CHECKPOINT_S: Final = 1.0
TOPICS: Final = (PREDICTIONS_PRIMARY.name, PREDICTIONS_SHADOW.name)
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "prediction": {"enum": ["late", "on time"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "model_version": {"type": "string", "minLength": 1},
        "delay_minutes": {"type": "number", "minimum": 0},
        "reason": {"type": "string", "maxLength": 40},
    },
    "required": ["prediction", "confidence", "model_version", "delay_minutes"],
    "additionalProperties": False,
}
_PLAIN: Final = JoinSettings("bench", dimensions=DIMENSIONS, latency_shifts=shifts(10.0))
_SCHEMA: Final = replace(_PLAIN, output_rules=OutputRules(json_schema=SCHEMA))

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One way through the core, and the traffic that takes it."""

    name: str
    what: str
    settings: JoinSettings = _PLAIN
    distinct: bool = False
    as_json: bool = False


WAYS: Final = (
    Way("avro", "Avro; both arms give the same answer, one of 500"),
    Way("avro_outputs", "Avro; every answer is new, checked and compared", distinct=True),
    Way("avro_json_schema", "the same with a JSON Schema of the user on every answer", _SCHEMA, distinct=True),
    Way("json", "JSON events; both arms give the same answer, one of 500", as_json=True),
    Way("json_outputs", "JSON events; every answer is new, checked and compared", distinct=True, as_json=True),
)


@dataclass(slots=True)
class Spent:
    """CPU seconds of one run by stage."""

    decode_s: float = 0.0
    join_s: float = 0.0
    publish_s: float = 0.0

    @property
    def total_s(self) -> float:
        """All stages."""
        return self.decode_s + self.join_s + self.publish_s


def run(way: Way, logs: Sequence[Log], pairs: int) -> Spent:
    """Take both logs through the core in turn, as a worker does that catches up.

    :raises SystemExit: a pair was not counted; then there is nothing to measure.
    """
    join = PartitionJoin(0, 1)
    join.declare(way.settings)
    spent, clock = Spent(), time.process_time
    sides = [log.fetches(FETCH_BYTES) for log in logs]
    gc.collect()
    saved_at = clock()
    for turn in range(max(map(len, sides))):
        for topic, fetches in zip(TOPICS, sides, strict=True):
            if turn >= len(fetches):
                continue
            start, data = fetches[turn]
            began = clock()
            decoded = decode_batches(topic, 0, data, start, skip_damaged=True)
            between = clock()
            join.ingest(decoded.batch, decoded.next_offset)
            spent.decode_s += between - began
            spent.join_s += clock() - between
        began = clock()
        join.advance()
        for report in join.take_reports(1):
            encode(report)
        if clock() - saved_at >= CHECKPOINT_S:
            cramjam.zstd.compress(join.snapshot())
            saved_at = clock()
        spent.publish_s += clock() - began
    if join.bins() != {"paired": 2 * pairs}:
        raise SystemExit(f"{way.name}: not every pair was counted: {join.bins()}")
    return spent


def measure(ways: Sequence[Way], pairs: int, runs: int) -> list[Row]:
    """All ways, turn by turn; the fastest run of each counts."""
    kinds = {(way.distinct, way.as_json) for way in ways}
    logs = {kind: make_logs(pairs, distinct=kind[0], as_json=kind[1]) for kind in sorted(kinds)}
    relax_collector()
    keep_freed_memory()
    taken: dict[str, list[Spent]] = {way.name: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            taken[way.name].append(run(way, logs[way.distinct, way.as_json], pairs))
    return [_row(way, taken[way.name], pairs) for way in ways]


def _row(way: Way, taken: Sequence[Spent], pairs: int) -> Row:
    best = min(taken, key=lambda spent: spent.total_s)
    stages = {"decode": best.decode_s, "join": best.join_s, "publish": best.publish_s}
    return {
        "way": way.name,
        "what": way.what,
        "pairs_per_cpu_s": round(pairs / best.total_s),
        "slowest_pairs_per_cpu_s": round(pairs / max(spent.total_s for spent in taken)),
        "us_per_pair": {name: round(seconds / pairs * 1e6, 3) for name, seconds in stages.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the file."""
    options = _options(arguments)
    ways = [way for way in WAYS if options.only in way.name]
    if options.profile:
        return _profile(ways, options.pairs)
    rows = measure(ways, options.pairs, options.runs)
    print(f"{'way':<18} {'pairs/CPU-s':>12} {'decode':>8} {'join':>8} {'publish':>8}  us per pair")
    for row in rows:
        stages = " ".join(f"{us:>8.2f}" for us in row["us_per_pair"].values())
        print(f"{row['way']:<18} {row['pairs_per_cpu_s']:>12,} {stages}  {row['what']}")
    if options.json:
        names = ("numpy", "orjson", "numba", "jsonschema-rs")
        result = {
            "rows": rows,
            "command": " ".join(["python benchmarks/core.py", *(arguments or sys.argv[1:])]),
            "pairs": options.pairs,
            "runs": options.runs,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_average": round(os.getloadavg()[0], 1),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _profile(ways: Sequence[Way], pairs: int) -> int:
    for way in ways:
        logs = make_logs(pairs, distinct=way.distinct, as_json=way.as_json)
        run(way, logs, pairs)
        profile = cProfile.Profile(time.process_time)
        profile.runcall(run, way, logs, pairs)
        print(way.name)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="", help="ways whose name holds this text")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
