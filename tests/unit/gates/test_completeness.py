"""Completeness counts everything that was sent and is no pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.tally import Tally
from paritygate.gates.completeness import assess_completeness, joined
from paritygate.gates.evidence import Evidence, Sums
from paritygate.gates.verdict import Verdict, VerdictKind

Build = Callable[..., Tally]


@pytest.fixture
def complete(tally_of: Build) -> Callable[..., Verdict]:
    """complete(counts, totals): the verdict on a stage of exactly these."""

    def judge(counts: Mapping[str, int], totals: Mapping[str, int] | None = None) -> Verdict:
        stage = tally_of((), {(): counts}, totals)
        return assess_completeness(Sums(Evidence(whole=stage, stage=stage, stage_name="5", weight=5)))

    return judge


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("late", "200 too late"),
        ("dropped.baseline", "200 dropped by the baseline's publisher"),
        ("dropped.candidate", "200 dropped by the candidate's publisher"),
        ("lost", "200 lost"),
        ("evicted", "200 crowded out of the join"),
    ],
)
def test_events_that_never_met_count_against_it(complete: Callable[..., Verdict], name: str, words: str) -> None:
    """120 of 120 pairs with 200 events too late are not all of the requests."""
    found = complete({"requests": 120, "pairs": 120}, {name: 200})

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "incomplete")
    assert found.reason == f"120 of 320 requests have both answers (38 %), 99 % must: {words}"
    assert (found.numbers["total"], found.numbers[name.replace(".", "_")]) == (320, 200)


def test_unreadable_events_have_a_code_of_their_own(complete: Callable[..., Verdict]) -> None:
    """More than 1 % of the requests unreadable is a broken schema, not a slow join; one in a hundred is borne."""
    found, borne = (complete({"requests": 990, "pairs": 990}, {"poison": n, "late": 5}) for n in (20, 10))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "unreadable")
    assert found.reason.endswith("99 % must: 5 too late, 20 unreadable")
    assert borne.reason_code == "incomplete"


def test_clocks_that_are_ahead_hold(complete: Callable[..., Verdict]) -> None:
    """More than one event in a hundred requests dated ahead of the broker; what is missing is told before it."""
    found, borne = (complete({"requests": 1_000, "pairs": 1_000}, {"future": n}) for n in (11, 10))
    missing = complete({"requests": 1_000, "pairs": 1_000}, {"future": 500, "late": 100})

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "clock_skew")
    assert found.reason == (
        "11 events of 1,000 requests came with a time ahead of the broker's: set the clocks of the services right"
    )
    assert (borne.kind, borne.reason_code, "future" in borne.numbers) == (VerdictKind.PASS, "complete", False)
    assert missing.reason_code == "incomplete"


@given(st.tuples(*[st.integers(0, 500)] * 6))
@settings(derandomize=True, max_examples=60)
def test_the_bounds_hold_whatever_became_of_the_rest(
    tally_of: Build, drawn: tuple[int, int, int, int, int, int]
) -> None:
    """best_case <= any error rate the missing requests could bring about <= worst_case, a ratio both; equal where
    nothing is missing."""
    pairs, failed, silent, alone, shed, late = drawn
    counts = {
        "requests": pairs + silent,
        "pairs": pairs,
        "candidate_errors": min(failed, pairs) + silent,
        "missing_candidate": silent,
        "missing_baseline": alone,
        "shed": shed,
    }
    stage = tally_of((), {(): counts}, {"late": late} if late else None)
    numbers = assess_completeness(Sums(Evidence(whole=stage, stage=stage, stage_name="5", weight=5))).numbers
    total, unknown = pairs + silent + alone + shed + late, alone + shed + late
    if not total:
        assert numbers["best_case"] is None
        assert numbers["worst_case"] is None
        return
    best, worst = numbers["best_case"], numbers["worst_case"]

    assert best is not None
    assert worst is not None
    assert 0.0 <= best <= worst <= 1.0
    assert worst - best == pytest.approx(unknown / total, abs=2e-6)
    for bad in (0, unknown // 2, unknown):
        assert best - 1e-6 <= (counts["candidate_errors"] + bad) / total <= worst + 1e-6


def test_every_cause_is_named(complete: Callable[..., Verdict]) -> None:
    """Requests first, then events."""
    counts = {"requests": 91, "pairs": 90, "missing_candidate": 1, "missing_baseline": 2, "shed": 3}

    assert complete(counts, {"late": 4}).reason == (
        "90 of 100 requests have both answers (90 %), 99 % must: 1 without the candidate's answer,"
        " 2 without the baseline's answer, 3 shed, 4 too late"
    )


def test_one_in_a_hundred_may_be_missing(complete: Callable[..., Verdict]) -> None:
    """The bound itself is enough; what says nothing about the join is not counted."""
    passed = complete({"requests": 990, "pairs": 990}, {"late": 10, "duplicate": 500, "conflict": 9})

    assert (passed.kind, passed.reason_code) == (VerdictKind.PASS, "complete")
    assert complete({"requests": 989, "pairs": 989}, {"late": 11}).kind is VerdictKind.INCONCLUSIVE


def test_lost_events_alone_are_no_pass(complete: Callable[..., Verdict]) -> None:
    """No pair at all: nothing is known, or everything is missing; neither proves."""
    assert complete({}).reason_code == "no_data"
    assert complete({}, {"late": 1}).reason_code == "incomplete"


def test_requests_outside_of_the_named_segments_hold(complete: Callable[..., Verdict]) -> None:
    """One in a hundred may lie under ``__other__``: more, and no segment can be trusted to be seen."""
    counts = {"requests": 1000, "pairs": 1000}
    few, many = (complete(counts, {"segment_overflow": n}) for n in (10, 11))

    assert few.kind is VerdictKind.PASS
    assert (many.kind, many.reason_code) == (VerdictKind.INCONCLUSIVE, "segment_overflow")
    assert many.reason.startswith("11 of 1,000 requests lie in no named segment: declare coarser segments")


def test_a_silent_baseline_is_not_among_the_unjoined(tally_of: Build) -> None:
    """What only the baseline left unanswered is missing from the evidence, but ends no exposure."""
    found = joined(tally_of((), {(): {"pairs": 5, "missing_baseline": 3, "missing_candidate": 2}}, {"lost": 1}))

    assert (found.pairs, found.total, found.unjoined) == (5, 11, 3)
