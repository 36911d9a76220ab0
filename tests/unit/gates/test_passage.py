"""First passage: the inverse Gaussian and the exact law of the counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.gates.passage import InverseGaussian, exact_below, walk

BAD_GOOD = np.array([1, 0]), np.array([1, 1])

#: scipy.stats.invgauss.ppf(p, mean / shape, scale=shape), SciPy 1.16, for p = .1, .5, .9, .99.
SCIPY = [
    (10.0, 20.0, (3.5698511685306866, 8.043390412960015, 18.85995336126527, 35.80930331370918)),
    (1000.0, 50.0, (17.953515796790523, 98.46944341784783, 1620.995748684949, 18209.2775717015)),
    (3.0, 3000.0, (2.8794353307379237, 2.9985008743507673, 3.122490668645797, 3.2273221028811534)),
]


@pytest.mark.parametrize(("mean", "shape", "quantiles"), SCIPY)
def test_quantiles_are_those_of_scipy(mean: float, shape: float, quantiles: tuple[float, ...]) -> None:
    """The bisection needs no SciPy and gives its numbers, also where exp(2 shape / mean) overflows."""
    law = InverseGaussian(mean, shape)

    assert [law.quantile(p) for p in (0.1, 0.5, 0.9, 0.99)] == pytest.approx(quantiles, rel=1e-8)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.floats(1.0, 1e7), st.floats(0.01, 1e4), st.floats(0.01, 0.98))
def test_a_quantile_is_the_inverse_of_the_chance(mean: float, ratio: float, p: float) -> None:
    """cdf(quantile(p)) is p, and more chance takes longer."""
    law = InverseGaussian(mean, mean * ratio)

    assert law.cdf(law.quantile(p)) == pytest.approx(p, abs=1e-6)
    assert law.quantile(p) < law.quantile(p + 0.01)


def test_a_walk_without_variance_is_a_straight_line() -> None:
    """Every quantile is bar over drift."""
    gains = bernoulli(0.01, "below").wealth(*BAD_GOOD)
    law = walk(gains, np.array([0.0, 1.0]), 0.05)

    assert law is not None
    assert law.quantile(0.1) == law.quantile(0.9) == law.mean == pytest.approx(339, abs=1)


def test_nothing_grows_at_the_limit_or_beyond() -> None:
    """A rate at its limit, or above, is never proven to be below it."""
    gains = bernoulli(0.01, "below").wealth(*BAD_GOOD)

    assert walk(gains, np.array([0.01, 0.99]), 0.05) is None
    assert walk(gains, np.array([0.02, 0.98]), 0.05) is None


#: statistics.md section 1a (sim_bernoulli.py, looked at after every request): requests to prove "< 1 %".
@pytest.mark.parametrize(
    ("rate", "p50", "p90"),
    [
        (0.0, 328, 328),
        (0.001, 328, 942),
        (0.002, 328, 1356),
        (0.004, 1356, 3600),
        (0.006, 4020, 9960),
        (0.008, 28_400, 55_700),
    ],
)
def test_the_law_of_the_counts_is_the_simulated_one(rate: float, p50: int, p90: int) -> None:
    """p50 within 15 % and p90 within 6 %, which is what some hundred runs can tell."""
    law = exact_below(0.01, rate, 0.05)

    assert law is not None
    assert law.quantile(0.5) == pytest.approx(p50, rel=0.15)
    assert law.quantile(0.9) == pytest.approx(p90, rel=0.06)


#: The same simulations against the walk, whose tolerance is stated in statistics.md section 7.
@pytest.mark.parametrize(
    ("rate", "p50", "p90"), [(0.004, 1356, 3600), (0.006, 4020, 9960), (0.008, 28_400, 55_700)]
)
def test_the_walk_keeps_its_stated_tolerance(rate: float, p50: int, p90: int) -> None:
    """Absolute limits by the walk: 1 to 2.7 times too long at p50, within 18 % at p90."""
    law = walk(bernoulli(0.01, "below").wealth(*BAD_GOOD), np.array([rate, 1.0 - rate]), 0.05)

    assert law is not None
    assert 1.0 < law.quantile(0.5) / p50 < 2.7
    assert law.quantile(0.9) == pytest.approx(p90, rel=0.18)


def test_the_law_of_the_counts_is_that_of_seeded_traffic() -> None:
    """20,000 seeded runs of binomial counts give the same chances at every count at which a proof can come."""
    law = exact_below(0.005, 0.001, 0.05)
    assert law is not None
    random = np.random.default_rng(7)
    bad, proven, before = np.zeros(20_000, np.int64), np.zeros(20_000, np.bool_), 0
    for events, (at, chance) in enumerate(zip(law.at, law.chance, strict=True)):
        bad += random.binomial(at - before, 0.001, len(bad))
        proven |= bad <= events
        before = at
        assert proven.mean() == pytest.approx(chance, abs=0.012)


def test_too_many_events_are_left_to_the_walk() -> None:
    """Close to the limit thousands of events decide, and the law of the counts says that it is not for them."""
    assert exact_below(0.01, 0.0099, 0.05) is None


def test_a_law_that_ends_says_so() -> None:
    """Beyond the chance that was worked out there is an error, not a number."""
    law = exact_below(0.01, 0.003, 0.05)

    assert law is not None
    with pytest.raises(ValueError, match=r"known up to 0\.9"):
        law.quantile(0.9999)
