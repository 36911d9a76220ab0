"""The e-process about one rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import Claim

laws = settings(derandomize=True, max_examples=60, deadline=None)


def expectation(limit: float, claim: Claim, rate: float, total: int) -> float:
    """E[E_n] by summing over the binomial distribution."""
    counts = np.arange(total + 1)
    chance = [math.comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in counts]
    return float(np.dot(chance, np.exp(bernoulli(limit, claim).log_e(counts, np.full(total + 1, total)))))


@pytest.mark.parametrize("limit", [0.003, 0.01, 0.05, 0.5, 0.995])
@pytest.mark.parametrize("claim", ["above", "below"])
def test_mean_is_one_at_the_limit(limit: float, claim: Claim) -> None:
    """Exact enumeration: E[E_n] = 1 at the boundary for all n <= 30."""
    for total in range(31):
        assert expectation(limit, claim, limit, total) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_mean_is_at_most_one_inside_the_null(limit: float, part: float) -> None:
    """Exact enumeration: E[E_n] <= 1 for every rate that the null allows."""
    for total in (1, 2, 7, 30):
        assert expectation(limit, "above", part * limit, total) <= 1.0 + 1e-12
        assert expectation(limit, "below", 1.0 - part * (1.0 - limit), total) <= 1.0 + 1e-12


@laws
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.01, 0.2, 0.7]))
def test_one_more_bad_event_speaks_for_above_and_against_below(bad: int, good: int, limit: float) -> None:
    """E_bad grows and E_ok shrinks when a good observation turns bad."""
    total = bad + good + 1

    assert bernoulli(limit, "above").log_e(bad + 1, total) > bernoulli(limit, "above").log_e(bad, total)
    assert bernoulli(limit, "below").log_e(bad + 1, total) < bernoulli(limit, "below").log_e(bad, total)


@laws
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_wealth_is_additive(bad: int, good: int, more_bad: int, more_good: int) -> None:
    """The wealth of two parts is the sum: partitions merge by adding counts."""
    test = bernoulli(0.02, "above")
    together = test.wealth(bad + more_bad, bad + good + more_bad + more_good)
    parts = test.wealth(bad, bad + good) + test.wealth(more_bad, more_bad + more_good)

    np.testing.assert_allclose(together, parts, atol=1e-9)


def test_published_values() -> None:
    """statistics.md section 1a: one failure gives E = 60, three in a row 4.7e5, 328 clean ones prove 1 %."""
    above, below = bernoulli(0.01, "above"), bernoulli(0.01, "below")

    assert math.exp(above.log_e(1, 1)) == pytest.approx(60, abs=0.5)
    assert math.exp(above.log_e(3, 3)) == pytest.approx(4.7e5, rel=0.02)
    assert below.log_e(0, 327) < math.log(20) <= below.log_e(0, 328)


def test_no_observation_is_no_evidence() -> None:
    """E = 1 before any data, on both sides."""
    assert bernoulli(0.01, "above").log_e(0, 0) == pytest.approx(0.0, abs=1e-12)
    assert bernoulli(0.01, "below").log_e(0, 0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_limit_that_cannot_be_proven_is_refused(limit: float) -> None:
    """0, 1, NaN and what is no rate raise."""
    with pytest.raises(ValueError, match="inside"):
        bernoulli(limit, "above")


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("claim", ["above", "below"])
def test_many_rows_are_what_each_is_alone(limit: float, claim: Claim) -> None:
    """Of many rows the far bets of some are left out: log E has the bits of each row by itself, sick or healthy."""
    random = np.random.default_rng(7)
    total = random.integers(1, 20_000, 1_500)
    bad = random.binomial(total, random.choice([0.0, 0.3 * limit, limit, min(4.0 * limit, 1.0), 1.0], len(total)))
    test = bernoulli(limit, claim)

    alone = [float(test.log_e(one, of)) for one, of in zip(bad.tolist(), total.tolist(), strict=True)]
    np.testing.assert_array_equal(test.log_e(bad, total), alone)
    np.testing.assert_array_equal(test.log_e(bad.reshape(30, 50), total.reshape(30, 50)).ravel(), alone)
