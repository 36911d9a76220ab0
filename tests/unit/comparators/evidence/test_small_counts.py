"""The table of small counts says what the function says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.paired import paired, worse_than
from paritygate.comparators.evidence.small_counts import FEW, LIMIT
from paritygate.gates.findings import log_e_worse

counts = st.lists(st.tuples(st.integers(0, 2 * LIMIT), st.integers(0, 2 * LIMIT)), min_size=1, max_size=3 * FEW)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(counts)
def test_a_table_says_what_the_function_says(pairs: list[tuple[int, int]]) -> None:
    """Small counts, large ones and both together: the very bits of the evidence itself."""
    worse, better = np.array(pairs, np.int64).T

    for claim in ("above", "below"):
        expected = paired(0.0, claim).log_e(worse, better, 0)
        np.testing.assert_array_equal(worse_than(claim)(worse, better), expected)


def test_a_table_keeps_the_shape() -> None:
    """Rows of edges come back as rows of edges, and each pair of counts at its own place."""
    worse, better = np.divmod(np.arange(60).reshape(4, 15), 7)

    found = worse_than("above")(worse, better)
    assert found.shape == (4, 15)
    for row, column in np.ndindex(4, 15):
        alone = paired(0.0, "above").log_e(int(worse[row, column]), int(better[row, column]), 0)
        assert found[row, column] == float(alone)


def test_counts_below_zero_are_no_place_in_the_table() -> None:
    """Difference arrays of a broken source may sum to less than nothing; that is computed like any count."""
    worse, better = np.arange(-FEW, FEW), np.full(2 * FEW, 3)

    np.testing.assert_array_equal(worse_than("above")(worse, better), paired(0.0, "above").log_e(worse, better, 0))


def test_evidence_of_segments_is_alike_for_one_and_for_many() -> None:
    """A segment's evidence against the baseline does not depend on how many segments there are."""
    worse, better = np.arange(200) * 2, np.arange(200)
    alone = [float(log_e_worse(worse[i : i + 1], better[i : i + 1])[0]) for i in range(200)]

    np.testing.assert_array_equal(log_e_worse(worse, better), alone)
