"""Score buckets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.scores import BUCKETS, bucket, values


def test_every_bucket_stands_for_its_own_delta() -> None:
    """bucket() undoes values()."""
    np.testing.assert_array_equal(bucket(values()), np.arange(BUCKETS))
    assert BUCKET_COUNTS["scores"] == len(values()) == BUCKETS


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.floats(-1.0, 1.0))
def test_rounding_is_to_a_thousandth_and_symmetric(delta: float) -> None:
    """A delta moves by at most 0.0005, and swapping the arms mirrors the bucket."""
    place = bucket(np.array([delta]))[0]

    assert abs(values()[place] - delta) <= 0.0005 + 1e-12
    assert bucket(np.array([-delta]))[0] == BUCKETS - 1 - place


def test_out_of_range_is_held_and_nan_refused() -> None:
    """Scores a hair outside of 0..1 do not leave the array; NaN never enters it."""
    np.testing.assert_array_equal(bucket(np.array([-1.2, 1.2])), [0, BUCKETS - 1])
    with pytest.raises(ValueError, match="NaN"):
        bucket(np.array([math.nan]))
