"""Numbers of events: exact means of a bounded difference, and what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.numbers import BUCKETS, PARTS, NumberRule, names, pair_counts, split
from paritygate.comparators.scores import values

TOKENS, CITED = NumberRule("tokens", 1.1, 4096.0), NumberRule("cited", 1.0, 1.0)
RULES = (TOKENS, CITED)
VALUE = st.one_of(st.none(), st.floats(-10.0, 1e6))


def _array(rows: list[Any]) -> Any:
    return np.array(rows, np.float64)


def test_the_mean_of_the_buckets_is_the_mean() -> None:
    """The split keeps it to a millionth, where rounding to the nearest bucket would lose up to 1/2000."""
    place = np.random.default_rng(1).uniform(-1.0, 1.0, 500)
    counts = split(place)

    assert counts.sum() == 500 * PARTS
    assert len(counts) == BUCKETS == BUCKET_COUNTS["numbers"]
    assert (counts * values()).sum() / counts.sum() == pytest.approx(place.mean(), abs=1e-6)
    assert np.flatnonzero(split(np.array([-1.0, 1.0]))).tolist() == [0, BUCKETS - 1]


@pytest.mark.parametrize("claim", ["above", "below"])
@pytest.mark.parametrize("limit", [-0.02, 0.05])
def test_a_split_never_adds_to_the_evidence(claim: Any, limit: float) -> None:
    """Wealth of one pair is at most what it would be where the difference really lies."""
    test = mean(limit, claim)
    for place in (-0.9995, -0.01234, 0.0, 0.000_4, 0.7777, 0.99999):
        exact = test.wealth(split(np.array([round(place, 6)])) / PARTS)
        stakes = np.expm1(test.wealth(np.eye(BUCKETS, dtype=np.int64)[BUCKETS // 2])) / -limit
        at_place = np.log1p(stakes * (place - limit))
        assert (exact <= at_place + 1e-6).all()


def test_values_are_held_to_the_cap() -> None:
    """A monster counts as the cap, in the difference and in the sums."""
    histograms, totals = pair_counts((TOKENS,), _array([(4096.0,)]), _array([(1e6,)]))

    again, _ = pair_counts((TOKENS,), _array([(9e9,)]), _array([(4096.0,)]))
    assert np.array_equal(histograms[TOKENS.name], again[TOKENS.name])
    assert totals["numbers.tokens.1.1.4096.0.sum_candidate"] == 1_000_000


def test_what_one_arm_did_not_give_is_counted_apart() -> None:
    """By the arm that lacks it; what neither gave is not about this number at all."""
    ours = _array([(1.0, None), (None, 0.5), (None, None), (3.0, 1.0)])
    theirs = _array([(None, None), (2.0, 0.5), (None, None), (3.0, None)])
    histograms, totals = pair_counts(RULES, ours, theirs)

    assert totals[TOKENS.total("without_candidate")] == totals[TOKENS.total("without_baseline")] == 1
    assert (totals[CITED.total("without_candidate")], totals[CITED.total("without_baseline")]) == (1, 0)
    assert {name: int(h.sum()) for name, h in histograms.items()} == {TOKENS.name: PARTS, CITED.name: PARTS}


def test_each_number_is_kept_once() -> None:
    """Two gates on one number read it once, and have a histogram each."""
    other = NumberRule("tokens", 1.25, 100.0)

    assert names((TOKENS, CITED, other)) == ("tokens", "cited")
    assert len({TOKENS.name, other.name}) == 2


@pytest.mark.parametrize("rule", [TOKENS, CITED, NumberRule("x", 1.0, 1e-3)])
def test_places_on_the_buckets_are_a_straight_line(rule: NumberRule) -> None:
    """The ends of the span are the ends of the buckets, and back again."""
    assert rule.on_buckets(-rule.slope * rule.cap) == pytest.approx(-1.0)
    assert rule.on_buckets(rule.cap) == pytest.approx(1.0)
    assert rule.off_buckets(rule.on_buckets(0.25 * rule.cap)) == pytest.approx(0.25 * rule.cap)
    assert CITED.on_buckets(-0.02) == pytest.approx(-0.02)


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.tuples(VALUE, VALUE), max_size=20), st.integers(0, 20))
def test_parts_in_any_order_add_up(pairs: list[tuple[float | None, float | None]], cut: int) -> None:
    """A whole is the sum of its parts, and swapping the arms mirrors a plain difference exactly."""
    shuffled = sorted(pairs, key=repr)
    whole = _of(CITED, pairs)

    assert np.array_equal(whole, _of(CITED, shuffled[:cut]) + _of(CITED, shuffled[cut:]))
    assert np.array_equal(whole[::-1], _of(CITED, [(b, a) for a, b in pairs]))


def _of(rule: NumberRule, pairs: list[tuple[float | None, float | None]]) -> Any:
    histograms, _ = pair_counts((rule,), _array([(a,) for a, _ in pairs]), _array([(b,) for _, b in pairs]))
    return histograms.get(rule.name, np.zeros(BUCKETS, np.int64))
