"""Latency buckets, quantiles and difference arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators import latency
from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.latency import BUCKETS, NEVER, bucket, edges, pair_histograms, quantile_ms, shifts

laws = settings(derandomize=True, max_examples=60, deadline=None)
answered = st.floats(min_value=1e-4, max_value=1e7, allow_nan=False)
pairs = st.lists(st.tuples(answered, st.one_of(answered, st.just(math.inf))), max_size=30)


def arrays(found: list[tuple[float, float]]) -> tuple[latency.F64, latency.F64]:
    return np.array([b for b, _ in found], float), np.array([c for _, c in found], float)


@laws
@given(st.lists(answered, min_size=2, max_size=30))
def test_buckets_keep_order(values: list[float]) -> None:
    """A longer latency is never in a lower bucket."""
    found = bucket(np.sort(np.array(values)))

    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= NEVER


def test_a_bucket_holds_its_lower_edge_and_not_its_upper_one() -> None:
    """The middle of a bucket is in it, and its edges bound it (half-open)."""
    lower = edges()
    middles = np.sqrt(lower[1:-1] * lower[2:])

    np.testing.assert_array_equal(bucket(middles), np.arange(1, BUCKETS - 1))
    assert bucket(np.array([1.0]))[0] == 1281
    assert lower[1281] == 1.0
    assert lower[NEVER] == 2.0**21


def test_zero_and_never_have_their_own_ends() -> None:
    """No latency is out of range: 0 is in the first bucket, +inf and 35 minutes in the last."""
    np.testing.assert_array_equal(
        bucket(np.array([0.0, 1e-9, 2.0**21, 1e300, math.inf])), [0, 0, NEVER, NEVER, NEVER]
    )


def test_nan_is_refused() -> None:
    """A NaN that got past the decoder must not become a fast answer."""
    with pytest.raises(ValueError, match="NaN"):
        bucket(np.array([1.0, math.nan]))


def test_seconds_only_move_the_buckets() -> None:
    """Another unit is another factor: every pair moves by the same number of buckets (times 2^10 here)."""
    values = np.array([0.37, 1.9, 41.0, 977.0])

    np.testing.assert_array_equal(bucket(values * 1024) - bucket(values), 10 * latency.SCALE)


@laws
@given(st.lists(st.floats(min_value=0.01, max_value=1e5), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_is_that_of_the_sorted_values_to_one_bucket(values: list[float], p: float) -> None:
    """The reported quantile differs from the order statistic by at most half a bucket (0.3 %)."""
    exact = sorted(values)[max(math.ceil(p * len(values) - 1e-9) - 1, 0)]
    found = quantile_ms(np.bincount(bucket(np.array(values)), minlength=BUCKETS), p)

    assert found is not None
    assert found == pytest.approx(exact, rel=2 ** (0.51 / latency.SCALE) - 1)


def test_a_quantile_of_nothing_is_none_and_of_failures_never() -> None:
    """Missing data is None; a quantile among failed requests is infinite."""
    nothing = np.zeros(BUCKETS, np.int64)
    failed = nothing.copy()
    failed[NEVER] = 3

    assert quantile_ms(nothing, 0.95) is None
    assert quantile_ms(failed, 0.95) == math.inf


@pytest.mark.parametrize("percent", [0.0, 5.0, 10.0, 50.0, 100.0])
def test_shifts_err_against_the_claim(percent: float) -> None:
    """E_bad's edge lies at or above R e_(j+1), E_ok's at or below R e_(j-1), each by less than one bucket."""
    ratio, width = 1 + percent / 100, 2 ** (1 / latency.SCALE)
    above, below = shifts(percent)

    assert ratio * width * (1 - 1e-12) <= width**above < ratio * width**2
    assert ratio / width**2 < width**below <= ratio / width * (1 + 1e-12)


@laws
@given(pairs, st.sampled_from([-1, 0, 16, 19, 128]))
def test_difference_arrays_give_the_paired_counts_at_every_edge(
    found: list[tuple[float, float]], shift: int
) -> None:
    """Summed up to an edge, they count the pairs in which only one arm reaches it (checked one by one)."""
    base, candidate = arrays(found)
    counts = pair_histograms(base, candidate, [shift])
    up, down = (np.cumsum(counts[f"exceed.{shift}.{way}"]) for way in ("up", "down"))

    at_base, at_candidate = bucket(base), bucket(candidate)
    for edge in range(0, BUCKETS, 31):
        slow_base = at_base >= edge
        slow_candidate = (at_candidate >= edge + shift) | (at_candidate == NEVER)
        assert up[edge] == (slow_candidate & ~slow_base).sum()
        assert down[edge] == (slow_base & ~slow_candidate).sum()


@laws
@given(pairs, st.integers(0, 30))
def test_pair_histograms_merge_by_addition(found: list[tuple[float, float]], cut: int) -> None:
    """Two batches added are the same as both at once, in any order of pairs."""
    at_once = pair_histograms(*arrays(found[::-1]), [19, 16])
    first, second = (pair_histograms(*arrays(part), [19, 16]) for part in (found[:cut], found[cut:]))

    for name, counts in at_once.items():
        np.testing.assert_array_equal(counts, first[name] + second[name])
        assert counts.dtype == np.int64


@laws
@given(st.lists(st.tuples(answered, answered), max_size=20))
def test_swapping_the_arms_swaps_up_and_down(found: list[tuple[float, float]]) -> None:
    """At shift 0 the two difference arrays mirror each other."""
    base, candidate = arrays(found)
    there, back = pair_histograms(base, candidate, [0]), pair_histograms(candidate, base, [0])

    np.testing.assert_array_equal(there["exceed.0.up"], back["exceed.0.down"])
    np.testing.assert_array_equal(there["latency.baseline"], back["latency.candidate"])


def test_what_is_no_pair_is_refused() -> None:
    """Two arrays of different length are no pairs."""
    with pytest.raises(ValueError, match="not pairs"):
        pair_histograms(np.array([1.0]), np.array([1.0, 2.0]), [0])


def test_every_family_has_a_length() -> None:
    """Reports can be read back: the arrays have the length that their family declares."""
    counts = pair_histograms(np.array([3.0]), np.array([4.0]), shifts(10.0))

    assert {len(c) for c in counts.values()} == {BUCKETS}
    assert all(name.partition(".")[0] in BUCKET_COUNTS for name in counts)
