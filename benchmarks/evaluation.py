"""Evaluation: how long one look at the gates takes, by part. Run it: make bench-evaluation

    python benchmarks/evaluation.py [--repeats N] [--json FILE]

Law: seeded counts, the product's own classes; medians of the repeats with their spread, in processor time, and the
time of each part over that of one fixed piece of numpy work, which is how figures of two machines compare.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from paritygate.comparators import confidence, scores
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.quantile import quantile_ratio
from paritygate.comparators.latency import Counts, pair_histograms, shifts
from paritygate.comparators.tally import COUNT_NAMES, INDEX, Tally, zero_counts
from paritygate.gates.assess import Evidence, assess_gates
from paritygate.gates.segments import SegmentTable
from paritygate.gates.spec import parse_gates

SEED: Final = 20261124
REPEATS: Final = 11
#: Values of the five dimensions; 2,893 segments of up to three of them are possible.
VALUES: Final = (12, 4, 8, 5, 4)
#: Combinations of values that occur. Dimensions go together, so most of the 7,680 do not.
CELLS: Final = 1_500
PANES: Final = 24
MINUTES: Final = 1440
PAIRS_PER_PANE: Final = 40_000
#: Counts that every request of the healthy rollout has.
SETTLED: Final = ("requests", "pairs", "baseline_checked", "candidate_checked", "labels_compared", "live_baseline")
GATES: Final = parse_gates(
    {
        "error_rate": {"maximum": 0.01},
        "schema_validation_pass_rate": {"minimum": 0.995},
        "latency_p95_ms": {"maximum_regression_percent": 10},
        "gpu_oom_events": {"maximum": 0},
        "human_review_score": {"minimum_delta": -0.02},
        "label_change_rate": {"maximum": 0.05},
        "output_change_rate": {"maximum": 0.1},
        "confidence_shift": {"maximum": 0.1},
    }
)


@dataclass(frozen=True, slots=True)
class Part:
    """Something to time. ``goal_ms``: None where none is set."""

    name: str
    run: Callable[[], object]
    goal_ms: float | None


def parts() -> list[Part]:
    """What is timed, in the order of the table."""
    random = np.random.default_rng(SEED)
    evidence, every = look(random, CELLS), look(random, None)
    return [
        Part("1,500 e-values of gates on rates, by segment", rates(random), 2.0),
        Part("100 segments' p95 regression", quantiles(random), 15.0),
        Part("one look at everything", lambda: assess_gates(GATES, evidence), 20.0),
        Part("of it: the table of segments", lambda: SegmentTable(evidence.whole).count("requests"), None),
        Part("one look, all 7,680 cells in use", lambda: assess_gates(GATES, every), None),
    ]


def rates(random: np.random.Generator) -> Callable[[], object]:
    """300 segments on each of five gates."""
    total = random.integers(100, 10_000, 300)
    bad, base = random.binomial(total, 0.004), random.binomial(total, 0.004)
    both = np.minimum(bad, base) // 3
    worse, better = bad - both, base - both
    errors, schema, labels = (bernoulli(limit, "above") for limit in (0.01, 0.005, 0.05))
    parity, relative = paired(0.0, "above"), paired_ratio(1.5, "above")

    def run() -> object:
        absolute = [test.log_e(bad, total) for test in (errors, schema, labels)]
        return absolute, parity.log_e(worse, better, total), relative.log_e(worse, better, both)

    return run


def quantiles(random: np.random.Generator) -> Callable[[], object]:
    """100 segments of 2,000 pairs, one gate."""
    test = quantile_ratio(0.95, 10.0, "above")
    drawn = [latencies(random, 2_000) for _ in range(100)]
    names = (f"exceed.{test.shift}.up", f"exceed.{test.shift}.down", "latency.baseline", "latency.candidate")
    rows = [np.array([counts[name] for counts in drawn]) for name in names]
    return lambda: test.paired_rows(*rows)


def latencies(random: np.random.Generator, pairs: int) -> dict[str, Counts]:
    """Correlated lognormal latencies with a median of 20 ms in both arms."""
    shared, ours, theirs = random.normal(0.0, 0.6, (3, pairs))
    base, candidate = (np.exp(3.0 + 0.84 * shared + 0.55 * own) for own in (ours, theirs))
    return pair_histograms(base, candidate, shifts(10.0))


def look(random: np.random.Generator, used: int | None) -> Evidence:
    """A day of a healthy rollout: 24 panes, 960,000 pairs, ``used`` cells of five dimensions (None: all)."""
    cells = [tuple(f"v{value}" for value in cell) for cell in product(*(range(size) for size in VALUES))]
    if used is not None:
        cells = [cells[at] for at in sorted(random.choice(len(cells), used, replace=False))]
    dimensions = tuple(f"d{d}" for d in range(len(VALUES)))
    popular = random.dirichlet(np.full(len(cells), 1.0))
    panes = []
    for _ in range(PANES):
        requests = random.multinomial(PAIRS_PER_PANE, popular)
        rows = np.zeros((len(cells), len(COUNT_NAMES)), np.int64)
        for name in SETTLED:
            rows[:, INDEX[name]] = requests
        for bad, rate in (("errors", 0.003), ("invalid", 0.001)):
            worse, better = random.binomial(requests, rate), random.binomial(requests, rate)
            for arm, count in (("candidate", worse), ("baseline", better)):
                rows[:, INDEX[f"{arm}_{bad}"]] = rows[:, INDEX[f"{arm}_only_{bad}"]] = count
        for name, rate in (("label_changes", 0.02), ("output_changes", 0.04)):
            rows[:, INDEX[name]] = random.binomial(requests, rate)
        pane = Tally(dimensions, {cell: row for cell, row in zip(cells, rows, strict=True) if row.any()})
        pane.histograms |= latencies(random, PAIRS_PER_PANE)
        deltas = random.normal(0.0, 0.2, 100)
        pane.histograms["scores.human_review_score"] = np.bincount(scores.bucket(deltas), minlength=scores.BUCKETS)
        for arm in ("baseline", "candidate"):
            drawn = random.multinomial(PAIRS_PER_PANE, np.full(confidence.BUCKETS, 1.0 / confidence.BUCKETS))
            pane.histograms[f"confidence.{arm}"] = drawn
        pane.totals |= {"reports.candidate": 60, "running_ms.candidate": 3_600_000}
        panes.append(pane)
    whole, stage = Tally(dimensions), Tally(dimensions)
    for at, pane in enumerate(panes):
        whole.add(pane)
        if at >= PANES // 2:
            stage.add(pane)
    minutes = np.repeat([pane.overall() // 60 for pane in panes], 60, axis=0)
    return Evidence(
        whole=whole,
        stage=stage,
        panes=tuple(panes),
        pane_counts=np.array([pane.overall() for pane in panes]),
        pane_starts_ms=tuple(3_600_000 * pane for pane in range(PANES)),
        live_batches=np.array([[0, 50, 0, 1]] * 500, np.int64),
        minutes=minutes[:MINUTES],
        opening=zero_counts(),
        stage_name="shadow",
        weight=0,
    )


def reference() -> object:
    """The fixed piece of work: 240,000 exponentials and their sums, about what 1,500 e-values need twice over."""
    terms = np.linspace(-30.0, 0.0, 240_000).reshape(-1, 24)
    return np.log(np.add.reduce(np.exp(terms), axis=-1))


def measure(part: Part, repeats: int) -> dict[str, Any]:
    """Milliseconds of one part; its first run fills the caches of bets and is not counted."""
    part.run()
    taken, ratios = [], []
    gc.disable()
    try:
        for _ in range(repeats):
            base, took = _timed(reference), _timed(part.run)
            taken.append(took)
            ratios.append(took / base)
    finally:
        gc.enable()
    return {
        "part": part.name,
        "median_ms": round(median(taken), 3),
        "least_ms": round(min(taken), 3),
        "most_ms": round(max(taken), 3),
        "ratio_to_reference": round(median(ratios), 2),
        "goal_ms": part.goal_ms,
    }


def _timed(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return 1000.0 * (time.process_time() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description="How long one look at the gates takes.")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"default {REPEATS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'':<48}{'median':>9}{'least':>9}{'most':>9}{'goal':>9}{'ratio':>8}")
    for part in parts():
        row = measure(part, options.repeats)
        rows.append(row)
        times = "".join(f"{row[name]:>9.2f}" for name in ("median_ms", "least_ms", "most_ms"))
        print(f"{row['part']:<48}{times}{row['goal_ms'] or '-':>9}{row['ratio_to_reference']:>8}", flush=True)
    if options.json:
        result = {
            "rows": rows,
            "repeats": options.repeats,
            "command": " ".join(["python benchmarks/evaluation.py", *(arguments or sys.argv[1:])]),
            "seed": SEED,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_average": round(os.getloadavg()[0], 1),
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
