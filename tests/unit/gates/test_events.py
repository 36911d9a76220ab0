"""Gates on rare events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind

OOM = "gpu_oom_events: {maximum: 0}"
Judge = Callable[..., Verdict]


def platform(hours: float, **totals: int) -> Tally:
    named = {name.replace("__", "."): count for name, count in totals.items()}
    return Tally((), totals={"reports.candidate": 3, "running_ms.candidate": int(hours * 3_600_000)} | named)


def test_no_report_is_no_data(first: Judge) -> None:
    """Silence of a watcher that never spoke, or of an instance that did not run, proves nothing."""
    assert first(OOM, Tally(())).reason_code == "no_data"
    assert first(OOM, Tally((), totals={"reports.candidate": 2})).reason_code == "no_data"
    assert first(OOM, platform(5.0), Tally(())).reason_code == "no_data"


def test_one_event_fails_at_once(first: Judge) -> None:
    """A hard rule: no statistics, no floor, in whichever stage it happened, reported running time or not."""
    for stage in (None, platform(1.0)):
        found = first(OOM, platform(0.0, ooms__candidate=1, ooms__baseline=2), stage)
        assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
        assert found.reason == ("1 GPU out-of-memory event of the candidate (2 of the baseline), at most 0 may be")


def test_the_baselines_events_are_not_the_candidates(first: Judge) -> None:
    """Only the candidate's own events count."""
    assert first(OOM, platform(1.0, ooms__baseline=4)).kind is VerdictKind.PASS


def test_a_pass_says_what_it_is_worth(first: Judge) -> None:
    """0 events in 0.03 h exclude only rates over 104 an hour."""
    found = first(OOM, platform(0.03))

    assert found.kind is VerdictKind.PASS
    assert "0 in 0.03 h: only rates over 104/h are excluded" in found.reason
    assert found.numbers["excluded_per_hour"] == pytest.approx(104.3, abs=0.1)


@pytest.mark.parametrize(("hours", "kind"), [(6.2, VerdictKind.INCONCLUSIVE), (6.3, VerdictKind.PASS)])
def test_a_rate_to_exclude_needs_its_exposure(first: Judge, hours: float, kind: VerdictKind) -> None:
    """0.5 an hour is excluded after 3.13 / 0.5 = 6.26 quiet hours, not before."""
    found = first("gpu_oom_events: {maximum: 0, max_rate_to_exclude_per_hour: 0.5}", platform(hours))

    assert found.kind is kind
    if kind is VerdictKind.INCONCLUSIVE:
        assert found.numbers["more_hours_needed"] == pytest.approx(6.26 - hours, abs=0.01)


def test_allowed_events_still_need_proof(first: Judge) -> None:
    """With two allowed, two pass, three fail; a rate to exclude counts them."""
    two = "pod_restarts: {maximum: 2}"
    rate = "pod_restarts: {maximum: 2, max_rate_to_exclude_per_hour: 1}"

    assert first(two, platform(1.0, restarts__candidate=2)).kind is VerdictKind.PASS
    assert first(two, platform(1.0, restarts__candidate=3)).kind is VerdictKind.FAIL
    assert first(rate, platform(2.0, restarts__candidate=2)).kind is VerdictKind.INCONCLUSIVE
    assert first(rate, platform(40.0, restarts__candidate=2)).kind is VerdictKind.PASS
