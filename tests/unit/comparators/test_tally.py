"""Tallies as matrices."""

from __future__ import annotations

import numpy as np

from paritygate.comparators.tally import COUNT_NAMES, Tally


def test_rows_are_the_cells_in_their_order() -> None:
    """One row per cell, in the order in which cells came; they sum to the counts over all cells."""
    counts = np.random.default_rng(3).integers(0, 1 << 40, (5, len(COUNT_NAMES)))
    tally = Tally(("tier",), {(f"v{9 - at}",): row for at, row in enumerate(counts)})

    np.testing.assert_array_equal(tally.rows(), counts)
    np.testing.assert_array_equal(tally.overall(), counts.sum(axis=0))


def test_no_cell_is_no_row() -> None:
    """Nothing sums to zeros."""
    assert Tally(()).rows().shape == (0, len(COUNT_NAMES))
    assert Tally(()).overall().tolist() == [0] * len(COUNT_NAMES)
