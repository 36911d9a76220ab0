"""The e-process about rare events per hour."""

from __future__ import annotations

import math

import pytest

from paritygate.comparators.evidence.mixture import Claim
from paritygate.comparators.evidence.poisson import excluded_per_hour, poisson


@pytest.mark.parametrize("claim", ["above", "below"])
@pytest.mark.parametrize("hours", [0.1, 1.0, 4.0])
def test_mean_is_one_at_the_limit(claim: Claim, hours: float) -> None:
    """Summed over the Poisson distribution at the limit, E has mean 1.

    Bets on up to 1000 times the limit need counts far in the tail, so the sum goes to 6000.
    """
    limit, test = 0.7, poisson(0.7, claim)
    mean = sum(
        math.exp(k * math.log(limit * hours) - limit * hours - math.lgamma(k + 1) + test.log_e(k, hours))
        for k in range(6000)
    )

    assert mean == pytest.approx(1.0, abs=1e-6)


def test_silence_proves_a_rate_after_3_13_of_its_mean_times() -> None:
    """statistics.md section 4: 3.13 / limit hours without an event, against 3.00 for the rule of three."""
    test = poisson(2.0, "below")

    assert test.log_e(0, 3.12 / 2) < math.log(20) <= test.log_e(0, 3.14 / 2)
    assert excluded_per_hour(1.0) == pytest.approx(3.13, abs=0.005)
    assert excluded_per_hour(0.03) == pytest.approx(104, abs=0.5)


def test_no_running_time_excludes_nothing() -> None:
    """Without exposure E = 1 and no rate is excluded."""
    assert poisson(1.0, "below").log_e(0, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert excluded_per_hour(0.0) == math.inf


def test_unit_of_time_does_not_matter() -> None:
    """A limit per hour over hours equals the same limit per minute over minutes."""
    assert poisson(3.0, "above").log_e(5, 0.5) == pytest.approx(poisson(0.05, "above").log_e(5, 30.0))


def test_an_event_speaks_against_below_and_for_above() -> None:
    """Monotone in the count, and one event kills the bet on rate 0 without killing the rest."""
    below, above = poisson(1.0, "below"), poisson(1.0, "above")

    assert -math.inf < below.log_e(1, 5.0) < below.log_e(0, 5.0)
    assert above.log_e(1, 5.0) > above.log_e(0, 5.0)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf])
def test_an_impossible_limit_is_refused(limit: float) -> None:
    """A rate per hour is above 0 and finite."""
    with pytest.raises(ValueError, match="above 0"):
        poisson(limit, "above")
