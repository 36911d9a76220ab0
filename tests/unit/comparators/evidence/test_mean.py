"""The betting e-process about a mean score delta."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from paritygate.comparators import scores
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import Claim


def counts(*deltas: float) -> scores.I64:
    return np.bincount(scores.bucket(np.array(deltas)), minlength=scores.BUCKETS).astype(np.int64)


@pytest.mark.parametrize("claim", ["above", "below"])
@pytest.mark.parametrize("limit", [-0.02, 0.0, 0.1])
def test_mean_is_one_at_the_limit(limit: float, claim: Claim) -> None:
    """Exact enumeration of a three-point law with that mean: E[E_n] = 1, skewed as it is."""
    points = (-1.0, 0.0, 0.5)
    low = 0.1
    high = (limit + low) / 0.5
    chances = (low, 1 - low - high, high)
    for total in (1, 3, 7):
        expected = 0.0
        for sample in product(range(3), repeat=total):
            chance = math.prod(chances[i] for i in sample)
            expected += chance * math.exp(float(mean(limit, claim).log_e(counts(*(points[i] for i in sample)))))

        assert expected == pytest.approx(1.0, abs=1e-9)


def test_order_and_batches_do_not_matter() -> None:
    """Wealth is additive over histograms, so partitions merge by adding counts."""
    test = mean(-0.02, "above")
    first, second = counts(0.1, -0.3, 0.02), counts(0.5, 0.5, -1.0)

    np.testing.assert_allclose(test.wealth(first + second), test.wealth(first) + test.wealth(second), atol=1e-12)
    np.testing.assert_allclose(test.wealth(np.stack([first, second]))[1], test.wealth(second), atol=1e-12)


def test_swapping_the_arms_mirrors_the_evidence() -> None:
    """Deltas turned round against the limit turned round give the same number."""
    found = counts(0.2, -0.05, 0.0, 0.31)

    assert float(mean(-0.02, "above").log_e(found)) == pytest.approx(float(mean(0.02, "below").log_e(found[::-1])))


def test_a_better_score_speaks_for_above() -> None:
    """Monotone in every single delta."""
    assert mean(-0.02, "above").log_e(counts(0.3, 0.0)) > mean(-0.02, "above").log_e(counts(0.2, 0.0))
    assert mean(-0.02, "below").log_e(counts(0.3, 0.0)) < mean(-0.02, "below").log_e(counts(0.2, 0.0))


def test_no_score_is_no_evidence() -> None:
    """E = 1 before any delta."""
    assert float(mean(0.0, "above").log_e(counts())) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("limit", [-1.0, 1.0, math.nan])
def test_an_impossible_limit_is_refused(limit: float) -> None:
    """A difference of scores lies inside -1..1."""
    with pytest.raises(ValueError, match="inside"):
        mean(limit, "above")
