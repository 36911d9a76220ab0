"""Tallies as matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators import tally
from paritygate.comparators.tally import COUNT_NAMES, Tally

CELLS = st.dictionaries(st.sampled_from("abcdefghi"), st.integers(-2, 2), max_size=9)


def of(cells: dict[str, int]) -> Tally:
    """A tally of cells with one count each."""
    return Tally(("d",), {(v,): np.eye(1, len(COUNT_NAMES), 3, np.int64)[0] * n for v, n in cells.items() if n})


def test_rows_are_the_cells_in_their_order() -> None:
    """One row per cell, in the order in which cells came; they sum to the counts over all cells."""
    counts = np.random.default_rng(3).integers(0, 1 << 40, (5, len(COUNT_NAMES)))
    made = Tally(("tier",), {(f"v{9 - at}",): row for at, row in enumerate(counts)})

    np.testing.assert_array_equal(made.rows(), counts)
    np.testing.assert_array_equal(made.overall(), counts.sum(axis=0))


def test_no_cell_is_no_row() -> None:
    """Nothing sums to zeros."""
    assert Tally(()).rows().shape == (0, len(COUNT_NAMES))
    assert Tally(()).overall().tolist() == [0] * len(COUNT_NAMES)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(parts=st.lists(st.tuples(CELLS, st.sampled_from([1, -1])), max_size=6))
def test_cells_add_up_whichever_way_they_are_put(parts: list[tuple[dict[str, int], int]]) -> None:
    """All anew or one by one: the sums of a dict, zeros left out, and what was added stays as it was."""
    want: dict[str, int] = {}
    for cells, sign in parts:
        want |= {v: want.get(v, 0) + sign * n for v, n in cells.items()}
    for anew in (0, 4, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tally, "_ANEW", anew)
            total = of({})
            for cells, sign in parts:
                before, added = total + of({}), of(cells)
                was = before + of({})
                total.add(added, sign)
                assert (added, before) == (of(cells), was)
        assert total == of(want)
