"""Latency gates that tolerate bursts: one instance may be slow for a minute, all of them may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from paritygate.comparators import latency
from paritygate.comparators.instances import PLACE
from paritygate.comparators.tally import COUNT_NAMES, INDEX, Tally
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts.minutes import Minutes

PLAIN = "latency_p95_ms: {maximum_regression_percent: 10}"
RELATIVE = "latency_p95_ms: {maximum_regression_percent: 10, tolerate_bursts: true}"
LIMIT = "latency_p95_ms: {maximum: 80, tolerate_bursts: true}"
EXCLUDING = (
    "latency_p95_ms: {maximum_regression_percent: 40, tolerate_bursts: true, max_bursts_to_exclude_per_hour: 2}"
)
REQUESTS = 600
SHIFTS = tuple({*latency.shifts(10.0), *latency.shifts(40.0)})


def minute(
    seed: int, fleet: tuple[int, int], baseline: float = 1.0, candidate: float = 1.0, first: float = 1.0
) -> Tally:
    """600 pairs of both arms' latencies, times a factor; ``first``: one more of the candidate's first instance."""
    random = np.random.default_rng(seed)
    shared, ours, theirs = random.normal(size=(3, REQUESTS)) * 0.5
    at = [np.arange(REQUESTS) % n for n in fleet]
    slow = np.where(at[1] == 0, first, 1.0)
    ms = 20 * np.exp(shared + 0.5 * ours) * baseline, 20 * np.exp(shared + 0.5 * theirs) * candidate * slow
    counts = np.zeros(len(COUNT_NAMES), np.int64)
    counts[INDEX["requests"]] = counts[INDEX["pairs"]] = REQUESTS
    tally = Tally((), {(): counts}, latency.pair_histograms(*ms, SHIFTS))
    for arm, latency_ms, places in zip(("baseline", "candidate"), ms, at, strict=True):
        for what in ("requests", "answered"):
            tally.histograms[f"instances.{arm}.{what}"] = np.bincount(1 + places, minlength=64)
        summed = np.bincount(1 + places, latency.bucket(latency_ms), minlength=64)
        tally.histograms[f"instances.{arm}.latency_buckets"] = summed.astype(np.int64)
    return tally


@pytest.fixture(scope="module")
def said(first: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """The verdict on minutes, all closed and in the stage."""

    def judge(gate: str, parts: list[Tally]) -> Verdict:
        minutes, whole = Minutes(60_000), Tally(())
        for i, part in enumerate(parts):
            minutes.add(i * 60_000, part, part.overall(), 0)
            whole.add(part)
        end = len(parts) * 60_000
        known = minutes.by_instance(end, None, end)
        return first(gate, whole, minutes=minutes.closed(end), opening=minutes.opening(), instances=known)

    return judge


Said = Callable[[str, list[Tally]], Verdict]


@pytest.mark.parametrize("fleet", [(1, 1), (4, 4), (19, 1)])
def test_a_slow_minute_of_one_instance_fails_nothing(said: Said, fleet: tuple[int, int]) -> None:
    """Three times slower for one minute of six; a plain gate takes that for a trend where there is one instance."""
    burst = [minute(seed, fleet, first=3.0 if seed == 2 else 1.0) for seed in range(6)]

    for closed in range(1, 7):
        assert said(RELATIVE, burst[:closed]).kind is not VerdictKind.FAIL
        assert said(LIMIT, burst[:closed]).kind is not VerdictKind.FAIL
    if fleet[1] == 1:
        assert said(PLAIN, burst[:3]).kind is VerdictKind.FAIL


def test_a_candidate_that_is_slower_for_good_fails(said: Said) -> None:
    """By its calm minutes where it is twice as slow, by its slow ones, after three, where it is far slower."""
    fleet = (4, 4)
    calm = [minute(seed, fleet) for seed in range(10)]
    for gate in (RELATIVE, LIMIT):
        assert said(gate, calm).kind is not VerdictKind.FAIL
        assert said(gate, [minute(seed, fleet, candidate=2.0) for seed in range(10)]).kind is VerdictKind.FAIL
        late = said(gate, [*calm, *(minute(seed, fleet, candidate=4.0) for seed in range(10, 13))])
        assert late.kind is VerdictKind.FAIL
        assert late.numbers["bursts_candidate"] == 12


def test_bursts_within_the_limit_are_nobodys_harm(said: Said) -> None:
    """Four times slower in one minute of thirty-one moves no p95 by a tenth."""
    parts = [minute(seed, (4, 4), candidate=4.0 if seed % 31 == 5 else 1.0) for seed in range(62)]
    verdict = said("latency_p50_ms: {maximum_regression_percent: 10, tolerate_bursts: true}", parts)

    assert verdict.numbers["bursts_candidate"] == 8
    assert verdict.kind is not VerdictKind.FAIL


def test_swapped_arms_mirror_the_verdict(said: Said) -> None:
    """What fails one way fails nothing the other way."""
    assert said(RELATIVE, [minute(s, (4, 4), candidate=4.0) for s in range(4)]).kind is VerdictKind.FAIL
    assert said(RELATIVE, [minute(s, (4, 4), baseline=4.0) for s in range(4)]).kind is not VerdictKind.FAIL


def test_a_pass_says_what_it_excludes(said: Said) -> None:
    """Outside of bursts; with the option only after 1.57 instance-hours without one."""
    parts = [minute(seed, (4, 4)) for seed in range(24)]
    plain = EXCLUDING.replace(", max_bursts_to_exclude_per_hour: 2", "")
    passed, waits, excluded = said(plain, parts), said(EXCLUDING, parts[:20]), said(EXCLUDING, parts)

    assert passed.kind is excluded.kind is VerdictKind.PASS
    assert "outside of bursts; bursts are not excluded" in passed.reason
    assert "more than 2/h per instance are excluded" in excluded.reason
    assert (waits.kind, waits.reason_code) == (VerdictKind.INCONCLUSIVE, "more_data")


def test_without_counts_by_instance_requests_are_judged(first: Any) -> None:
    """A join that was begun without them gives no reason to wait for minutes."""
    whole = minute(1, (1, 1), candidate=3.0)

    assert first(RELATIVE, whole).kind is first(PLAIN, whole).kind is VerdictKind.FAIL
    assert PLACE["answered"] == 4
