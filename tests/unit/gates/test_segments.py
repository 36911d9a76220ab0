"""Segment counts, weights and names."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.tally import INDEX, Tally, zero_counts
from paritygate.gates.segments import SegmentTable

laws = settings(derandomize=True, max_examples=40, deadline=None)
DIMENSIONS = ("b", "a", "c", "d")
values = st.tuples(st.sampled_from("xyz"), st.sampled_from("pq"), st.sampled_from("12"), st.just("only"))
cells = st.dictionaries(values, st.tuples(st.integers(1, 50), st.integers(0, 9)), max_size=12)


def table(found: dict[tuple[str, ...], tuple[int, int]], dimensions: tuple[str, ...] = DIMENSIONS) -> SegmentTable:
    tally = Tally(dimensions)
    for where, (requests, bad) in found.items():
        counts = zero_counts()
        counts[INDEX["requests"]], counts[INDEX["candidate_errors"]] = requests, min(bad, requests)
        tally.cells[where] = counts
    return SegmentTable(tally)


@laws
@given(cells)
def test_every_segment_counts_its_cells(found: dict[tuple[str, ...], tuple[int, int]]) -> None:
    """Each named segment holds exactly the requests whose values it names (checked one by one)."""
    segments = table(found)
    seen = set()
    for i in range(len(segments)):
        named = dict(part.split("=") for part in segments.name(i).split(" & "))
        inside = [c for v, c in found.items() if all(v[DIMENSIONS.index(d)] == x for d, x in named.items())]
        assert segments.count("requests")[i] == sum(c for c, _ in inside) > 0
        assert segments.count("candidate_errors")[i] == sum(min(c, b) for c, b in inside)
        seen.add(segments.name(i))

    varied = [d for d in range(4) if len({v[d] for v in found}) > 1]
    expected = sum(
        len({tuple(v[d] for d in chosen) for v in found})
        for depth in (1, 2, 3)
        for chosen in combinations(varied, depth)
    )
    assert len(seen) == len(segments) == expected


@laws
@given(cells)
def test_the_weights_are_at_most_one(found: dict[tuple[str, ...], tuple[int, int]]) -> None:
    """E = 1 everywhere makes a weighted mean of at most 1, whatever segments there are."""
    segments = table(found)

    assert segments.with_all(0.0, np.zeros(len(segments))) <= 1e-12


@laws
@given(cells)
def test_the_order_of_cells_does_not_matter(found: dict[tuple[str, ...], tuple[int, int]]) -> None:
    """Two tallies with the same content give the same table."""
    one, other = table(found), table(dict(reversed(found.items())))

    np.testing.assert_array_equal(one.counts, other.counts)
    assert [one.name(i) for i in range(len(one))] == [other.name(i) for i in range(len(other))]


def test_names_are_in_alphabetical_order() -> None:
    """The same segment has the same name whatever order the dimensions were declared in."""
    found: dict[tuple[str, ...], tuple[int, int]] = {("x", "p"): (9, 0), ("y", "q"): (9, 0)}
    names = {table(found, ("origin", "carrier_tier")).name(i) for i in range(6)}

    assert "carrier_tier=p & origin=x" in names


def grid(bad: Callable[[str, str], int]) -> dict[tuple[str, ...], tuple[int, int]]:
    return {(x, p): (100, bad(x, p)) for x in "xyz" for p in "pqr"}


def test_the_most_specific_explanation_is_named() -> None:
    """Damage in one combination names the combination; along one value, the value alone."""
    pair = table(grid(lambda x, p: 30 if (x, p) == ("y", "q") else 0), ("b", "a"))
    single = table(grid(lambda x, p: 10 if x == "y" else 0), ("b", "a"))

    for segments, name in ((pair, "a=q & b=y"), (single, "b=y")):
        worst = segments.worst("candidate_errors", "requests")
        assert worst is not None
        assert segments.name(worst) == name


def test_damage_everywhere_alike_names_nothing() -> None:
    """An even fault is not pinned on the largest segment; neither is no fault, nor no traffic."""
    for bad in (0, 5):
        assert table(grid(lambda x, p, bad=bad: bad), ("b", "a")).worst("candidate_errors", "requests") is None  # type: ignore[misc]
    assert table({}).worst("candidate_errors", "requests") is None


def test_a_tally_without_dimensions_has_no_segments() -> None:
    """All requests are the only segment then, and keep their weight."""
    segments = table({(): (50, 3)}, ())

    assert len(segments) == 0
    assert segments.with_all(2.0, np.empty(0)) == 2.0 + math.log(0.5)
    assert segments.alone(np.empty(0)) == -math.inf
