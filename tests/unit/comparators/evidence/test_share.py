"""The share-of-bad-events test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.share import ShareEvidence, share

laws = settings(derandomize=True, max_examples=40, deadline=None)
batch = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 9), st.integers(0, 9))


def rows(*batches: tuple[int, int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(batches, np.int64).reshape(-1, 4)


@pytest.mark.parametrize(("candidate", "baseline"), [(1, 9), (3, 17), (10, 20), (15, 15), (29, 1)])
def test_hypergeometric_mean_is_at_most_one(candidate: int, baseline: int) -> None:
    """Exact enumeration with the realised share: given the margins, E[E] <= 1 for every number of bad ones."""
    total = candidate + baseline
    for bad in range(total + 1):
        mean = 0.0
        for ours in range(max(0, bad - baseline), min(bad, candidate) + 1):
            chance = math.comb(candidate, ours) * math.comb(baseline, bad - ours) / math.comb(total, bad)
            mean += chance * math.exp(share().log_e(rows((candidate, baseline, ours, bad - ours))))

        assert mean <= 1.0 + 1e-9


@pytest.mark.parametrize("part", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_binomial_mean_is_one_at_the_ratio(part: float, ratio: float) -> None:
    """Exact enumeration with the routing probability: E[E] = 1 where the rates have exactly the ratio."""
    ours = ratio * part / (ratio * part + 1 - part)
    for claim in ("above", "below"):
        test = ShareEvidence(ratio, claim)
        for bad in range(31):
            counts = np.arange(bad + 1)
            chance = [math.comb(bad, k) * ours**k * (1 - ours) ** (bad - k) for k in counts]
            e = np.exp(test.log_e_at(counts.astype(float), (bad - counts).astype(float), part))

            assert float(np.dot(chance, e)) == pytest.approx(1.0, abs=1e-9)


def test_only_bad_events_count() -> None:
    """A batch without a bad event contributes exactly nothing, nor does one that a single arm answered."""
    assert share().log_e(rows()) == 0.0
    assert share().log_e(rows((50, 50, 0, 0))) == pytest.approx(0.0, abs=1e-12)
    assert share().log_e(rows((50, 0, 7, 0), (0, 50, 0, 3), (0, 0, 0, 0))) == pytest.approx(0.0, abs=1e-12)


@laws
@given(st.lists(batch, max_size=12), st.integers(0, 12))
def test_batches_merge_by_addition(batches: list[tuple[int, int, int, int]], cut: int) -> None:
    """The wealth of all batches is the sum of the parts' wealth, in any order."""
    batches = [(max(c, x), max(b, y), x, y) for c, b, x, y in batches]
    whole = share().wealth(rows(*batches[::-1]))
    parts = share().wealth(rows(*batches[:cut])) + share().wealth(rows(*batches[cut:]))

    np.testing.assert_allclose(whole, parts, atol=1e-8)


@laws
@given(st.integers(1, 99), st.integers(0, 8), st.integers(0, 8))
def test_a_bad_candidate_event_speaks_for_worse(candidate: int, ours: int, theirs: int) -> None:
    """E_bad grows with the candidate's bad events and shrinks with the baseline's."""
    at = share().log_e(rows((candidate, 100, ours, theirs)))

    assert share().log_e(rows((candidate, 100, ours + 1, theirs))) > at
    assert share().log_e(rows((candidate, 100, ours, theirs + 1))) < at


def test_the_same_incident_in_both_arms_is_no_evidence() -> None:
    """Thousands of errors at the candidate's own share of the traffic leave E below 1."""
    assert share().log_e(rows(*[(50, 950, 5, 95)] * 40)) < 0.0


def test_an_impossible_ratio_is_refused() -> None:
    """A ratio of rates is above 0."""
    with pytest.raises(ValueError, match="ratio"):
        ShareEvidence(0.0)
