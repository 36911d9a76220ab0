"""Segments: codes, missing values, and the bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.known import MAX_VALUE_CHARS
from paritygate.comparators.segments import OTHER, Vocabulary
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.prediction import Arm
from tests.support.join_bench import PRIMARY_TOPIC, prediction


def batch_of(*segments: dict[str, str], endpoint: str = "/e") -> EventBatch:
    """One event per map of segment values."""
    events = [prediction(i, Arm.BASELINE, 0, segments=s, endpoint=endpoint) for i, s in enumerate(segments)]
    return EventBatch.of(PRIMARY_TOPIC, 0, [(i, 0, e) for i, e in enumerate(events)])


def names(vocabulary: Vocabulary, batch: EventBatch, rows: Sequence[int] | None = None) -> list[tuple[str, ...]]:
    """Values of the cell of each row."""
    picked = np.array(range(len(batch)) if rows is None else rows, np.int64)
    return [vocabulary.values(cell) for cell in vocabulary.cells(batch, picked).tolist()]


def test_a_cell_is_a_combination_in_declared_order() -> None:
    """Values follow the dimensions; endpoint is read from its own field; a missing value is empty."""
    vocabulary = Vocabulary(("tier", "endpoint", "place"), 10, 10)
    batch = batch_of({"place": "EWR", "tier": "gold"}, {"place": "JFK"}, {}, {"tier": "gold", "place": "EWR"})

    assert names(vocabulary, batch) == [
        ("gold", "/e", "EWR"), ("", "/e", "JFK"), ("", "/e", ""), ("gold", "/e", "EWR"),
    ]  # fmt: skip
    assert names(Vocabulary((), 10, 10), batch) == [()] * 4
    assert not Vocabulary((), 10, 10).overflowed().any()


def test_a_declared_endpoint_segment_wins_over_the_field() -> None:
    """A publisher may refine the endpoint in the map."""
    assert names(Vocabulary(("endpoint",), 10, 10), batch_of({"endpoint": "/v2"})) == [("/v2",)]


def test_values_beyond_the_bound_are_other() -> None:
    """The first values keep their places for good, the rest share one; a missing value takes a place too."""
    vocabulary = Vocabulary(("place",), 3, 100)
    first = batch_of({"place": "c"}, {"place": "a"}, {}, {"place": "b"}, {"place": "a"})

    assert names(vocabulary, first) == [("c",), ("a",), ("",), (OTHER,), ("a",)]
    assert names(vocabulary, batch_of({"place": "b"}, {"place": "c"})) == [(OTHER,), ("c",)]


def test_cells_beyond_the_bound_are_other_as_a_whole() -> None:
    """A combination that finds no room counts where all dimensions are ``__other__``."""
    vocabulary = Vocabulary(("a", "b"), 100, 2)
    batch = batch_of(*({"a": str(i), "b": str(i)} for i in range(5)))
    found = names(vocabulary, batch)

    assert found == [("0", "0"), ("1", "1")] + [(OTHER, OTHER)] * 3
    assert vocabulary.overflowed()[vocabulary.cells(batch, np.arange(5))].tolist() == [0, 0, 1, 1, 1]


def test_only_rows_that_are_taken_bring_values() -> None:
    """Rows of other rollouts, or read again after a restart, take no places."""
    vocabulary = Vocabulary(("place",), 1, 10)
    batch = batch_of({"place": "foreign"}, {"place": "ours"})

    assert names(vocabulary, batch, [1]) == [("ours",)]
    assert names(vocabulary, batch, []) == []


def test_long_values_are_cut() -> None:
    """A vocabulary is bounded in bytes, too."""
    assert names(Vocabulary(("a",), 5, 5), batch_of({"a": "x" * 10_000})) == [("x" * MAX_VALUE_CHARS,)]


def test_many_dimensions_do_not_overflow_their_codes() -> None:
    """Forty dimensions of fifty values: combinations stay apart."""
    dimensions = tuple(f"d{i}" for i in range(40))
    rows = [{d: str((k * 7 + i) % 50) for i, d in enumerate(dimensions)} for k in range(60)]
    found = names(Vocabulary(dimensions, 50, 100), batch_of(*rows))

    assert found == [tuple(row[d] for d in dimensions) for row in rows]


def test_codes_survive_the_snapshot() -> None:
    """A vocabulary read back gives the same codes, and goes on from there."""
    vocabulary = Vocabulary(("a", "b"), 3, 3)
    batch = batch_of({"a": "x", "b": "1"}, {"a": "y"}, {"a": "x", "b": "2"}, {"a": "z", "b": "3"})
    codes = vocabulary.cells(batch, np.arange(4)).tolist()
    again = Vocabulary(("a", "b"), 3, 3)
    again.load(vocabulary.to_plain())

    assert again.cells(batch, np.arange(4)).tolist() == codes
    assert names(again, batch) == names(vocabulary, batch)
    assert len(again) == len(vocabulary)


VALUES = st.sampled_from(
    ["", "a", "b", OTHER, "eight888", "nine99999", "nine99998", "ü" * 127, "ü" * 128, "ü" * 129]
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    rows=st.lists(st.tuples(VALUES | st.none(), VALUES | st.none(), VALUES), min_size=1, max_size=40),
    bounds=st.tuples(st.integers(1, 6), st.integers(1, 12)), cut=st.integers(0, 40),
)  # fmt: skip
def test_cells_are_those_of_plain_dicts(
    rows: list[tuple[str | None, str | None, str]], bounds: tuple[int, int], cut: int
) -> None:
    """Any values in batches of any size, with room or without: first come, first served, the rest is other."""
    known: list[dict[str, str]] = [{OTHER: OTHER}, {OTHER: OTHER}, {OTHER: OTHER}]
    cells: set[tuple[str, ...]] = {(OTHER,) * 3}
    want = []
    for row in rows:
        short = [(value or "")[:MAX_VALUE_CHARS] for value in row]
        for values, value in zip(known, short, strict=True):
            values.setdefault(value, value if len(values) <= bounds[0] else OTHER)
            if values[value] != value:
                del values[value]
        cell = tuple(values.get(value, OTHER) for values, value in zip(known, short, strict=True))
        if cell not in cells and len(cells) <= bounds[1]:
            cells.add(cell)
        want.append(cell if cell in cells else (OTHER,) * 3)
    maps = [{d: v for d, v in zip("xyz", row, strict=True) if v is not None} for row in rows]
    vocabulary = Vocabulary(("x", "y", "z"), *bounds)

    found = [cell for part in (maps[:cut], maps[cut:]) for cell in names(vocabulary, batch_of(*part))]
    assert found == want
    again = Vocabulary(("x", "y", "z"), *bounds)
    again.load(vocabulary.to_plain())
    assert names(again, batch_of(*maps)) == names(vocabulary, batch_of(*maps))
