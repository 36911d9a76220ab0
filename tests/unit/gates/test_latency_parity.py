"""Latency parity: where the candidate is slower, without a rollback from it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from paritygate.comparators.measuring import CLEARLY
from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Assessment, assess_gates
from paritygate.gates.evidence import Evidence
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

Build = Callable[..., Tally]
R = 1.1


def served(
    random: np.random.Generator, shares: dict[str, float], factors: dict[str, float], pairs: int
) -> dict[str, dict[str, int]]:
    """Counts by endpoint: shared load, own noise, the candidate ``factor`` times slower."""
    cells = {}
    for endpoint, share in shares.items():
        count = int(pairs * share)
        ratio = factors.get(endpoint, 1.0) * np.exp(0.46 * random.normal(size=count))
        cells[endpoint] = {
            "requests": count, "pairs": count,
            "slower": int((ratio > CLEARLY * R).sum()), "faster": int((CLEARLY * ratio < R).sum()),
        }  # fmt: skip
    return cells


def judged(tally_of: Build, cells: dict[str, dict[str, int]], gates: tuple[GateSpec, ...]) -> Assessment:
    whole = tally_of(("endpoint",), {(name,): counts for name, counts in cells.items()})
    return assess_gates(gates, Evidence(whole=whole, stage=whole, stage_name="shadow", weight=0))


def of(found: Assessment) -> Verdict | None:
    return next((v for v in found.verdicts if v.gate == "latency_parity"), None)


SHARES = {"/score": 0.02, "/predict": 0.9, "/health": 0.08}


def test_a_small_endpoint_that_is_three_times_slower_is_named(
    tally_of: Build, gates_of: Callable[[str], tuple[GateSpec, ...]]
) -> None:
    """2 % of the traffic: no quantile of all requests shows it; it holds the promotion, and never rolls back."""
    cells = served(np.random.default_rng(2), SHARES, {"/score": 3.0}, 5000)
    found = judged(tally_of, cells, gates_of("latency_p95_ms: {maximum_regression_percent: 10}"))
    verdict = of(found)

    assert verdict is not None
    assert (verdict.kind, verdict.reason_code) == (VerdictKind.INCONCLUSIVE, "segment_flagged")
    assert verdict.required
    assert verdict.segment == found.worst_segment == "endpoint=/score"
    assert verdict.reason.startswith("endpoint=/score: 9")
    assert " of the pairs clearly slower, " in verdict.reason
    assert " pp [" in verdict.reason
    finding = found.segment_findings[0]
    assert finding.measure == "latency_parity"
    assert 0.5 < finding.effect_low < finding.effect <= finding.effect_high


def test_the_same_speed_and_what_a_gate_allows_are_no_finding(
    tally_of: Build, gates_of: Callable[[str], tuple[GateSpec, ...]]
) -> None:
    """At the baseline's speed, and at exactly R times its latency everywhere: 300 runs, hardly a finding."""
    random, gates = np.random.default_rng(3), gates_of("error_rate: {maximum: 0.01}")
    flagged = 0
    for run in range(300):
        factors = dict.fromkeys(SHARES, R) if run % 2 else {}
        flagged += of(judged(tally_of, served(random, SHARES, factors, 2000), gates)) is not None

    assert flagged <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)


def test_where_latency_is_advisory_so_is_this(
    tally_of: Build, gates_of: Callable[[str], tuple[GateSpec, ...]]
) -> None:
    """Who only wants to see latency is not held by it."""
    cells = served(np.random.default_rng(2), SHARES, {"/score": 3.0}, 5000)
    gates = gates_of(
        "latency_p95_ms: {maximum_regression_percent: 10, advisory: true}\nerror_rate: {maximum: 0.01}"
    )
    verdict = of(judged(tally_of, cells, gates))

    assert verdict is not None
    assert not verdict.required
