"""Confidence of pairs in steps; what one arm did not give is a difference."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.confidence import BUCKETS, STEPS, bucket, pair_histograms

VALUES = st.one_of(st.floats(0.0, 1.0), st.just(float("nan")))


def test_every_confidence_has_a_bucket() -> None:
    """0 is in the first, 1 in the last step, what lies outside is held inside, NaN stands apart."""
    found = bucket(np.array([-0.5, 0.0, 0.049, 0.05, 0.5, 0.999, 1.0, 7.0, np.nan]))

    assert found.tolist() == [0, 0, 0, 1, 10, 19, 19, 19, STEPS]
    assert BUCKET_COUNTS["confidence"] == BUCKETS == STEPS + 1


def test_a_confidence_that_neither_gave_is_no_observation() -> None:
    """One arm's alone is one for both: the other gave none."""
    nan = float("nan")
    found = pair_histograms(np.array([nan, 0.5, nan]), np.array([nan, nan, 0.5]))

    assert found["confidence.baseline"].sum() == found["confidence.candidate"].sum() == 2
    assert found["confidence.candidate"][STEPS] == found["confidence.baseline"][STEPS] == 1
    assert pair_histograms(np.array([nan]), np.array([nan])) == {}


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=30), st.integers(0, 30))
def test_parts_in_any_order_add_up(pairs: list[tuple[float, float]], cut: int) -> None:
    """The histograms of a whole are the sums of those of its parts, whatever the order."""
    shuffled = sorted(pairs, key=repr)
    whole = _of(pairs)

    assert np.array_equal(whole, _of(shuffled[:cut]) + _of(shuffled[cut:]))
    assert whole[0].sum() == whole[1].sum()


def _of(pairs: list[tuple[float, float]]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    ours, theirs = np.array(pairs, np.float64).reshape(-1, 2).T
    found = pair_histograms(ours, theirs)
    nothing = np.zeros(BUCKETS, np.int64)
    return np.vstack([found.get(f"confidence.{arm}", nothing) for arm in ("baseline", "candidate")])
