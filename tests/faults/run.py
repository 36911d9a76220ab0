"""``make faults-join``: one log of a million pairs, every fault on it in turn, and the oracle's word.

Exit code 1 where one number differs. The seed is printed first; the same seed gives the same traffic and draws
the same faults.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paritygate.cli.broker import RunningBroker, start_broker
from tests.faults import faults
from tests.faults.harness import FaultRun, environment
from tests.support.cluster import Cluster
from tests.support.kafka import KafkaBench


def _kills(run: FaultRun) -> None:
    faults.random_kills(run, 20)
    faults.kills_at_points(run)


#: Each part: what it does, and about how many seconds of a worker's life it takes.
PARTS: dict[str, tuple[str, Callable[[FaultRun], None], int]] = {
    "a": ("20 kills at random, one at each named point", _kills, 110),
    "b": ("workers join, leave and die: 1, 3, 2, 1", lambda run: faults.churn(run, 3), 60),
    "c": ("the broker is killed and comes back", lambda run: faults.broker_dies(run, 2), 40),
    "d": ("a worker is stopped for 20 s and goes on", lambda run: faults.zombie(run, 20), 50),
    "e": ("leaders move on three brokers", lambda run: faults.leaders_move(run, 3), 60),
}


def main() -> int:
    """Run the parts asked for; the exit code."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    asked.add_argument("--pairs", type=int, default=1_000_000, help="requests in the log of parts a to d")
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked.add_argument("--only", default="a,b,c,d,e", help="parts, as in a,d")
    asked.add_argument("--json", type=Path, help="keep the results here")
    args = asked.parse_args()
    parts = [part for part in args.only.split(",") if part in PARTS]
    print(f"seed {args.seed}, {args.pairs:,} pairs, parts {', '.join(parts)}", flush=True)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="paritygate-faults-") as folder:
        one = [part for part in parts if part != "e"]
        if one:
            with start_broker(Path(folder) / "broker", prefer="apache") as broker:
                results.append(_run(broker, Path(folder) / "one", args.pairs, args.seed, one))
        if "e" in parts:
            with Cluster(Path(folder) / "cluster").start() as cluster:
                pairs = args.pairs if not one else max(10_000, args.pairs // 5)
                results.append(_run(cluster, Path(folder) / "three", pairs, args.seed, ["e"], replicas=3))
    summary = {
        "seed": args.seed, "environment": environment(), "runs": results,
        "differences": sum(r["differences"] for r in results),
    }  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"{summary['differences']} differences")
    return 1 if summary["differences"] else 0


def _run(
    broker: RunningBroker, folder: Path, pairs: int, seed: int, parts: list[str], *, replicas: int = 1
) -> dict[str, Any]:
    kafka = KafkaBench(broker, "faults")
    # Batches grow with the log, so that a worker needs about as many fetches for any of them.
    run = FaultRun(kafka, folder, pairs, seed, batch=max(15, pairs // 4_000))
    began = time.monotonic()
    try:
        run.lay(replicas)
        run.read_for(1.3 * sum(PARTS[part][2] for part in parts))
        for part in parts:
            run.say(f"{part}: {PARTS[part][0]}")
            PARTS[part][1](run)
        found = run.judge()
        return {
            "pairs": pairs, "records": run.records, "parts": {part: PARTS[part][0] for part in parts},
            "faults": run.faults, "compared": found.compared, "differences": found.found, "lines": found.lines,
            "snapshots": run.snapshots(), "took_s": round(time.monotonic() - began),
        }  # fmt: skip
    finally:
        run.close()


if __name__ == "__main__":
    sys.exit(main())
