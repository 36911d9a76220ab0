"""Gates on latency quantiles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from paritygate.comparators import latency
from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind

P95 = "latency_p95_ms: {maximum_regression_percent: 10}"
Build = Callable[..., Tally]
Judge = Callable[..., Verdict]


def test_no_pair_is_no_data(first: Judge) -> None:
    """Nothing measured holds, in the rollout and in a stage."""
    assert first(P95, Tally(())).reason_code == "no_data"
    assert first("latency_p99_ms: {maximum: 100}", Tally(())).reason_code == "no_data"


def test_thirty_percent_slower_is_failed_with_its_numbers(traffic: Build, first: Judge) -> None:
    """The reason holds both quantiles and the change; the interval lies beyond the limit that was broken."""
    found = first(P95, traffic(1, 2500, slower=1.3))

    assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
    assert "p95 is " in found.reason
    numbers = found.numbers
    assert numbers["ratio"] == pytest.approx(1.3, abs=0.12)
    assert numbers["ratio_low"] >= 1.1  # type: ignore[operator]
    for name in ("baseline_p50_ms", "baseline_p95_ms", "candidate_p50_ms", "candidate_p95_ms"):
        assert numbers[name] > 0  # type: ignore[operator]


def test_a_faster_candidate_passes(traffic: Build, first: Judge) -> None:
    """10 % faster proves "at most +10 %" on 2500 pairs; what was proven bounds the interval."""
    found = first(P95, traffic(2, 2500, slower=0.9))

    assert found.kind is VerdictKind.PASS
    assert found.numbers["ratio_high"] <= 1.1  # type: ignore[operator]


def test_a_and_a_contain_one(traffic: Build, first: Judge) -> None:
    """The same latencies in both arms: the interval contains 1, and the proof comes soon."""
    found = first(P95, traffic(3, 2500, same=True))

    assert found.kind is VerdictKind.PASS
    assert found.numbers["ratio"] == 1.0
    assert found.numbers["ratio_low"] < 1.0 < found.numbers["ratio_high"]  # type: ignore[operator]


def test_too_few_pairs_say_how_many_more(traffic: Build, first: Judge) -> None:
    """At least the floor of 200 pairs, as an estimate that people can read."""
    found = first(P95, traffic(4, 80, slower=0.6))

    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.numbers["more_needed"] >= 120  # type: ignore[operator]
    assert "more pairs are needed to prove at most +10 %" in found.reason


def test_failed_answers_count_as_never(traffic: Build, first: Judge) -> None:
    """One in ten failing moves the p95 to "never": failed, with numbers that JSON can hold."""
    found = first(P95, traffic(5, 2500, errors=(0.0, 0.1), slower=0.5))

    assert found.kind is VerdictKind.FAIL
    assert "never" in found.reason
    assert found.numbers["candidate_p95_ms"] is None
    assert found.numbers["ratio"] is None
    assert found.numbers["unanswered"] > 0  # type: ignore[operator]


def test_an_incident_of_both_arms_is_not_slowness(traffic: Build, first: Judge) -> None:
    """Both arms failing alike leaves the failed baseline's pairs out; the candidate is not called slow for it."""
    found = first(P95, traffic(6, 4000, errors=(0.08, 0.08)))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "environment")


def test_arrays_that_contradict_each_other_are_an_error(traffic: Build, first: Judge) -> None:
    """Difference arrays of another plan's shift, or lost ones, are a broken source, never a pass."""
    lost = traffic(7, 1000, same=True)
    for name in [n for n in lost.histograms if n.startswith("exceed")]:
        del lost.histograms[name]
    other = traffic(7, 1000, same=True)
    other.histograms["latency.baseline"] = np.roll(other.histograms["latency.baseline"], 1)
    short = traffic(7, 1000, same=True)
    short.histograms["latency.baseline"] = short.histograms["latency.baseline"] // 2

    for broken in (lost, other, short):
        found = first(P95, broken)
        assert (found.kind, found.reason_code) == (VerdictKind.ERROR, "source_broken")
        assert "another plan" in found.reason


def latencies(candidate: list[float], baseline: list[float] | None = None) -> Tally:
    tally = Tally(())
    base = np.array(baseline if baseline is not None else [1.0] * len(candidate))
    tally.histograms |= latency.pair_histograms(base, np.array(candidate), [])
    return tally


@pytest.mark.parametrize(
    ("slow", "kind"), [(2, VerdictKind.PASS), (100, VerdictKind.INCONCLUSIVE), (200, VerdictKind.FAIL)]
)
def test_an_absolute_limit(first: Judge, slow: int, kind: VerdictKind) -> None:
    """p95 at most 50 ms: 0.1 %, 5 % and 10 % of 2000 answers above it."""
    found = first("latency_p95_ms: {maximum: 50}", latencies([90.0] * slow + [20.0] * (2000 - slow)))

    assert found.kind is kind
    assert found.numbers["slow"] == slow
    assert "50.0 ms" in found.reason


def test_an_absolute_limit_that_both_arms_break_holds(first: Judge) -> None:
    """A network that is slow for everybody is the environment."""
    found = first("latency_p95_ms: {maximum: 50}", latencies([90.0] * 900, [88.0] * 900))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "environment")


def test_the_stage_must_have_pairs_of_its_own(traffic: Build, first: Judge) -> None:
    """A past that proves everything does not promote a stage without a pair."""
    whole = traffic(8, 2500, same=True)

    for gate in (P95, "latency_p95_ms: {maximum: 50}"):
        found = first(gate, whole, Tally(whole.dimensions))
        assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "no_data")
