"""How numbers are worded."""

from __future__ import annotations

import math

import pytest

from paritygate.gates import reasons


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0038, "0.38 %"),
        (0.01, "1 %"),
        (0.12, "12 %"),
        (0.9961, "99.6 %"),
        (0.000012, "0.0012 %"),
        (0.048, "4.8 %"),
    ],
)
def test_percent_keeps_two_digits(ratio: float, text: str) -> None:
    """Small rates keep their digits, large ones have no more than they deserve."""
    assert reasons.percent(ratio) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "more"),
        (1, "about 1 more"),
        (99, "about 99 more"),
        (1234, "about 1,300 more"),
        (45_000, "about 45,000 more"),
    ],
)
def test_an_estimate_has_two_digits_and_is_rounded_up(count: int | None, text: str) -> None:
    """Nobody should wait for a number that was never exact, or find it too small."""
    assert reasons.about(count) == text


def test_counts_have_separators_and_plurals() -> None:
    """2,031 requests, 1 request."""
    assert reasons.some(47, 2031, "request") == "47 of 2,031 requests"
    assert reasons.many(1, "request") == "1 request"


@pytest.mark.parametrize(("value", "text"), [(0.4, "0.40 ms"), (43.07, "43.1 ms"), (1240.0, "1,240 ms")])
def test_milliseconds(value: float, text: str) -> None:
    """As many digits as the size bears."""
    assert reasons.milliseconds(value) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_none(value: float | None) -> None:
    """Records hold finite numbers or None."""
    assert reasons.number(value) is None


def test_numbers_are_rounded_and_never_minus_zero() -> None:
    """The last bits of a sum do not reach a record."""
    assert reasons.number(0.1 + 0.2) == 0.3
    assert math.copysign(1.0, reasons.number(-1e-12) or 0.0) == 1.0
