"""Dependence of a rate on a group, and the share that was declared: e-processes over counts."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from paritygate.comparators.evidence.dependence import log_e_dependence, log_gamma
from paritygate.comparators.evidence.ratio import log_e_ratio


def test_log_gamma_is_that_of_the_standard_library() -> None:
    """Small, half, whole and large arguments, to one part in 10^11."""
    x = np.array([0.05, 0.5, 1.0, 1.5, 3.0, 9.99, 10.0, 123.5, 1e6, 1e9])

    assert log_gamma(x) == pytest.approx([math.lgamma(v) for v in x], rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("chance", [0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_one_rate_for_all_earns_nothing(chance: float) -> None:
    """By enumeration: the mean of E is at most 1 after every number of requests, at any single rate."""
    for inside in (1, 3, 7):
        for outside in (1, 5, 12):
            mean = 0.0
            for a in range(inside + 1):
                for b in range(outside + 1):
                    ways = math.comb(inside, a) * math.comb(outside, b)
                    likely = ways * chance ** (a + b) * (1.0 - chance) ** (inside + outside - a - b)
                    mean += likely * math.exp(_dependence(a, inside, a + b, inside + outside))
            assert mean <= 1.0 + 1e-9


def test_looking_all_the_time_alarms_in_one_of_twenty_at_most() -> None:
    """300 streams of 5,000 requests, losses in waves that strike all groups alike, a look at every 25th."""
    random = np.random.default_rng(11)
    alarms = 0
    for _ in range(300):
        rate = np.repeat(random.choice([0.0, 0.01, 0.4], 100, p=[0.6, 0.35, 0.05]), 50)
        lost, inside = random.random(5000) < rate, random.random(5000) < 0.2
        looks = np.arange(24, 5000, 25)
        bad_in, total_in, bad = (np.cumsum(v, dtype=np.int64)[looks] for v in (lost & inside, inside, lost))
        alarms += bool(log_e_dependence(bad_in, total_in, bad, looks + 1).max() >= math.log(20.0))

    assert alarms / 300 <= 0.05


def test_it_is_blind_to_the_names_of_the_sides() -> None:
    """Inside and outside, bad and good may be swapped; an empty side says nothing."""
    e = _dependence(9, 50, 12, 400)

    assert e == pytest.approx(_dependence(3, 350, 12, 400))
    assert e == pytest.approx(_dependence(41, 50, 388, 400))
    assert _dependence(0, 0, 12, 400) == _dependence(12, 400, 12, 400) == 0.0


def test_more_losses_inside_are_more_evidence() -> None:
    """Above the common rate, E rises with every loss that is inside rather than outside."""
    found = [_dependence(k, 100, 20, 1000) for k in range(2, 21)]

    assert all(b > a for a, b in pairwise(found))
    assert found[-1] > math.log(20.0) > found[0]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.99])
def test_the_declared_share_earns_exactly_one(share: float) -> None:
    """By enumeration: at the declared share the mean of E is 1 after every number of answers up to 30."""
    for total in (1, 2, 7, 30):
        ours = np.arange(total + 1)
        likely = [math.comb(total, k) * share**k * (1.0 - share) ** (total - k) for k in range(total + 1)]
        assert float(np.dot(likely, np.exp(log_e_ratio(ours, total - ours, share)))) == pytest.approx(1.0)


def test_a_false_mismatch_is_rare_under_continuous_looking() -> None:
    """2,000 stages of 4,000 answers at the declared 5 %, a look at every answer: at most one in twenty alarms."""
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(2000):
        ours = np.cumsum(random.random(4000) < 0.05, dtype=np.int64)
        theirs = np.arange(1, 4001) - ours
        looks = np.append(np.arange(50), np.arange(59, 4000, 20))
        alarms += bool(log_e_ratio(ours[looks], theirs[looks], 0.05).max() >= math.log(20.0))

    assert alarms / 2000 <= 0.05


def test_a_ratio_of_certain_shares_is_refused() -> None:
    """Where nothing is drawn there is nothing to test."""
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"inside 0\.\.1"):
            log_e_ratio(1, 1, share)


def _dependence(bad_inside: int, inside: int, bad: int, total: int) -> float:
    return float(log_e_dependence(np.array([bad_inside]), np.array([inside]), bad, total)[0])
