"""Calibration: how often each gate errs when it is looked at all the time, and how soon it sees a failure.

    python benchmarks/calibration.py [--runs N] [--quick] [--only TEXT] [--jobs N] [--json FILE [--resume]]

Law: seeded, so a run is repeated exactly; every row's seed comes from its own name, so adding a row changes
no other. Beside each row stand a fixed-threshold window rule, a per-minute z-test and a Mann-Whitney judge
on the very same streams (``calibrating.peers``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import numpy as np
from calibrating.cases import Case, cases
from calibrating.outcome import Outcome, joined, rates

SEED: Final = 20261124
RUNS: Final = 2_000
QUICK_RUNS: Final = 24
PEERS: Final = ("window_threshold", "z_test", "mann_whitney")
RATES: Final = ("false_rollback", "false_promote", "delay_pairs_p50", "delay_pairs_p90")

Row = dict[str, Any]


def calibrate(case: Case, runs: int, seed: int = SEED) -> Row:
    """Simulate one row."""
    runs = max(int(runs * case.times), 1)
    random = np.random.default_rng([seed, zlib.crc32(f"{case.gate}/{case.case}".encode())])
    ours: list[Outcome] = []
    theirs: dict[str, list[Outcome]] = {}
    for start in range(0, runs, case.chunk):
        found, by_peer = case.simulate(min(case.chunk, runs - start), random)
        ours.append(found)
        for name, peer in by_peer.items():
            theirs.setdefault(name, []).append(peer)
    truth = {"within": case.within, "beyond": case.beyond}
    nothing = dict.fromkeys(RATES)
    row: Row = {"gate": case.gate, "case": case.case, "runs": runs, **rates(joined(ours), **truth)}
    row["peers"] = {name: rates(joined(theirs[name]), **truth) if name in theirs else nothing for name in PEERS}
    if case.known_weakness:
        row["known_weakness"] = True
    if case.note:
        row["note"] = case.note
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    options = _options(arguments)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    began = time.perf_counter()
    chosen = [case for case in cases() if options.only in f"{case.gate}: {case.case}"]
    if options.quick:
        chosen = [case for case in chosen if not case.slow]
    rows = _kept(options.json, chosen, runs, options.seed) if options.resume else {}
    print(_heading())
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(calibrate, case, runs, options.seed) for case in chosen if _name(case) not in rows]
        for done in as_completed(waiting):
            row = done.result()
            rows[f"{row['gate']}: {row['case']}"] = row
            print(_line(row), flush=True)
            if options.json:
                in_order = [rows[_name(case)] for case in chosen if _name(case) in rows]
                _write(options.json, in_order, options.seed, arguments or sys.argv[1:])
    print(f"\n{len(rows)} rows of {runs:,} rollouts in {time.perf_counter() - began:.0f} s; (!) known weakness")
    return 0


def _name(case: Case) -> str:
    return f"{case.gate}: {case.case}"


def _kept(file: Path, chosen: Sequence[Case], runs: int, seed: int) -> dict[str, Row]:
    """Rows that an interrupted run left in the file, of as many runs and the same seed."""
    held: Row = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"rows": [], "seed": seed}
    wanted = {_name(case): max(int(runs * case.times), 1) for case in chosen}
    rows = {f"{row['gate']}: {row['case']}": row for row in held["rows"]}
    return {name: row for name, row in rows.items() if held["seed"] == seed and wanted.get(name) == row["runs"]}


def _write(file: Path, rows: Sequence[Row], seed: int, arguments: Sequence[str]) -> None:
    result = {
        "rows": rows,
        "command": " ".join(["python benchmarks/calibration.py", *arguments]),
        "seed": seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="False alarms and delays of every gate, by simulation.")
    parser.add_argument("--runs", type=int, help=f"rollouts per row (default {RUNS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} rollouts per row, none of latency")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows whose name contains this")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, row by row")
    parser.add_argument("--resume", action="store_true", help="keep the rows an interrupted run left in FILE")
    options = parser.parse_args(arguments)
    if options.resume and not options.json:
        parser.error("--resume needs the --json FILE whose rows are to be kept")
    return options


def _heading() -> str:
    columns = f"{'false':>9}{'false':>9}{'pairs to rollback':>19}"
    second = f"{'rollback':>9}{'promote':>9}{'p50':>9}{'p90':>10}"
    peers = "".join(f"{name:>20}" for name in PEERS)
    return f"{'':<76}{columns}\n{'gate: case':<76}{second}{peers}\n{'-' * 173}"


def _line(row: Row) -> str:
    name = f"{'(!) ' if row.get('known_weakness') else ''}{row['gate']}: {row['case']}"
    peers = "".join(f"{_peer(row['peers'][p]):>20}" for p in PEERS)
    return (
        f"{name[:75]:<76}{_percent(row['false_rollback']):>9}{_percent(row['false_promote']):>9}"
        f"{_count(row['delay_pairs_p50']):>9}{_count(row['delay_pairs_p90']):>10}{peers}"
    )


def _peer(found: dict[str, Any]) -> str:
    """False rollback, false promotion, median delay."""
    parts = (_percent(found["false_rollback"]), _percent(found["false_promote"]), _count(found["delay_pairs_p50"]))
    return " ".join(f"{part:>6}" for part in parts)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100.0 * rate:.1f}%"


def _count(pairs: int | None) -> str:
    return "-" if pairs is None else f"{pairs:,}"


if __name__ == "__main__":
    sys.exit(main())
