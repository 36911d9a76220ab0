"""Two channels: a burst of one instance is an event, calm instance-minutes are counted by their requests."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from paritygate.comparators.evidence.minutes import started
from paritygate.comparators.evidence.two_channel import (
    failing,
    log_e_bursts,
    log_e_calm_limit,
    rate_channels,
    slow,
)

FLEETS = [(1, 1), (4, 4), (19, 1)]


def minutes(
    count: int, baseline: int, candidate: int, bad: int = 0, requests: int = 1000
) -> tuple[np.ndarray, ...]:
    """Counts of ``count`` minutes, ``[minutes, arms, instances]``, in which ``bad`` fail in each instance."""
    places = max(baseline, candidate)
    total = np.zeros((count, 2, places), np.int64)
    total[:, 0, :baseline], total[:, 1, :candidate] = requests // baseline, requests // candidate
    return np.where(total > 0, bad, 0), total


@pytest.mark.parametrize("fleet", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("chance", [0.05, 0.3, 0.8])
def test_mean_of_bursts_is_at_most_one(fleet: tuple[int, int], chance: float) -> None:
    """Exact enumeration of two minutes in which every instance is struck with the same chance."""
    active = minutes(2, *fleet)[1] > 0
    places = np.argwhere(active)
    mean = 0.0
    for drawn in product([False, True], repeat=len(places)):
        struck = np.zeros_like(active)
        struck[tuple(places[np.array(drawn)].T)] = True
        likely = chance ** sum(drawn) * (1 - chance) ** (len(drawn) - sum(drawn))
        mean += likely * math.exp(float(started(log_e_bursts(struck, active))))

    assert mean <= 1.0 + 1e-9


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2])
@pytest.mark.parametrize("requests", [1, 10, 30])
def test_mean_of_calm_requests_is_at_most_one(limit: float, requests: int) -> None:
    """Exact enumeration of two minutes of one instance at the limit, with the cut."""
    chance = [math.comb(requests, k) * limit**k * (1 - limit) ** (requests - k) for k in range(requests + 1)]
    mean = 0.0
    for first, second in product(range(requests + 1), repeat=2):
        bad, total = minutes(2, 1, 1, requests=requests)
        bad[:, 1, 0] = first, second
        calm = ~failing(bad, total, limit)
        mean += chance[first] * chance[second] * math.exp(float(started(log_e_calm_limit(bad, total, calm, limit))))

    assert mean <= 1.0 + 1e-9


@pytest.mark.parametrize("requests", [1, 4, 8])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4])
def test_mean_of_the_comparison_is_at_most_one(requests: int, rate: float) -> None:
    """Exact enumeration of one minute of two arms alike: both channels of a relative rule."""
    chance = [math.comb(requests, k) * rate**k * (1 - rate) ** (requests - k) for k in range(requests + 1)]
    mean = np.zeros(2)
    for ours, theirs in product(range(requests + 1), repeat=2):
        bad, total = minutes(1, 1, 1, requests=requests)
        bad[0, :, 0] = theirs, ours
        mean += chance[ours] * chance[theirs] * np.exp([float(part) for part in rate_channels(bad, total)])

    assert (mean <= 1.0 + 1e-9).all()


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("limit", [None, 0.01])
def test_one_burst_says_little_in_any_fleet(fleet: tuple[int, int], limit: float | None) -> None:
    """30 % of one instance's requests for one minute of twenty, after calm ones: E stays below 20."""
    bad, total = minutes(20, *fleet)
    bad[10, 1, 0] = int(0.3 * total[10, 1, 0])

    assert max(float(part) for part in rate_channels(bad, total, limit=limit)) < math.log(20.0)


@pytest.mark.parametrize("limit", [None, 0.01])
def test_bursts_of_every_instance_say_much_within_three_minutes(limit: float | None) -> None:
    """All four instances fail 30 % from the 21st minute on, the baseline's none."""
    bad, total = minutes(23, 4, 4)
    bad[20:, 1, :4] = 75

    assert float(rate_channels(bad, total, limit=limit)[1]) > math.log(80.0 * 2.0)


def test_bursts_within_the_limit_are_nobodys_harm() -> None:
    """An absolute rule asks for the limit too: the candidate alone has bursts, but keeps 10 % on the whole."""
    bad, total = minutes(40, 1, 1)
    bad[::10, 1, 0] = 300

    assert float(rate_channels(bad, total, limit=0.1)[1]) < 0.1
    assert float(rate_channels(bad, total)[1]) > 1.0


def test_swapped_arms_mirror_the_cut() -> None:
    """What is a burst does not depend on whose instance it is."""
    random = np.random.default_rng(1)
    total = random.integers(0, 300, (30, 2, 6))
    bad = random.binomial(total, 0.05)
    buckets = total * random.integers(1500, 1800, total.shape)

    assert (failing(bad[:, ::-1], total[:, ::-1]) == failing(bad, total)[:, ::-1]).all()
    assert (slow(buckets[:, ::-1], total[:, ::-1]) == slow(buckets, total)[:, ::-1]).all()


def test_few_answers_of_unknown_instances_are_no_burst() -> None:
    """Five answers that never came beside a thousand that did; but half a thousand are a burst."""
    bad, total = np.zeros((2, 2, 2), np.int64), np.zeros((2, 2, 2), np.int64)
    total[:, :, 1] = 1000
    total[:, 1, 0] = bad[:, 1, 0] = 5, 500

    assert failing(bad, total)[:, 1, 0].tolist() == [False, True]


def test_an_instance_three_times_slower_is_slow() -> None:
    """One of twenty, and the only one of its arm; one that is half as slow again is not told from chance."""
    answered = np.zeros((3, 2, 19), np.int64)
    answered[:, 0], answered[:, 1, 0] = 52, 1000
    buckets = 1800 * answered
    buckets[0, 0, 3] += 203 * 52
    buckets[1, 1, 0] += 203 * 1000
    buckets[2, 0, 3] += 70 * 52
    found = slow(buckets, answered)

    assert np.argwhere(found).tolist() == [[0, 0, 3], [1, 1, 0]]


def test_no_minute_says_nothing() -> None:
    """Before the first closed minute, and after minutes without requests, E is 1."""
    for count in (0, 3):
        none = np.zeros((count, 2, 4), np.int64)
        for limit in (None, 0.01):
            assert [float(p) for p in rate_channels(none, none, limit=limit)] == pytest.approx([0.0, 0.0], abs=1e-9)
