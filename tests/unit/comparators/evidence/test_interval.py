"""Intervals for display."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators import scores
from paritygate.comparators.evidence import interval
from paritygate.comparators.latency import BUCKETS, NEVER, bucket

laws = settings(derandomize=True, max_examples=50, deadline=None)


def histogram(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> scores.I64:
    return np.bincount(bucket(values), minlength=BUCKETS).astype(np.int64)


@laws
@given(st.integers(0, 500), st.integers(0, 5000))
def test_a_rate_lies_in_its_interval(bad: int, good: int) -> None:
    """The observed rate is inside, the bounds inside 0..1, and the mirrored counts mirror the bounds."""
    total = bad + good
    low, high = interval.rate(bad, total)

    assert 0.0 <= low <= (bad / total if total else 0.5) <= high <= 1.0
    assert interval.rate(good, total) == pytest.approx((1 - high, 1 - low), abs=1e-8)


def test_no_data_leaves_everything_possible() -> None:
    """Nothing seen, nothing excluded."""
    assert interval.rate(0, 0) == (0.0, 1.0)
    assert interval.mean(np.zeros(scores.BUCKETS, np.int64)) == (-1.0, 1.0)
    assert interval.quantile(np.zeros(BUCKETS, np.int64), 0.95) == (0.0, math.inf)
    empty = np.zeros(BUCKETS, np.int64)
    assert interval.quantile_ratio(empty, empty, 0.95) == (0.0, math.inf)


def test_a_rate_bound_is_where_the_mixture_reaches_its_level() -> None:
    """By hand: no bad one of n is ruled out at theta once (1-theta)^n <= a B(1/2, n+1/2) / B(1/2, 1/2)."""
    total, alpha = 300, 0.05
    mixed = math.gamma(0.5) * math.exp(math.lgamma(total + 0.5) - math.lgamma(total + 1)) / math.pi

    assert interval.rate(0, total, alpha)[1] == pytest.approx(1 - (alpha * mixed) ** (1 / total), abs=1e-8)


def test_a_rate_is_never_missed_more_often_than_declared() -> None:
    """Seeded: 200 rollouts of 600 requests at 3 %, looked at after each: misses stay in the 3-sigma band."""
    random = np.random.default_rng(11)
    rate, looks, runs = 0.03, 600, 200
    bad = np.cumsum(random.random((runs, looks)) < rate, axis=1)
    total = np.arange(1, looks + 1)
    lowest, highest = np.array([_counts_that_hold(rate, int(n)) for n in total]).T
    missed = ((bad < lowest) | (bad > highest)).any(axis=1).sum()

    assert missed <= runs * 0.05 + 3 * math.sqrt(runs * 0.05 * 0.95)


def _counts_that_hold(rate: float, total: int) -> tuple[int, int]:
    """Fewest and most bad ones whose interval holds ``rate``: the definition, solved for the count."""
    counts = np.arange(total + 1)
    logs = np.array([math.lgamma(k + 0.5) + math.lgamma(total - k + 0.5) for k in range(total + 1)])
    mixed = logs - math.lgamma(total + 1) - math.log(math.pi)
    inside = np.flatnonzero(counts * math.log(rate) + (total - counts) * math.log1p(-rate) - mixed > math.log(0.05))
    return int(inside[0]), int(inside[-1])


def test_a_difference_of_paired_rates() -> None:
    """No pairs: anything; many alike: around 0; a clear difference: beyond 0."""
    assert interval.rate_difference(0, 0, 0) == (-1.0, 1.0)
    low, high = interval.rate_difference(20, 20, 4000)
    assert low < 0 < high
    assert interval.rate_difference(300, 10, 4000)[0] > 0


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_quantile_bounds_hold_the_truth_and_shrink(p: float) -> None:
    """A lognormal's quantile is inside at every size, and more answers make it narrower (seeded)."""
    random = np.random.default_rng(3)
    values = np.exp(random.normal(3, 0.6, 20_000))
    truth = math.exp(3 + 0.6 * {0.5: 0.0, 0.95: 1.6448536}[p])
    widths = []
    for total in (300, 3000, 20_000):
        low, high = interval.quantile(histogram(values[:total]), p)
        assert low <= truth <= high
        widths.append(high / max(low, 1e-9))

    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1.12


def test_a_quantile_among_failures_has_no_upper_bound() -> None:
    """With a tenth of the answers missing the p95 is only known to be long."""
    counts = histogram(np.exp(np.random.default_rng(1).normal(3, 0.6, 2000)))
    counts[NEVER] += 220

    low, high = interval.quantile(counts, 0.95)
    assert low > 40.0
    assert high == math.inf


def test_a_ratio_of_equal_histograms_holds_one() -> None:
    """A/A: the interval contains 1, and doubling the candidate moves it to 2."""
    values = np.exp(np.random.default_rng(2).normal(3, 0.6, 20_000))
    low, high = interval.quantile_ratio(histogram(values), histogram(values), 0.95)
    low2, high2 = interval.quantile_ratio(histogram(values), histogram(2 * values), 0.95)

    assert low < 1.0 < high
    assert (low2, high2) == pytest.approx((2 * low, 2 * high))


def test_a_mean_lies_in_its_interval_which_shrinks() -> None:
    """Seeded normal deltas: the truth inside, the width falling like 1 / sqrt(n)."""
    deltas = np.random.default_rng(4).normal(0.05, 0.2, 16_000)
    widths = []
    for total in (100, 1000, 16_000):
        low, high = interval.mean(np.bincount(scores.bucket(deltas[:total]), minlength=scores.BUCKETS))
        assert low <= 0.05 <= high
        widths.append(high - low)

    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_a_constant_delta_still_has_a_width() -> None:
    """Ten equal scores do not make certainty."""
    low, high = interval.mean(np.bincount(scores.bucket(np.full(10, 0.1)), minlength=scores.BUCKETS))

    assert low < 0.0
    assert 0.1 < high < 1.0
