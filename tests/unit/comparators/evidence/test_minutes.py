"""Evidence by minutes: what fails together within a minute is one observation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.minutes import log_e_absolute, log_e_ratio, quiet

LIMIT, RATIO = 0.01, 1.5
TWENTY = math.log(20.0)


def binomial(n: int, p: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def test_no_minute_says_nothing() -> None:
    """Before the first closed minute E is 1, and so it is after minutes without requests."""
    none = np.zeros(0, np.int64)
    empty = np.zeros(3, np.int64)

    for counts in (none, empty):
        assert log_e_absolute(counts, counts, LIMIT) == pytest.approx(0.0, abs=1e-12)
        assert log_e_ratio(counts, counts, counts, counts, RATIO) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.3, 0.99])
@pytest.mark.parametrize("requests", [1, 10, 40])
def test_mean_is_at_most_one_where_requests_are_independent(limit: float, requests: int) -> None:
    """Exact enumeration of two minutes at the limit: E[E] <= 1, with the cut and without."""
    bad = np.arange(requests + 1)
    first, second = np.meshgrid(bad, bad, indexing="ij")
    chance = np.multiply.outer(binomial(requests, limit), binomial(requests, limit))
    e = np.exp(log_e_absolute(np.stack([first, second], axis=-1), np.array([requests, requests]), limit))

    assert float((chance * e).sum()) <= 1.0 + 1e-9


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_mean_is_at_most_one_where_minutes_fail_as_a_whole(limit: float, share: float) -> None:
    """The worst case for single requests: a minute is sick by ``share``, above the cut, or wholly well."""
    sick = min(limit / share, 1.0)
    mean = 0.0
    for struck in range(4):
        minutes = np.array([[struck & 1, struck >> 1]]) * int(share * 1000)
        chance = sick ** bin(struck).count("1") * (1 - sick) ** (2 - bin(struck).count("1"))
        mean += chance * math.exp(float(log_e_absolute(minutes, np.array([1000, 1000]), limit)[0]))

    assert mean <= 1.0 + 1e-9


@pytest.mark.parametrize("requests", [1, 4, 12])
@pytest.mark.parametrize("base", [0.01, 0.1, 0.4])
def test_mean_is_at_most_one_at_the_ratio(requests: int, base: float) -> None:
    """Exact enumeration of one minute of independent arms whose rates have just the ratio."""
    rates = (RATIO * base * (1 - base), base * (1 - RATIO * base), RATIO * base * base)
    mean = 0.0
    for worse in range(requests + 1):
        for better in range(requests + 1 - worse):
            for both in range(requests + 1 - worse - better):
                rest = requests - worse - better - both
                ways = math.factorial(requests) / math.prod(map(math.factorial, (worse, better, both, rest)))
                chance = ways * math.prod(p**k for p, k in zip(rates, (worse, better, both), strict=True))
                w, b, x, n = (np.array([count]) for count in (worse, better, both, requests))
                mean += chance * (1 - sum(rates)) ** rest * math.exp(float(log_e_ratio(w, b, x, n, RATIO)))

    assert mean <= 1.0 + 1e-9


def test_a_burst_alone_condemns_nobody() -> None:
    """One minute of 30 % among sixty healthy ones: by requests proof of 1 %, by minutes none, at any moment."""
    bad, total = np.full(60, 3), np.full(60, 1000)
    bad[20] = 300

    by_requests = bernoulli(LIMIT, "above").log_e(np.cumsum(bad), np.cumsum(total))
    by_minutes = [float(log_e_absolute(bad[:k], total[:k], LIMIT)) for k in range(61)]

    assert by_requests.max() > TWENTY > max(by_minutes)
    assert not quiet(bad, total, LIMIT)[20]
    assert quiet(bad, total, LIMIT).sum() == 59


@pytest.mark.parametrize(("rate", "within"), [(0.015, 30), (0.05, 6), (0.3, 3), (1.0, 2)])
def test_what_stays_bad_is_condemned_soon(rate: float, within: int) -> None:
    """A candidate that is beyond 1 % for good is so within minutes, from the start of the rollout on."""
    total = np.full(within, 1000)

    assert log_e_absolute((total * rate).astype(np.int64), total, LIMIT) >= TWENTY


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_a_long_good_past_does_not_hide_a_fault(rate: float) -> None:
    """After ten good hours a fault takes at most fifteen minutes, for each has its own start."""
    bad = np.concatenate([np.full(600, 3), np.full(15, int(1000 * rate))])

    assert log_e_absolute(bad, np.full(615, 1000), LIMIT) >= TWENTY


def test_swapped_arms_are_not_both_condemned() -> None:
    """What speaks against one arm at ratio 1 speaks for the other."""
    random = np.random.default_rng(3)
    total = np.full(30, 1000)
    for worse_rate in (0.002, 0.006, 0.05):
        worse, better = random.binomial(1000, worse_rate, 30), random.binomial(1000, 0.002, 30)
        both = random.binomial(1000, 0.001, 30)
        one, other = log_e_ratio(worse, better, both, total, 1.0), log_e_ratio(better, worse, both, total, 1.0)

        assert min(float(one), float(other)) < math.log(2.0)


def test_bursts_of_both_arms_cancel() -> None:
    """Each arm has six burst minutes in an hour: no evidence that the candidate is 50 % worse."""
    quiet_minutes = np.full(60, 3)
    worse, better = quiet_minutes.copy(), quiet_minutes.copy()
    worse[5::10], better[9::10] = 300, 300
    both, total = np.zeros(60, np.int64), np.full(60, 1000)

    assert all(log_e_ratio(worse[:k], better[:k], both[:k], total[:k], RATIO) < TWENTY for k in range(61))
