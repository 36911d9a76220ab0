"""Gates that tolerate bursts: what fails within one minute is one event, not hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from paritygate.comparators.tally import COUNT_NAMES, Counts, Tally
from paritygate.gates.verdict import Verdict, VerdictKind

PLAIN = "error_rate: {maximum: 0.01}"
TOLERANT = "error_rate: {maximum: 0.01, tolerate_bursts: true}"
RELATIVE = "error_rate: {maximum_regression_percent: 50, tolerate_bursts: true}"
HEALTHY = 3

Build = Callable[..., Tally]
Judge = Callable[..., Verdict]


def minute(candidate: int, baseline: int = HEALTHY) -> dict[str, int]:
    """1,000 pairs of which so many failed in each arm, none in both."""
    return {
        "requests": 1000,
        "pairs": 1000,
        "candidate_errors": candidate,
        "baseline_errors": baseline,
        "candidate_only_errors": candidate,
        "baseline_only_errors": baseline,
    }


@pytest.fixture(scope="module")
def said(tally_of: Build, first: Judge) -> Callable[..., Verdict]:
    """The verdict on minutes of 1,000 pairs, given by how many failed: (candidate, baseline)."""

    def judge(gate: str, minutes: Sequence[tuple[int, int]], closed: int | None = None, **more: Any) -> Verdict:
        parts = [tally_of((), {(): minute(*m)}) for m in minutes]
        whole = tally_of((), {})
        for part in parts:
            whole.add(part)
        rows: Counts = np.array([p.overall() for p in parts[:closed]], np.int64)
        rows = rows.reshape(-1, len(COUNT_NAMES))
        return first(gate, whole, minutes=rows, opening=parts[0].overall(), **more)

    return judge


def test_a_burst_fails_a_plain_gate_and_no_tolerant_one(said: Callable[..., Verdict]) -> None:
    """One minute of 30 % after five healthy ones, while it is still open and when it is closed."""
    burst = [(HEALTHY, HEALTHY)] * 5 + [(300, HEALTHY)]

    assert said(PLAIN, burst).kind is VerdictKind.FAIL
    for gate in (TOLERANT, RELATIVE):
        assert said(gate, burst, closed=5).kind is not VerdictKind.FAIL
        assert said(gate, burst).kind is not VerdictKind.FAIL


@pytest.mark.parametrize("gate", [TOLERANT, RELATIVE])
def test_a_candidate_that_fails_from_the_start_waits_for_no_minute(said: Callable[..., Verdict], gate: str) -> None:
    """The first minute is judged by its requests, before it has closed."""
    verdict = said(gate, [(50, HEALTHY)], closed=0)

    assert (verdict.kind, verdict.reason_code) == (VerdictKind.FAIL, "breached")


def test_an_incident_of_both_arms_in_the_first_minute_condemns_nobody(said: Callable[..., Verdict]) -> None:
    """Neither then nor later, when the baseline is well again."""
    for later in (0, 10, 60):
        assert said(TOLERANT, [(60, 61)] + [(HEALTHY, HEALTHY)] * later).kind is not VerdictKind.FAIL


def test_a_fault_that_stays_fails_after_minutes(said: Callable[..., Verdict]) -> None:
    """30 % from the sixth minute on: not after one minute, but after six."""
    healthy = [(HEALTHY, HEALTHY)] * 5

    assert said(TOLERANT, [*healthy, (300, HEALTHY)]).kind is not VerdictKind.FAIL
    assert said(TOLERANT, healthy + [(300, HEALTHY)] * 6).kind is VerdictKind.FAIL


def test_answers_that_users_saw_are_judged_by_requests(
    said: Callable[..., Verdict], tally_of: Build, first: Judge
) -> None:
    """The test of live answers knows no bursts: as quick as ever."""
    counts = minute(60) | {"live_candidate": 300, "live_candidate_errors": 60, "live_baseline": 700}
    whole = tally_of((), {(): counts})

    verdict = first(TOLERANT, whole, live=[(300, 700, 60, 0)], weight=30)

    assert verdict.kind is VerdictKind.FAIL
    assert "users saw" in verdict.reason


@pytest.mark.parametrize("gate", [TOLERANT, RELATIVE])
def test_without_minutes_nothing_is_condemned_or_proven_by_them(tally_of: Build, first: Judge, gate: str) -> None:
    """Evidence without minutes, as of an older program, leaves E_bad at 1."""
    verdict = first(gate, tally_of((), {(): minute(300)}))

    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.numbers["log_e_overall"] == pytest.approx(0.0, abs=1e-9)


def test_a_segment_holds_and_does_not_fail(tally_of: Build, first: Judge) -> None:
    """A burst strikes segments like everything else, so they only stand in the way of a promotion."""
    cells = {("a", "x", "1", "1"): minute(HEALTHY), ("b", "x", "1", "1"): minute(200)}
    whole = tally_of(("d1", "d2", "d3", "d4"), cells)
    rows = whole.overall()[None, :]

    assert first(PLAIN, whole).kind is VerdictKind.FAIL
    verdict = first(TOLERANT, whole, minutes=rows)
    assert (verdict.kind, verdict.reason_code) == (VerdictKind.INCONCLUSIVE, "segment_flagged")
