"""Gates on rates: verdicts, floors, environment, live answers, segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind

ERRORS = "error_rate: {maximum: 0.01}"
SCHEMA = "schema_validation_pass_rate: {minimum: 0.995}"
LABELS = "label_change_rate: {maximum: 0.1}"
FAULTY = "carrier_tier=regional & origin=JFK"

Build = Callable[..., Tally]
Judge = Callable[..., Verdict]


def both(requests: int, candidate: int, baseline: int, together: int = 0) -> dict[str, int]:
    """Counts of pairs in which so many failed in each arm, ``together`` of them in both."""
    return {
        "requests": requests,
        "pairs": requests,
        "candidate_errors": candidate,
        "baseline_errors": baseline,
        "candidate_only_errors": candidate - together,
        "baseline_only_errors": baseline - together,
    }


def test_nothing_measured_is_no_data(tally_of: Build, first: Judge) -> None:
    """No request, no verdict: neither at the beginning nor in a fresh stage."""
    empty = tally_of((), {})
    before = tally_of((), {(): both(5000, 1, 1)})

    assert (first(ERRORS, empty).kind, first(ERRORS, empty).reason_code) == (VerdictKind.INCONCLUSIVE, "no_data")
    assert "stage shadow" in first(ERRORS, before, empty).reason
    assert first(ERRORS, before, empty).kind is VerdictKind.INCONCLUSIVE


def test_328_clean_requests_prove_one_percent(tally_of: Build, first: Judge) -> None:
    """The published number: 327 are too few (and the estimate says one more), 328 are enough."""
    short, enough = (first(ERRORS, tally_of((), {(): both(n, 0, 0)})) for n in (327, 328))

    assert (short.kind, short.reason_code, short.numbers["more_needed"]) == (
        VerdictKind.INCONCLUSIVE,
        "more_data",
        1,
    )
    assert (enough.kind, enough.reason_code) == (VerdictKind.PASS, "proven")
    assert enough.reason.startswith("0 of 328 requests failed (0 %")
    assert enough.numbers["value"] == 0.0
    assert enough.numbers["high"] is not None


def test_a_pass_needs_the_samples_declared(tally_of: Build, first: Judge) -> None:
    """minimum_samples delays a proof and is counted out."""
    found = first("error_rate: {maximum: 0.01, minimum_samples: 1000}", tally_of((), {(): both(400, 0, 0)}))

    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.numbers["more_needed"] == 600


def test_proof_is_of_the_stage_alone(tally_of: Build, first: Judge) -> None:
    """What earlier stages proved does not promote this one."""
    whole, stage = (tally_of((), {(): both(n, 0, 0)}) for n in (10_000, 50))

    assert first(ERRORS, whole, stage).kind is VerdictKind.INCONCLUSIVE


def test_failing_is_told_with_its_counts(tally_of: Build, first: Judge) -> None:
    """Thousands are separated, the limit is named."""
    found = first(ERRORS, tally_of((), {(): both(2031, 97, 2)}))

    assert (found.kind, found.reason_code, found.segment) == (VerdictKind.FAIL, "breached", "all")
    assert found.reason == (
        "97 of 2,031 requests failed (4.8 %), at most 1 % may;"
        " 97 failed in the candidate alone, 2 in the baseline alone, 0 in both"
    )
    assert [found.numbers[f"whole_{who}"] for who in ("candidate_only", "baseline_only", "both")] == [97, 2, 0]
    assert found.numbers["target_unhealthy"] == 0
    assert found.numbers["whole_bad"] == 97
    assert found.numbers["whole_baseline_bad"] == 2


def test_one_or_two_failures_never_roll_back(tally_of: Build, first: Judge) -> None:
    """E of a first failing request is 60, and of two 5000; the floor of three bad events holds them back."""
    for bad, kind in ((1, VerdictKind.INCONCLUSIVE), (2, VerdictKind.INCONCLUSIVE), (3, VerdictKind.FAIL)):
        assert first(ERRORS, tally_of((), {(): both(bad, bad, 0)})).kind is kind


def test_no_proof_at_the_limit_itself(tally_of: Build, first: Judge) -> None:
    """At exactly the limit neither claim fires, and nobody promises when it will."""
    found = first(ERRORS, tally_of((), {(): both(50_000, 500, 500, 400)}))

    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.numbers.get("more_needed") is None
    assert "cannot be proven" in found.reason


def test_an_incident_of_both_arms_holds(tally_of: Build, first: Judge) -> None:
    """5 % failing in each arm alike is the environment's doing; 5 % against 2 % is the candidate's."""
    alike = first(ERRORS, tally_of((), {(): both(4000, 205, 198, 40)}))
    worse = first(ERRORS, tally_of((), {(): both(4000, 205, 80, 20)}))

    assert (alike.kind, alike.reason_code) == (VerdictKind.INCONCLUSIVE, "environment")
    assert "in both arms" in alike.reason
    assert worse.kind is VerdictKind.FAIL


def test_a_good_past_does_not_hide_an_incident_of_both_arms(tally_of: Build, first: Judge) -> None:
    """Both arms fall sick together after a long good time: the environment's doing, by the counts since then."""
    good, incident = tally_of((), {(): both(20_000, 60, 62)}), tally_of((), {(): both(1000, 60, 58, 10)})
    found = first(ERRORS, good + good + incident, panes=(good, good, incident))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "environment")
    assert "60 of 1,000 requests failed since the onset, and so did 58 of the baseline's (5.8 %)" in found.reason


def test_worse_than_the_baseline_in_an_incident_is_found_by_the_panes(tally_of: Build, first: Judge) -> None:
    """In an incident of both arms a candidate that is twice as sick is condemned, for all of its good past."""
    good, incident = tally_of((), {(): both(20_000, 60, 62)}), tally_of((), {(): both(1000, 120, 60, 10)})
    found = first(ERRORS, good + good + incident, panes=(good, good, incident))

    assert found.kind is VerdictKind.FAIL


def test_a_missing_answer_is_a_failure(tally_of: Build, first: Judge) -> None:
    """A candidate that stays silent fails the gate: its requests count, without a pair."""
    silent = both(200, 30, 0) | {"pairs": 170, "missing_candidate": 30}

    assert first(ERRORS, tally_of((), {(): silent})).kind is VerdictKind.FAIL


def test_a_fault_under_live_load_is_not_diluted(tally_of: Build, first: Judge) -> None:
    """Three of three answers that users saw failed, among 20,000 good shadow answers: rolled back, and told so."""
    healthy = both(20_000, 20, 22) | {"live_baseline": 20_000, "live_baseline_errors": 22}
    failing = both(60, 3, 0) | {"live_candidate": 3, "live_candidate_errors": 3, "live_baseline": 57}
    stage = tally_of((), {(): failing})
    whole = tally_of((), {(): healthy}) + stage
    found = first(ERRORS, whole, stage, weight=5, live=[(3, 57, 3, 0)])

    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("3 of 3 answers that users saw failed, at most 1 % may")
    assert first(ERRORS, whole, stage, weight=5, live=[]).kind is VerdictKind.FAIL


def test_live_answers_that_lean_delay_a_promotion(tally_of: Build, first: Judge) -> None:
    """Four failures among the first 40 live answers hold what thousands of shadow answers would prove."""
    counts = both(5000, 5, 5) | {"live_candidate": 40, "live_candidate_errors": 4, "live_baseline": 4960}
    found = first(ERRORS, tally_of((), {(): counts}), weight=1)

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "more_data")
    assert "but 4 of 40 answers that users saw failed: waits for more of them" in found.reason


CANARY = both(40_000, 60, 55, 10) | {
    "live_candidate": 2000,
    "live_candidate_errors": 12,
    "live_baseline": 38_000,
    "live_baseline_errors": 2,
}
LIVE = [(100, 1900, 1, 0)] * 12 + [(100, 1900, 0, 1)] * 2


def test_the_share_of_live_errors_condemns_under_a_relative_rule(tally_of: Build, first: Judge) -> None:
    """12 of 14 live errors from 5 % of the traffic break "at most 50 % more", though all pairs look alike."""
    found = first("error_rate: {maximum_regression_percent: 50}", tally_of((), {(): CANARY}), weight=5, live=LIVE)

    assert found.kind is VerdictKind.FAIL
    assert found.reason.startswith("12 of 14 live errors came from the 5 % of traffic that the candidate answered")


def test_worse_than_the_baseline_is_allowed_within_an_absolute_limit(tally_of: Build, first: Judge) -> None:
    """The same canary keeps "at most 1 %" (0.6 % of its live answers failed): the declared limit counts."""
    assert first(ERRORS, tally_of((), {(): CANARY}), weight=5, live=LIVE).kind is VerdictKind.PASS


def test_the_share_of_live_errors_tells_fault_from_environment(tally_of: Build, first: Judge) -> None:
    """Both arms at 3 % in shadow would be the environment's; all the live errors being the candidate's is not."""
    counts = both(4000, 140, 130, 20) | {"live_candidate": 200, "live_candidate_errors": 20, "live_baseline": 3800}
    rows = [(10, 190, 1, 0)] * 20

    assert first(ERRORS, tally_of((), {(): counts}), weight=5, live=[]).reason_code == "environment"
    assert first(ERRORS, tally_of((), {(): counts}), weight=5, live=rows).kind is VerdictKind.FAIL


def test_a_late_onset_is_found_by_the_panes(tally_of: Build, first: Judge) -> None:
    """A long good past hides a fresh fault from the whole; the start-mixture finds it."""
    good, bad = tally_of((), {(): both(20_000, 100, 100)}), tally_of((), {(): both(700, 30, 4)})
    whole = good + good + bad

    assert first(ERRORS, whole, good).kind is not VerdictKind.FAIL
    assert first(ERRORS, whole, good, panes=(good, good, bad)).kind is VerdictKind.FAIL


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_fault_in_one_segment_is_named(traffic: Build, assess: Callable[..., Assessment], rate: float) -> None:
    """Some 7 % of the traffic fails always or in three of ten cases: failed, with the combination's name."""
    found = assess(ERRORS, traffic(3, 1500, segment_errors=rate))

    assert found.overall is VerdictKind.FAIL
    assert found.worst_segment == found.verdicts[0].segment == FAULTY
    assert FAULTY in found.verdicts[0].reason
    finding = found.segment_findings[0]
    assert finding.segment == FAULTY
    assert finding.damage_ratio > 0.8
    assert finding.effect_low < finding.effect <= finding.effect_high


def test_flipped_answers_in_one_segment_are_named(traffic: Build, assess: Callable[..., Assessment]) -> None:
    """Labels that flip in one combination fail label_change_rate there, though overall it is within its limit."""
    found = assess(LABELS, traffic(4, 600, segment_changes=1.0))

    assert found.overall is VerdictKind.FAIL
    assert found.worst_segment == FAULTY
    assert found.verdicts[0].numbers["value"] < 0.1  # type: ignore[operator]


def test_a_segment_within_the_limit_is_no_fault(tally_of: Build, first: Judge) -> None:
    """More errors than the baseline are allowed up to the declared maximum, in every segment too."""
    cells = {(tier,): both(20_000, 60, 20) for tier in ("major", "regional")}

    assert first(ERRORS, tally_of(("tier",), cells)).kind is VerdictKind.PASS


def test_a_segment_where_both_arms_fail_is_no_fault(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """A segment that the baseline cannot answer either is not the candidate's."""
    cells = {("major",): both(20_000, 10, 10), ("broken",): both(100, 50, 50, 50)}
    found = assess(ERRORS, tally_of(("tier",), cells))

    assert found.verdicts[0].kind is VerdictKind.PASS
    assert found.worst_segment is None


def test_a_flagged_segment_holds_below_the_threshold(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """Evidence in one large segment alone (E >= 20 there, less in the mean of all) blocks the promotion."""
    cells = {(tier,): both(900, 1, 1) for tier in "abcdefgh"} | {("sick",): both(900, 26, 7, 2)}
    found = assess(ERRORS, tally_of(("tier",), cells))

    assert (found.verdicts[0].kind, found.verdicts[0].reason_code) == (VerdictKind.INCONCLUSIVE, "segment_flagged")
    assert found.worst_segment == "tier=sick"
    assert "26 of 900 requests failed in tier=sick, where 7 of the baseline's did" in found.verdicts[0].reason


def test_the_failing_output_rule_is_named(traffic: Build, first: Judge) -> None:
    """2 % of outputs out of range fail the schema gate; the reason names rule and counts."""
    found = first(SCHEMA, traffic(5, 2500, invalid=(0.0, 0.02)))

    assert (found.kind, found.segment) == (VerdictKind.FAIL, "all")
    assert "confidence.range in " in found.reason
    assert found.numbers["value"] == pytest.approx(0.98, abs=0.01)
    assert found.numbers["low"] <= found.numbers["value"] <= found.numbers["high"]  # type: ignore[operator]


def test_valid_outputs_pass(traffic: Build, first: Judge) -> None:
    """Clean outputs prove 99.5 %."""
    assert first(SCHEMA, traffic(6, 5000)).kind is VerdictKind.PASS


REGRESSION = "error_rate: {maximum_regression_percent: 50}"


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        (both(50_000, 1500, 500, 50), VerdictKind.FAIL),
        (both(50_000, 500, 500, 50), VerdictKind.PASS),
        (both(50_000, 750, 500, 50), VerdictKind.INCONCLUSIVE),
        (both(50_000, 20_000, 20_000, 15_000), VerdictKind.PASS),
    ],
)
def test_a_relative_error_gate(tally_of: Build, first: Judge, counts: dict[str, int], kind: VerdictKind) -> None:
    """At most half as many errors again as the baseline: three times fails, equal passes, 1.5 never ends."""
    assert first(REGRESSION, tally_of((), {(): counts})).kind is kind


def test_more_bad_events_never_help(tally_of: Build, first: Judge) -> None:
    """log E_bad rises and log E_ok falls with every failure of the candidate."""
    found = [first(ERRORS, tally_of((), {(): both(1000, bad, 5)})).numbers for bad in range(5, 40, 5)]
    bads: list[Any] = [n["log_e_bad"] for n in found]
    oks: list[Any] = [n["log_e_ok"] for n in found if "log_e_ok" in n]

    assert bads == sorted(bads)
    assert oks == sorted(oks, reverse=True)
