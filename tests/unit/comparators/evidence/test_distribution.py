"""The distance of two distributions with a radius that may be looked at all the time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paritygate.comparators.evidence.distribution import FROM, gap_radius, largest_gap, pairs_until, radius


@pytest.mark.parametrize(
    ("count", "expected"), [(1000, 0.083), (5000, 0.0378), (20_000, 0.0191), (100_000, 0.0087)]
)
def test_the_radius_is_the_published_one(count: int, expected: float) -> None:
    """Howard & Ramdas 2022, Theorem 2, at alpha = 0.05 from 100 observations on."""
    assert radius(count, 0.05) == pytest.approx(expected, abs=6e-4)
    assert radius(FROM - 1, 0.05) == math.inf


def test_more_observations_narrow_it_and_more_certainty_widens_it() -> None:
    """Monotone in both; a gap is never farther than 1 from anything."""
    sizes = np.unique(np.geomspace(FROM, 1e7, 200).astype(int)).tolist()
    radii = [radius(n, 0.05) for n in sizes]

    assert radii == sorted(radii, reverse=True)
    assert radius(1000, 0.01) > radius(1000, 0.05)
    assert gap_radius(0, 0.05) == 1.0


def test_the_true_gap_is_left_in_one_of_twenty_streams_at_most() -> None:
    """400 streams of 20,000 dependent pairs, whose true gap is 0.1, a look at every 50th."""
    random = np.random.default_rng(7)
    missed = 0
    looks = np.arange(FROM, 20_000, 50)
    radii = np.array([gap_radius(int(n), 0.05) for n in looks])
    for _ in range(400):
        ours = random.random(20_000)
        theirs = np.where((ours < 0.5) & (random.random(20_000) < 0.2), ours + 0.5, ours)  # shares at 0.5: 0.5, 0.4
        gaps = np.zeros(len(looks))
        for edge in np.arange(0.05, 1.0, 0.05):
            below = np.cumsum((ours < edge).astype(np.int64) - (theirs < edge))
            gaps = np.maximum(gaps, np.abs(below[looks - 1]) / looks)
        missed += bool((np.abs(gaps - 0.1) > radii).any())

    assert missed / 400 <= 0.05


def test_the_gap_is_largest_where_the_shares_differ_most() -> None:
    """Symmetric, 0 for equal shares, 1 for disjoint ones, 0 of nothing."""
    a, b = np.array([10, 0, 0]), np.array([0, 3, 3])

    assert largest_gap(a, b) == largest_gap(b, a) == 1.0
    assert largest_gap(b, 5 * b) == 0.0
    assert largest_gap(a, np.zeros(3, np.int64)) == 0.0
    assert largest_gap(np.array([5, 5]), np.array([6, 4])) == pytest.approx(0.1)


def test_the_pairs_that_a_proof_takes_are_enough_and_not_one_too_many() -> None:
    """At the answer the gap is surely below the limit, one pair earlier it is not; at the limit never."""
    until = pairs_until(0.02, 0.1, 0.05)

    assert until is not None
    assert 0.02 + gap_radius(until, 0.05) < 0.1 <= 0.02 + gap_radius(until - 1, 0.05)
    assert pairs_until(0.1, 0.1, 0.05) is None
    assert (pairs_until(0.0, 0.1, 0.05, 1.0) or 0) > (pairs_until(0.0, 0.1, 0.05) or 0) == 2989
