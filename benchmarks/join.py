"""The join on a real Kafka, beside its peers: pairs a second, memory, linearity.

    python benchmarks/join.py [--quick] [--only ROW]... [--scale F] [--pairs N] [--runs N] [--slow-runs N]
                              [--minutes N] [--json FILE]

Law: broker, feeder and engines share one machine; the topics are full before an engine starts, all engines read the
same records, and every engine's counts are held against what was sent. How the rate is taken: ``joining.figures``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from joining import figures, peers
from joining.rows import FULL, QUICK, Rows

from paritygate.cli.broker import start_broker
from paritygate.cli.broker.apache import ApacheKafka
from paritygate.schemas.errors import ParityGateError

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = (
    "faust-streaming",
    "aiokafka",
    "numba",
    "numpy",
    "jsonschema-rs",
    "orjson",
    "fastavro",
)
DEFINITION: Final = (
    f"pairs a second between the first moment at which {figures.FROM:.0%} of the pairs are out of the engine and "
    f"the first at which {figures.TO:.0%} are; for paritygate by the time of the window reports that hold them, "
    "for the peers by what they print every 0.1 s"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write the file; 1 where an engine counted wrongly."""
    options = _options(arguments)
    sizes = QUICK if options.quick else FULL
    sizes = sizes.scaled(options.scale)
    chosen = {"plain": options.pairs, "runs": options.runs, "slow_runs": options.slow_runs}
    sizes = replace(sizes, **{name: value for name, value in chosen.items() if value})
    folder = options.folder.resolve()
    # Leave every block on the way out, so that no worker stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()
    began = time.monotonic()
    try:
        with start_broker(folder / "broker", prefer="apache", fresh=True, say=_say) as broker:
            rows = Rows(broker.bootstrap, folder, sizes, only=options.only, minutes=options.minutes, say=_say)
            rows.all()
    except ParityGateError as error:
        print(f"bench-join: {error}", file=sys.stderr)
        return 2
    result = {
        **rows.result,
        "ratios": ratios(rows.result["engines"]),
        "definition": DEFINITION,
        "command": " ".join(["python benchmarks/join.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "machine": machine(),
        "load_average_before": [round(x, 2) for x in load],
        "took_s": round(time.monotonic() - began),
        "versions": versions(),
    }
    print(table(result))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["correct"] for row in result["engines"].values()) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The join on a real Kafka, beside its peers.")
    parser.add_argument("--quick", action="store_true", help="a few thousand pairs each: whether all is right")
    parser.add_argument(
        "--only", action="append", metavar="ROW", default=[], help="an engine, linear, limits, memory or latency"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="times as many pairs in every row")
    parser.add_argument("--pairs", type=int, help=f"of the plain Avro rows of ours (default {FULL.plain:,})")
    parser.add_argument("--runs", type=int, help=f"of ours and Kafka Streams (default {FULL.runs})")
    parser.add_argument("--slow-runs", type=int, help=f"of all others (default {FULL.slow_runs})")
    parser.add_argument(
        "--minutes", type=float, default=120.0, metavar="N", help="begin no row after so long (default: two hours)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "run" / "bench-join", help="broker data, logs, what the peers need"
    )
    return parser.parse_args(arguments)


def ratios(engines: dict[str, Any]) -> dict[str, float]:
    """How many times as many pairs a second one worker of ours joins, by peer."""
    ours = engines.get("paritygate_1_worker_avro")
    if ours is None:
        return {}
    return {
        name: round(ours["pairs_per_s"]["median"] / row["pairs_per_s"]["median"], 1)
        for name, row in engines.items()
        if not name.startswith("paritygate") and row["pairs_per_s"]["median"]
    }


def machine() -> str:
    """Processor, cores and memory."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}"


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return {
        "kafka": ApacheKafka.name.rpartition(" ")[2],
        "kafka-streams": ApacheKafka.name.rpartition(" ")[2],
        "quixstreams": peers.QUIX.partition("==")[2],
        "python": platform.python_version(),
        "java": java[0].split('"')[1] if java else "none",
        **{name: version(name) for name in PACKAGES},
    }


def table(result: dict[str, Any]) -> str:
    """The engines for the eye."""
    lines = [f"\n{'':<40}{'pairs/s':>12}{'min':>12}{'max':>12}{'RSS MiB':>10}{'pairs':>12}  counts"]
    for name, row in result["engines"].items():
        rate = row["pairs_per_s"]
        lines.append(
            f"{name:<40}{rate['median']:>12,}{rate['min']:>12,}{rate['max']:>12,}{row['rss_mib']:>10,}"
            f"{row['pairs']:>12,}  {'exact' if row['correct'] else row['wrong']}"
        )
    lines += [f"{name:<40}skipped: {why}" for name, why in result["skipped"].items()]
    lines += [f"one worker is {times:g} times {name}" for name, times in result["ratios"].items()]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(f"bench-join: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
