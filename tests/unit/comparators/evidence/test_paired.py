"""E-processes about pairs: McNemar with a margin, and with a ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.evidence.mixture import Claim
from paritygate.comparators.evidence.paired import paired, paired_ratio

laws = settings(derandomize=True, max_examples=60, deadline=None)
some = st.integers(0, 200)


def splits(total: int, *rates: float) -> Iterator[tuple[tuple[int, int], float]]:
    """All (worse, better) of ``total`` pairs with their multinomial chance."""
    first, second = rates
    rest = 1 - first - second
    for worse in range(total + 1):
        for better in range(total + 1 - worse):
            same = total - worse - better
            ways = math.comb(total, worse) * math.comb(total - worse, better)
            yield (worse, better), ways * first**worse * second**better * rest**same


@pytest.mark.parametrize("margin", [0.0, 0.02, -0.02, 0.3])
@pytest.mark.parametrize("claim", ["above", "below"])
def test_mean_is_one_at_the_margin(margin: float, claim: Claim) -> None:
    """Exact enumeration: E[E_n] = 1 where P(only candidate) - P(only baseline) is the margin."""
    test = paired(margin, claim)
    for total in (1, 2, 5, 13, 30):
        cases, chance = zip(
            *splits(total, 0.1 + (abs(margin) + margin) / 2, 0.1 + (abs(margin) - margin) / 2), strict=True
        )
        worse, better = np.array(cases).T
        mean = float(np.dot(chance, np.exp(test.log_e(worse, better, np.full(len(worse), total)))))

        assert mean == pytest.approx(1.0, abs=1e-9)


def test_mean_is_at_most_one_inside_the_null() -> None:
    """Exact enumeration: a candidate that is better than the margin makes E[E_bad] <= 1."""
    for total in (1, 4, 30):
        cases, chance = zip(*splits(total, 0.05, 0.12), strict=True)
        worse, better = np.array(cases).T

        assert float(np.dot(chance, np.exp(paired(0.0, "above").log_e(worse, better, total)))) <= 1.0


@laws
@given(some, some, some)
def test_swapping_the_arms_mirrors_the_verdict(worse: int, better: int, same: int) -> None:
    """Evidence for "candidate worse" is evidence for "baseline better" with the arms swapped."""
    total = worse + better + same
    for margin in (0.0, 0.01):
        there = paired(margin, "above").log_e(worse, better, total)
        back = paired(-margin, "below").log_e(better, worse, total)

        assert float(there) == pytest.approx(float(back), abs=1e-9)


@laws
@given(some, some, some, some)
def test_what_both_arms_suffer_cancels(worse: int, better: int, same: int, more: int) -> None:
    """With margin 0 pairs in which both arms did the same change nothing at all."""
    test = paired(0.0, "above")

    assert test.log_e(worse, better, worse + better + same) == test.log_e(worse, better, worse + better + more)


@laws
@given(some, some)
def test_monotone_in_both_counts(worse: int, better: int) -> None:
    """A pair that only the candidate failed speaks for E_bad, one that only the baseline failed against."""
    test, total = paired(0.0, "above"), 1000

    assert test.log_e(worse + 1, better, total) > test.log_e(worse, better, total)
    assert test.log_e(worse, better + 1, total) < test.log_e(worse, better, total)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("claim", ["above", "below"])
def test_ratio_has_mean_one_at_its_limit(ratio: float, claim: Claim) -> None:
    """Exact enumeration over (worse, better, both): E[E_n] = 1 where the rates have exactly that ratio."""
    base, both = 0.2, 0.06
    only_base, only_candidate = base - both, ratio * base - both
    test = paired_ratio(ratio, claim)
    for total in (1, 2, 6, 12):
        mean = 0.0
        for (worse, better), chance in splits(total, only_candidate, only_base):
            rest = total - worse - better
            part = both / (1 - only_base - only_candidate)
            for k in range(rest + 1):
                inner = math.comb(rest, k) * part**k * (1 - part) ** (rest - k)
                mean += chance * inner * math.exp(float(test.log_e(worse, better, k)))

        assert mean == pytest.approx(1.0, abs=1e-9)


def test_ratio_one_is_mcnemar() -> None:
    """At ratio 1 pairs that both arms failed change nothing, as with margin 0."""
    assert paired_ratio(1.0, "above").log_e(9, 2, 500) == pytest.approx(
        float(paired(0.0, "above").log_e(9, 2, 1000)), abs=1e-9
    )


@pytest.mark.parametrize("margin", [-1.0, 1.0, math.nan])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    """A difference of rates lies inside -1..1."""
    with pytest.raises(ValueError, match="margin"):
        paired(margin, "above")


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf])
def test_an_impossible_ratio_is_refused(ratio: float) -> None:
    """A ratio of rates is above 0 and finite."""
    with pytest.raises(ValueError, match="ratio"):
        paired_ratio(ratio, "above")
