"""Segment counts, weights and names."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.tally import INDEX, Tally, zero_counts
from paritygate.gates.segments import ALL_LOG_WEIGHT, LARGE, SegmentTable, family_log_weight

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
@given(cells, st.randoms(use_true_random=False))
def test_single_dimensions_are_the_first_segments(
    found: dict[tuple[str, ...], tuple[int, int]], random: Any
) -> None:
    """Counted alone they are what they are among all, and the order in which cells came changes nothing."""
    segments = table(found)
    shuffled = list(found.items())
    random.shuffle(shuffled)
    for name in ("requests", "candidate_errors"):
        alone = segments.single(name)
        np.testing.assert_array_equal(alone, segments.count(name)[segments.depth == 1])
        np.testing.assert_array_equal(table(dict(shuffled)).single(name), alone)


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


@laws
@given(st.integers(1, 3), st.integers(1, 20_000))
def test_a_familys_stakes_sum_to_its_share(depth: int, last: int) -> None:
    """Weights never rise with the number of segments, and those at each appearance sum to the family's share."""
    share = math.exp(family_log_weight(depth, 1)) * 8 * 5.5
    weights = np.exp([family_log_weight(depth, count) for count in range(1, last + 1)])

    assert share == pytest.approx((1 / 4, 1 / 8, 1 / 8)[depth - 1])
    assert weights.sum() <= share + 1e-12
    assert (np.diff(weights) <= 0.0).all()


def test_the_stakes_use_their_share_up() -> None:
    """With a million segments all but a thousandth of the share has been staked: nothing is wasted either."""
    sizes = [8 << i for i in range(18)]
    born = np.diff(sizes, prepend=0)
    staked = sum(int(b) * math.exp(family_log_weight(1, s)) for b, s in zip(born, sizes, strict=True))

    assert sizes[-1] > 100 * LARGE
    assert 0.25 * (1 - 2e-3) < staked <= 0.25


def test_a_dimension_with_one_value_counts_for_the_price() -> None:
    """Its first value is old when a second one comes, so it must have had its stake before."""
    single: dict[tuple[str, ...], tuple[int, int]] = {(x, "only"): (9, 0) for x in "abcdefgh"}
    eight, nine = table({(x,): c for (x, _), c in single.items()}, ("b",)), table(single, ("b", "a"))

    assert len(eight) == len(nine) == 8
    log_e = np.zeros(8)
    assert nine.alone(log_e) == pytest.approx(eight.alone(log_e) - math.log(2.0))


def test_the_sum_stays_an_e_value_when_segments_open_as_it_suits_an_adversary() -> None:
    """Exact enumeration: each request comes in an old segment or a new one, whichever is worse for us, and is bad
    with chance 0.3, the limit; the mean of the sum never exceeds 1, at any look, and so no optional stop does."""
    limit, deepest = 0.3, 10
    evidence = bernoulli(limit, "above")

    def sums(state: tuple[tuple[int, int], ...]) -> float:
        log_e = np.array([float(evidence.log_e(bad, total)) for bad, total in state])
        bad, total = (sum(column) for column in zip(*state, strict=True))
        weights = np.full(len(state), family_log_weight(1, len(state)))
        everything = ALL_LOG_WEIGHT + float(evidence.log_e(bad, total))
        return math.exp(everything) + float(np.exp(weights + log_e).sum())

    @cache
    def most(state: tuple[tuple[int, int], ...], left: int) -> float:
        """Largest mean of the sum that any way to open segments and to stop reaches."""
        now = sums(state) if state else 0.0
        if not left:
            return now
        later = []
        for place in range(len(state) + 1):
            bad, total = state[place] if place < len(state) else (0, 0)
            rest = state[:place] + state[place + 1 :]
            ends = [tuple(sorted((*rest, (bad + b, total + 1)))) for b in (1, 0)]
            later.append(limit * most(ends[0], left - 1) + (1.0 - limit) * most(ends[1], left - 1))
        return max(now, *later)

    assert most((), deepest) <= 1.0


def test_segments_that_open_late_and_only_when_it_looks_bad_roll_nothing_back() -> None:
    """Seeded: an adversary opens a new segment whenever his newest one does well, 1,000 requests at the limit, a
    look after each: the sum reaches 20 in less than 5 % of 300 runs."""
    random, limit, runs, requests = np.random.default_rng(4), 0.05, 300, 1000
    evidence = bernoulli(limit, "above")
    grid = np.array(evidence.log_e(np.arange(101)[:, None], np.arange(401)[None, :]))
    bad, total = np.zeros((runs, requests + 1), np.int64), np.zeros((runs, requests + 1), np.int64)
    newest, every, rows = np.zeros(runs, np.int64), np.zeros(runs, np.int64), np.arange(runs)
    older, current = np.zeros(runs), np.zeros(runs)
    alarmed = np.zeros(runs, np.bool_)
    by_count = np.exp([family_log_weight(1, count + 1) for count in range(requests + 1)])
    for seen in range(1, requests + 1):
        leave = (grid[bad[rows, newest], total[rows, newest]] < -0.2) | (total[rows, newest] >= 400)
        newest, older = newest + leave, older + leave * current
        fails = random.random(runs) < limit
        bad[rows, newest] += fails
        total[rows, newest] += 1
        every += fails
        current = np.exp(grid[bad[rows, newest], total[rows, newest]])
        weights = by_count[newest]
        whole = np.exp(ALL_LOG_WEIGHT + evidence.log_e(every, np.full(runs, seen)))
        alarmed |= whole + weights * (older + current) >= 20.0

    assert newest.max() > 30
    assert alarmed.mean() < 0.05
