"""How long gates on numbers, labels and timeouts need."""

from __future__ import annotations

import numpy as np
import pytest

from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.numbers import PARTS, split
from paritygate.gates.power import Need, Sample, needed, provable_limit
from paritygate.gates.spec import GateSpec, parse_gates
from paritygate.gates.truth import Truth


def _gate(name: str, **entry: object) -> GateSpec:
    return parse_gates({name: entry})[0]


def _need(gate: GateSpec, **assumed: float) -> Need:
    truth = Truth()
    for name, value in assumed.items():
        truth = truth.with_assumption(name, value)
    return needed(gate, truth, 0.05)


TOKENS = _gate("completion_tokens", maximum_regression_percent=10, cap=4096)
CITED = _gate("citation_rate", minimum_delta=-0.05)
SHIFT = _gate("label_shift", maximum=0.05)
TIMEOUTS = _gate("timeout_rate", maximum=0.01)


@pytest.mark.parametrize(
    ("gate", "assumed"),
    [
        (TOKENS, {"number_ratio": 1.2}),
        (CITED, {"number_delta": -0.06}),
        (SHIFT, {"label_change_rate": 0.49}),
        (TIMEOUTS, {"timeout_rate": 0.02}),
    ],
)
def test_a_healthy_candidate_is_proven_and_a_worse_one_needs_longer(
    gate: GateSpec, assumed: dict[str, float]
) -> None:
    """At the defaults every new gate has a time; beyond its limit, or hard to tell, none or a longer one."""
    healthy, sick = _need(gate), _need(gate, **assumed)

    assert healthy.sample is Sample.PAIRS
    assert healthy.p50 is not None
    assert healthy.p90 is not None
    assert gate.minimum_samples <= healthy.p50 <= healthy.p90
    assert sick.p90 is None or sick.p90 > healthy.p90


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_the_time_is_about_that_of_simulated_pairs(sigma: float) -> None:
    """Within a factor of 1.5 at the median (30 seeded streams of the assumed law)."""
    need = _need(TOKENS, number_sigma=sigma)
    random = np.random.default_rng(3)
    test, rule = mean(0.1 / 2.1, "below"), TOKENS.number_rule()
    assert rule is not None
    assert rule.on_buckets(0.0) == pytest.approx(0.1 / 2.1)
    found = []
    for _ in range(30):
        shared = random.normal(size=20_000)
        other = 0.7 * shared + np.sqrt(0.51) * random.normal(size=20_000)
        base, theirs = (np.minimum(0.05 * np.exp(sigma * z), 1.0) for z in (shared, other))
        places = (2.0 * (theirs - 1.1 * base) + 0.1) / 2.1
        counts = np.cumsum([split(part) for part in places.reshape(-1, 200)], axis=0) / PARTS
        proven = test.log_e(counts) >= np.log(20.0)
        found.append(200 * (1 + int(np.argmax(proven))) if proven.any() else 20_000)

    assert need.p50 is not None
    assert need.p50 / 1.5 <= float(np.median(found)) <= 1.5 * need.p50


def test_advice_finds_a_limit_that_can_be_proven() -> None:
    """Wider for regressions and for both deltas."""
    most = _gate("abstention_rate", maximum_delta=0.001)

    for gate in (TOKENS, CITED, most, SHIFT):
        tight = needed(gate, Truth(), 0.05).p50
        assert tight is not None
        limit = provable_limit(gate, Truth(), 0.05, max(tight / 2.0, 150.0))
        assert limit is None or abs(limit) >= abs(gate.limit)
    assert provable_limit(most, Truth(), 0.05, 2000.0) is not None
