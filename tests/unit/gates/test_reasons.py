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


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (59_000, "59 s"),
        (59_001, "1 m"),
        (200_000, "3 m 20 s"),
        (3_599_001, "1 h"),
        (11_520_000, "3 h 12 m"),
        (11_520_001, "3 h 13 m"),
        (86_399_000, "1 d"),
        (190_000_000, "2 d 5 h"),
        (86_400_000_000, "1,000 d"),
    ],
)
def test_durations_have_two_units_and_are_rounded_up(ms: int, text: str) -> None:
    """Nobody waits in vain for the last second."""
    assert reasons.duration(ms) == text


def test_an_unknown_rate_says_nothing() -> None:
    """A time is named only where there is one."""
    assert reasons.at_present_rate(None) == ""
    assert reasons.at_present_rate(11_520_000) == ", about 3 h 12 m at the present rate"


@pytest.mark.parametrize(
    ("value_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (812 * 2**20, "812 MiB"),
        (1023 * 2**20, "1.0 GiB"),
        (12.34 * 2**30, "12.3 GiB"),
        (2**53, "8192 TiB"),
    ],
)
def test_sizes_are_in_units_of_1024(value_bytes: float, text: str) -> None:
    """A size has two or three digits in the largest unit that it fills."""
    assert reasons.size(value_bytes) == text
