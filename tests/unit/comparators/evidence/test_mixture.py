"""Mixtures, start weights, e-BH and the estimate of what is still needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import (
    BLOCK,
    FEW,
    e_bh,
    geometric,
    log_mixture,
    log_mixture_of,
    more_needed,
    start_log_weights,
    uniform,
)

laws = settings(derandomize=True, max_examples=60, deadline=None)


@laws
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12))
def test_a_mixture_is_the_mean_of_e_values(logs: list[float]) -> None:
    """log_mixture equals the plain weighted mean where that does not overflow."""
    mixed = float(log_mixture(uniform(len(logs)), np.array(logs)))

    assert mixed == pytest.approx(math.log(sum(math.exp(v) for v in logs) / len(logs)))


def test_a_mixture_neither_overflows_nor_loses_the_impossible() -> None:
    """Log values of thousands stay exact; bets that are lost for good count as 0."""
    assert float(log_mixture(uniform(2), np.array([5000.0, -math.inf]))) == pytest.approx(5000 - math.log(2))
    assert float(log_mixture(uniform(2), np.array([-math.inf, -math.inf]))) == -math.inf


def test_leaving_out_what_is_negligible_changes_no_bit() -> None:
    """Many rows at once, most of whose terms are left out, are the same bits as each row by itself."""
    rows = np.random.default_rng(4).normal(0.0, 400.0, (FEW, 24))
    rows[5] = -math.inf

    mixed = log_mixture(uniform(), rows)
    np.testing.assert_array_equal(mixed, [float(log_mixture(uniform(), row)) for row in rows])


def test_blocks_of_rows_change_no_bit() -> None:
    """Counts of several blocks, spread over two axes or with one for all, say what each says by itself."""
    bad = np.arange(3 * (BLOCK // 2)).reshape(3, -1)
    total, test = np.array([[2_000], [3_000], [4_000]]), bernoulli(0.05, "above")

    found = log_mixture_of(uniform(), test.wealth, bad, total)
    expected = [[float(test.log_e(int(b), int(t[0]))) for b in row] for row, t in zip(bad, total, strict=True)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(log_mixture_of(uniform(), test.wealth, bad, 5_000), test.log_e(bad, 5_000))


@pytest.mark.parametrize("count", [0, 1, 24, 25, 500])
def test_start_weights_never_exceed_a_half(count: int) -> None:
    """However many panes there are, the weights of their starts sum to at most 1/2."""
    assert np.exp(start_log_weights(count)).sum() <= 0.5 + 1e-12


def test_a_start_keeps_its_weight() -> None:
    """Later panes change no earlier weight: else the mixture would be no e-process."""
    np.testing.assert_array_equal(start_log_weights(400)[:30], start_log_weights(30))


def test_e_bh_rejects_the_k_largest() -> None:
    """By hand: m = 4, a = 0.1, so k e_(k) >= 40 with e = 45, 21, 14, 1 holds up to k = 3."""
    rejected = e_bh(np.log(np.array([14.0, 45.0, 1.0, 21.0])), 0.1)

    np.testing.assert_array_equal(rejected, [True, True, False, True])
    assert not e_bh(np.log(np.array([39.0, 19.0, 13.0, 9.0])), 0.1).any()
    assert len(e_bh(np.empty(0), 0.1)) == 0


@laws
@given(st.lists(st.floats(-5, 12), min_size=1, max_size=30), st.integers(0, 29))
def test_e_bh_is_monotone(logs: list[float], place: int) -> None:
    """More evidence somewhere never takes a rejection away elsewhere."""
    more = np.array(logs)
    more[place % len(logs)] += 3.0

    assert (e_bh(more, 0.05) >= e_bh(np.array(logs), 0.05)).all()


def test_more_needed_tells_how_many_clean_requests_prove_a_limit() -> None:
    """200 clean requests against 1 %: 128 more make the published 328 (statistics.md section 1a)."""
    proof = bernoulli(0.01, "below")
    found = more_needed(proof.wealth(0, 200), 200, float(proof.log_e(0, 200)), math.log(20))

    assert found is not None
    assert abs(200 + found - 328) <= 10
    assert more_needed(proof.wealth(0, 400), 400, float(proof.log_e(0, 400)), math.log(20)) == 0


def test_more_needed_is_unknown_where_nothing_grows() -> None:
    """At the limit itself, and before any observation, no number is honest."""
    proof = bernoulli(0.01, "below")

    assert more_needed(proof.wealth(100, 5000), 5000, -3.0, math.log(20)) is None
    assert more_needed(proof.wealth(0, 0), 0, 0.0, math.log(20)) is None


def test_grids_are_shared_and_cannot_be_changed() -> None:
    """Cached grids are read-only, so that no caller can move another's bets."""
    with pytest.raises(ValueError, match="read-only"):
        geometric(0.1, 1.0)[0] = 2.0
