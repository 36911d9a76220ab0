"""Traffic for the gate tests: seeded requests of two arms, counted as the join counts them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import yaml

from paritygate.comparators import latency, scores
from paritygate.comparators.tally import INDEX, Tally, zero_counts
from paritygate.gates.assess import Assessment, Evidence, assess_gates
from paritygate.gates.spec import GateSpec, parse_gates
from paritygate.gates.verdict import Verdict

DIMENSIONS = ("origin", "carrier_tier", "weather", "endpoint")
VALUES: tuple[dict[str, float], ...] = (
    {"EWR": 0.36, "JFK": 0.33, "LGA": 0.31},
    {"low_cost": 0.2, "major": 0.6, "regional": 0.2},
    {"missing": 0.1, "present": 0.9},
    {"/predict": 1.0},
)
FAULTY = {"origin": "JFK", "carrier_tier": "regional"}

Cells = Mapping[tuple[str, ...], Mapping[str, int]]


@pytest.fixture(scope="session")
def tally_of() -> Callable[..., Tally]:
    """tally_of(dimensions, {values: {count: n}}, totals): exactly these counts."""

    def build(dimensions: tuple[str, ...], cells: Cells, totals: Mapping[str, int] | None = None) -> Tally:
        tally = Tally(dimensions, totals=dict(totals or {}))
        for values, named in cells.items():
            counts = zero_counts()
            for name, count in named.items():
                counts[INDEX[name]] = count
            tally.cells[values] = counts
        return tally

    return build


@pytest.fixture(scope="session")
def traffic() -> Callable[..., Tally]:
    """traffic(seed, requests, **faults): one batch of paired requests.

    ``errors`` / ``invalid``: rates of (baseline, candidate). ``segment_errors`` / ``segment_changes``: rates
    of the candidate inside FAULTY. ``changes``: rate of changed labels. ``slower``: factor on the
    candidate's latency. ``weight``: percent of live traffic; ``live_errors``: rate of the candidate on it.
    ``delta``: mean score delta. ``same``: the candidate is the baseline.
    """

    def build(seed: int, requests: int, **faults: Any) -> Tally:
        random = np.random.default_rng(seed)
        columns = [random.choice(list(v), requests, p=list(v.values())) for v in VALUES]
        inside = np.logical_and.reduce([columns[DIMENSIONS.index(d)] == v for d, v in FAULTY.items()])

        def happens(rate: float) -> Any:
            return random.random(requests) < rate

        rates = faults.get("errors", (0.001, 0.001)), faults.get("invalid", (0.0, 0.0))
        base_bad, bad = (happens(rate) for rate in rates[0])
        live = happens(faults.get("weight", 0) / 100)
        bad = bad | (inside & happens(faults.get("segment_errors", 0.0)))
        bad = bad | (live & happens(faults.get("live_errors", 0.0)))
        base_invalid, invalid = (happens(rate) for rate in rates[1])
        changed = happens(faults.get("changes", 0.02)) | (inside & happens(faults.get("segment_changes", 0.0)))
        shared, ours, theirs = random.normal(size=(3, requests)) * 0.6
        base_ms = np.exp(1 + 0.84 * shared + 0.55 * ours)
        ms = faults.get("slower", 1.0) * np.exp(1 + 0.84 * shared + 0.55 * theirs)
        if faults.get("same"):
            bad, invalid, ms, changed = base_bad, base_invalid, base_ms, np.zeros(requests, bool)
        base_ok, ok = ~base_bad, ~bad
        base_invalid, invalid, changed = base_invalid & base_ok, invalid & ok, changed & base_ok & ok
        flags = {
            "requests": np.ones(requests, bool),
            "pairs": np.ones(requests, bool),
            "baseline_errors": base_bad,
            "candidate_errors": bad,
            "candidate_only_errors": bad & base_ok,
            "baseline_only_errors": base_bad & ok,
            "baseline_checked": base_ok,
            "baseline_invalid": base_invalid,
            "candidate_checked": ok,
            "candidate_invalid": invalid,
            "candidate_only_invalid": invalid & base_ok & ~base_invalid,
            "baseline_only_invalid": base_invalid & ok & ~invalid,
            "labels_compared": base_ok & ok,
            "label_changes": changed,
            "output_changes": changed,
            "live_candidate": live,
            "live_candidate_errors": live & bad,
            "live_candidate_checked": live & ok,
            "live_candidate_invalid": live & invalid,
            "live_baseline": ~live,
            "live_baseline_errors": ~live & base_bad,
        }
        cells: dict[tuple[str, ...], Any] = defaultdict(zero_counts)
        for row in range(requests):
            counts = cells[tuple(str(c[row]) for c in columns)]
            for name, flag in flags.items():
                counts[INDEX[name]] += flag[row]
        tally = Tally(DIMENSIONS, cells=dict(cells))
        ms = np.where(bad, np.inf, ms)
        tally.histograms |= latency.pair_histograms(base_ms[base_ok], ms[base_ok], latency.shifts(10.0))
        deltas = random.normal(faults.get("delta", 0.0), 0.2, requests)
        if faults.get("same"):
            deltas = np.zeros(requests)
        tally.histograms["scores.human_review_score"] = np.bincount(
            scores.bucket(deltas), minlength=scores.BUCKETS
        ).astype(np.int64)
        for name, count in (
            ("reports.candidate", 1),
            ("running_ms.candidate", 600_000),
            ("invalid.candidate.confidence.range", int(invalid.sum())),
        ):
            tally.bump(name, count)
        return tally

    return build


@pytest.fixture(scope="session")
def gates_of() -> Callable[[str], tuple[GateSpec, ...]]:
    """Gates from the text of ``promotion_gates``."""
    return lambda text: parse_gates(yaml.safe_load(text))


@pytest.fixture(scope="session")
def assess(gates_of: Callable[[str], tuple[GateSpec, ...]]) -> Callable[..., Assessment]:
    """assess(gates, whole, stage=whole, **evidence): fields of ``Evidence``, and its live rows as ``live``."""

    def judge(gates: str, whole: Tally, stage: Tally | None = None, **more: Any) -> Assessment:
        live = more.get("live")
        evidence = Evidence(
            whole=whole,
            stage=whole if stage is None else stage,
            panes=tuple(more.get("panes", ())),
            pane_starts_ms=tuple(more.get("pane_starts_ms", ())),
            live_batches=None if live is None else np.array(live, np.int64).reshape(-1, 4),
            minutes=more.get("minutes"),
            opening=more.get("opening"),
            instances=more.get("instances"),
            stage_name="shadow" if not more.get("weight") else str(more["weight"]),
            weight=more.get("weight", 0),
        )
        return assess_gates(gates_of(gates), evidence)

    return judge


@pytest.fixture(scope="session")
def first(assess: Callable[..., Assessment]) -> Callable[..., Verdict]:
    """The verdict of the first gate of :func:`assess`."""
    return lambda *args, **more: assess(*args, **more).verdicts[0]
