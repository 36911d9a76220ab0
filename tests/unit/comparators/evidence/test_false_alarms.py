"""Seeded simulations: looking after every observation does not raise the rate of false alarms."""

from __future__ import annotations

import math

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import F64, log_mixture, start_log_weights, uniform
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.quantile import quantile_ratio
from paritygate.comparators.evidence.share import share
from paritygate.comparators.latency import pair_histograms, shifts

ALPHA = 0.05
BAR = math.log(1 / ALPHA)


def allowed(runs: int) -> float:
    """Alarms within three sigma of the declared rate."""
    return runs * ALPHA + 3 * math.sqrt(runs * ALPHA * (1 - ALPHA))


def alarms(log_e: F64) -> int:
    """Runs ([runs, looks]) that ever reached 1 / alpha."""
    return int((log_e >= BAR).any(axis=1).sum())


def test_rate_at_its_limit() -> None:
    """200 rollouts of 1500 requests at exactly 2 %: neither claim is reached more often than alpha."""
    runs, looks = 200, 1500
    bad = np.cumsum(np.random.default_rng(1).random((runs, looks)) < 0.02, axis=1, dtype=np.int64)
    total = np.arange(1, looks + 1)
    for claim in ("above", "below"):
        test = bernoulli(0.02, claim)
        found = sum(alarms(test.log_e(part, total)) for part in np.array_split(bad, 10))

        assert found <= allowed(runs)


def test_pairs_that_fail_alike() -> None:
    """200 rollouts of 1500 pairs, 2 % failing in each arm alone."""
    runs, looks = 200, 1500
    drawn = np.random.default_rng(2).random((runs, looks))
    worse, better = (np.cumsum(hit, axis=1, dtype=np.int64) for hit in (drawn < 0.02, drawn > 0.98))
    test = paired(0.0, "above")
    parts = zip(np.array_split(worse, 10), np.array_split(better, 10), strict=True)

    assert sum(alarms(test.log_e(w, b, looks)) for w, b in parts) <= allowed(runs)


def test_starts_do_not_add_up() -> None:
    """The mixture over 24 possible onsets keeps the level that 24 separate tests would not."""
    runs, looks, panes = 150, 120, 24
    random = np.random.default_rng(3)
    bad = np.cumsum(random.binomial(100, 0.01, (runs, looks)), axis=1)
    starts = np.arange(0, looks, looks // panes)
    test, weights = bernoulli(0.01, "above"), np.concatenate([[math.log(0.5)], start_log_weights(panes - 1)])
    found = 0
    for row in bad:
        since = row[:, None] - np.concatenate([[0], row[starts[1:] - 1]])
        total = 100 * (np.arange(1, looks + 1)[:, None] - starts)
        begun = total > 0
        log_e = np.where(begun, test.log_e(np.where(begun, since, 0), np.where(begun, total, 0)), 0.0)
        found += bool((log_mixture(weights, log_e) >= BAR).any())

    assert found <= allowed(runs)


def test_share_under_incidents() -> None:
    """300 canaries at 5 % whose both arms fail 20 times as often in 5 % of the time: no blame."""
    runs, looks = 300, 400
    random = np.random.default_rng(4)
    rate = np.where(random.random((runs, looks)) < 0.05, 0.10, 0.005)
    ours, theirs = random.binomial(5, rate), random.binomial(95, rate)
    gains = np.cumsum(share().gains(ours.astype(float), theirs.astype(float), 0.05), axis=1)

    assert alarms(log_mixture(uniform(), gains)) <= allowed(runs)


def test_mean_at_its_limit() -> None:
    """200 rollouts of 400 skewed score deltas whose mean is exactly the limit."""
    runs, looks = 200, 400
    random = np.random.default_rng(5)
    deltas = np.where(random.random((runs, looks)) < 0.05, -0.88, 0.0252631)
    place = scores.bucket(deltas)
    exact = float(0.05 * scores.values()[place.min()] + 0.95 * scores.values()[place.max()])
    for claim in ("above", "below"):
        test = mean(exact, claim)
        one = {int(i): test.wealth(np.bincount([i], minlength=scores.BUCKETS)) for i in np.unique(place)}
        low, high = (one[int(i)] for i in (place.min(), place.max()))
        wealth = np.cumsum(np.where((place == place.min())[..., None], low, high), axis=1)

        assert alarms(log_mixture(uniform(), wealth)) <= allowed(runs)


def test_quantile_at_its_limit() -> None:
    """40 rollouts whose p95 is exactly 10 % longer, looked at every 100 pairs: hardly ever either claim."""
    random = np.random.default_rng(6)
    runs, found = 40, {"above": 0, "below": 0}
    for _ in range(runs):
        shared, ours, theirs = random.normal(size=(3, 1000)) * 0.6
        base, candidate = np.exp(0.84 * shared + 0.55 * ours), 1.1 * np.exp(0.84 * shared + 0.55 * theirs)
        for claim in found:
            test = quantile_ratio(0.95, 10.0, claim)
            counts = [
                pair_histograms(b, c, shifts(10.0))
                for b, c in zip(np.split(base, 10), np.split(candidate, 10), strict=True)
            ]
            summed = {name: np.cumsum([part[name] for part in counts], axis=0) for name in counts[0]}
            looks = zip(
                summed[f"exceed.{test.shift}.up"],
                summed[f"exceed.{test.shift}.down"],
                summed["latency.baseline"],
                summed["latency.candidate"],
                strict=True,
            )
            found[claim] += any(test.paired(*look).log_e >= BAR for look in looks)

    assert max(found.values()) <= allowed(runs)
