"""Timelines of one partition: what becomes of each kind of event, in time, and over restarts."""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import pairwise

import pytest

from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import COUNT_NAMES, Tally
from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.errors import ConfigError, DecodeError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, Role, Status
from paritygate.schemas.report import WindowReport
from paritygate.schemas.rules import MAX_COUNT
from tests.support.batch_model import streamed
from tests.support.join_bench import (
    GAP,
    OUTCOMES_TOPIC,
    PLATFORM_TOPIC,
    POISON,
    PRIMARY_TOPIC,
    SHADOW_TOPIC,
    TOPICS,
    JoinBench,
    pairs,
    prediction,
)

SETTINGS = JoinSettings("roll", ("geography",))  # window 1 s, grace 2 s, lateness 0.5 s, retained 2 s
BASE, CAND = Arm.BASELINE, Arm.CANDIDATE


def bench_of(*events: object, settings: JoinSettings = SETTINGS) -> JoinBench:
    """A bench whose logs hold the events, all of them read."""
    bench = JoinBench(settings)
    for event in events:
        bench.append(event)
    bench.fetch_all()
    return bench


def tick(bench: JoinBench, at_ms: int) -> None:
    """Event time comes to ``at_ms`` on both prediction topics, by a pair of its own."""
    for event in pairs([at_ms], at_ms):
        bench.append(event)
    bench.fetch_all()


def total(bench: JoinBench, name: str) -> int:
    """A total, or a count of cells, over all final reports."""
    tallies = streamed(bench.reports).values()
    return sum(t.count(name) if name in COUNT_NAMES else t.totals.get(name, 0) for t in tallies)


def window(bench: JoinBench, start_ms: int) -> Tally:
    """The final content of one window; empty where it was reported without content, KeyError never."""
    return streamed(bench.reports).get(start_ms, Tally(("geography",)))


def test_the_first_record_of_a_log_counts() -> None:
    """The record at offset 0 is paired like any other (a guard once skipped it)."""
    bench = bench_of(*pairs([1]))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2}
    assert total(bench, "pairs") == 1


def reported(bench: JoinBench, start_ms: int) -> list[WindowReport]:
    """What is published now of one window."""
    return [r for r in bench.publish() if r.window_start_ms == start_ms]


def test_a_window_is_reported_when_time_has_passed_it_and_nothing_waits() -> None:
    """Window [10 s, 11 s) with lateness 0.5 s and all its requests paired is reported at 11.5 s of event time."""
    bench = bench_of(*pairs([1], 10_999))
    tick(bench, 11_499)
    assert reported(bench, 10_000) == []
    tick(bench, 11_500)
    (report,) = reported(bench, 10_000)

    assert (report.window_end_ms, report.watermark_ms, report.rollout_id) == (11_000, 11_000, "roll")


def test_a_window_waits_for_its_slowest_request() -> None:
    """A request that waits holds its window back, to the end of grace at most: no answer hides by being slow."""
    bench = bench_of(*pairs([1], 10_000), prediction(2, BASE, 10_999))
    tick(bench, 13_499)
    assert reported(bench, 10_000) == []
    tick(bench, 13_500)
    (report,) = reported(bench, 10_000)

    assert report.cells[0].counts[:3] == (2, 1, 1)


def test_an_event_that_comes_to_a_closed_window_holds_it_back_again() -> None:
    """Older than the watermark, but within grace: the window is reported again when this request is settled."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 12_000)
    assert len(reported(bench, 10_000)) == 1
    for event in pairs([2], 10_500):
        bench.append(event)
    bench.append(prediction(3, BASE, 10_600))
    bench.fetch_all()
    assert reported(bench, 10_000) == []
    bench.append(prediction(3, CAND, 10_600))
    bench.fetch_all()
    (report,) = reported(bench, 10_000)

    assert report.cells[0].counts[:2] == (3, 3)
    assert bench.join.bins() == {"paired": 8}


def test_what_waits_holds_its_window_back_over_a_restart() -> None:
    """Before what waits has been read again, no window is taken for settled."""
    bench = bench_of(*pairs([1], 10_000), prediction(2, BASE, 10_000), *pairs([3], 12_000))
    assert reported(bench, 10_000) == []
    bench.crash(bench.join.snapshot())
    bench.fetch_all()
    assert reported(bench, 10_000) == []
    bench.append(prediction(2, CAND, 10_000))
    bench.fetch_all()
    (report,) = reported(bench, 10_000)

    assert report.cells[0].counts[:2] == (2, 2)


def test_a_candidate_that_never_comes_is_a_failure() -> None:
    """After grace a lone baseline is a request whose candidate failed, with infinite latency."""
    bench = bench_of(prediction(1, BASE, 10_000))
    tick(bench, 14_000)
    bench.publish()
    tally = window(bench, 10_000)

    assert {n for n in COUNT_NAMES if tally.count(n)} == {
        "requests", "missing_candidate", "candidate_errors", "candidate_only_errors", "baseline_checked",
        "live_baseline", "timeouts_counted", "candidate_timeouts", "candidate_only_timeouts",
    }  # fmt: skip
    assert tally.histograms["latency.candidate"][-1] == 1
    assert bench.join.bins() == {"missing_candidate": 1, "paired": 2}


def test_a_baseline_that_never_comes_is_no_request() -> None:
    """A lone candidate counts for completeness only."""
    bench = bench_of(prediction(1, CAND, 10_000))
    tick(bench, 14_000)
    bench.publish()
    tally = window(bench, 10_000)

    assert {n for n in COUNT_NAMES if tally.count(n)} == {"missing_baseline"}
    assert tally.histograms == {}


def test_a_missing_live_candidate_is_an_exposed_failure() -> None:
    """Where the baseline was the mirror, the user waited for the candidate that never came."""
    bench = bench_of(prediction(1, BASE, 10_000, role=Role.SHADOW))
    tick(bench, 14_000)
    bench.publish()

    assert total(bench, "live_candidate_errors") == total(bench, "live_candidate") == 1


@pytest.mark.parametrize("arm", [BASE, CAND])
def test_a_shed_request_is_evidence_of_nothing(arm: Arm) -> None:
    """Shed on either arm: one ``shed``, no request, no pair; what the user saw counts; bin ``shed`` for both."""
    events = [replace(e, status=Status.SHED, role=Role.PRIMARY) if e.arm is arm else e for e in pairs([1], 10_000)]
    bench = bench_of(*events, prediction(2, arm, 10_000, status=Status.SHED))
    bench.finish(60_000)

    assert window(bench, 10_000).totals == {}
    assert {n for n in COUNT_NAMES if total(bench, n)} == {"shed"} | ({"live_baseline"} if arm is CAND else set())
    assert total(bench, "shed") == 2
    assert bench.join.bins() == {"shed": 3}


def test_answers_that_users_saw_are_counted_at_arrival() -> None:
    """``exposed`` counts the candidate's primary answers once each, late and repeated ones included."""
    live = prediction(1, CAND, 10_000, role=Role.PRIMARY)
    bench = bench_of(live, live, prediction(2, CAND, 10_000))
    tick(bench, 20_000)
    bench.publish()
    bench.append(prediction(3, CAND, 10_000, role=Role.PRIMARY))
    bench.finish(60_000)

    assert total(bench, "exposed") == 2


def test_events_of_both_arms_may_lie_on_one_topic() -> None:
    """Arms are told apart by the event, not by the topic: two primary events make a pair."""
    bench = bench_of(*(replace(e, role=Role.PRIMARY) for e in pairs([1, 2, 3])))
    bench.finish(60_000)

    assert total(bench, "pairs") == 3
    assert total(bench, "live_candidate") == total(bench, "live_baseline") == 3


def test_a_pair_lies_in_the_baselines_window() -> None:
    """Where the two stamps differ, the baseline's decides, whichever arm came first."""
    bench = bench_of(prediction(1, CAND, 12_500), prediction(1, BASE, 11_999), prediction(2, BASE, 12_000),
                     prediction(2, CAND, 11_000))  # fmt: skip
    bench.finish(60_000)

    assert [window(bench, s).count("pairs") for s in (11_000, 12_000)] == [1, 1]


# -- repeats, late, future, foreign ----------------------------------------------------------------------------


def test_repeats_are_duplicates_and_contradictions_conflicts() -> None:
    """A repeat of a waiting event that says something else is a conflict; the first one stands."""
    first = prediction(1, BASE, 10_000)
    bench = bench_of(first, first, replace(first, latency_ms=99.0), replace(first, output="{}"))
    assert bench.join.bins() == {"conflict": 2, "duplicate": 1, "pending": 1}
    bench.append(prediction(1, CAND, 10_000))
    bench.fetch_all()
    bench.append(replace(first, latency_ms=99.0))
    bench.append(prediction(1, CAND, 10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"conflict": 2, "duplicate": 3, "paired": 2}
    assert window(bench, 10_000).totals == {"duplicate": 5}


def test_a_hot_key_is_one_request() -> None:
    """Ten thousand events of one request id make one pair and the rest duplicates."""
    bench = JoinBench(SETTINGS)
    for _ in range(5_000):
        for event in pairs([7]):
            bench.append(event)
    while bench.fetch(PRIMARY_TOPIC, 700) + bench.fetch(SHADOW_TOPIC, 300):
        bench.publish()
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2, "duplicate": 9_998}


def test_requests_with_ids_alike_never_merge() -> None:
    """Ids are compared whole: a long common prefix, case or a space keeps requests apart."""
    ids = ["x" * 200 + "1", "x" * 200 + "2", "a", "A", "a ", "ä"]
    bench = bench_of(*(prediction(i, arm, 10_000) for i in ids for arm in (BASE, CAND)))
    bench.finish(60_000)

    assert total(bench, "pairs") == len(ids)


def test_an_event_after_its_request_was_settled_is_late() -> None:
    """Late: counted in the oldest open window, in no cell; its repeat is a duplicate, its partner late too."""
    bench = bench_of(prediction(1, BASE, 10_000))
    tick(bench, 20_000)
    bench.publish()
    for event in (prediction(1, CAND, 10_000), prediction(2, CAND, 10_000), prediction(2, BASE, 10_000),
                  prediction(2, BASE, 10_000)):  # fmt: skip
        bench.append(event)
    bench.finish(60_000)

    assert bench.join.bins() == {"missing_candidate": 1, "paired": 2, "late": 3, "duplicate": 1}
    assert window(bench, 19_000).totals == {"late": 3, "duplicate": 1}
    assert window(bench, 10_000).count("missing_candidate") == 1


def test_late_begins_where_windows_close() -> None:
    """At the horizon (event time minus lateness and grace) an event may still wait; a millisecond before, not."""
    bench = bench_of()
    tick(bench, 20_000)
    bench.publish()
    for i, at_ms in enumerate((17_500, 17_499)):
        bench.append(prediction(i, BASE, at_ms))
    bench.fetch_all()

    assert bench.join.bins() == {"paired": 2, "pending": 1, "late": 1}


def test_a_late_event_whose_partner_still_waits_is_paired() -> None:
    """An old stamp does not matter while the other arm's event waits."""
    bench = bench_of(prediction(1, CAND, 19_000))
    tick(bench, 20_000)
    bench.publish()
    bench.append(prediction(1, BASE, 10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 4}
    assert window(bench, 19_000).count("pairs") == 1


def test_a_clock_of_the_future_cannot_expire_the_others() -> None:
    """An event more than ``max_future_ms`` after its record takes the record's time, and still pairs."""
    bench = JoinBench(SETTINGS)
    far = 10_000 + 3_600_000
    for arm in (BASE, CAND):
        bench.append(prediction(1, arm, far), appended_at_ms=10_000)
    bench.append(prediction(2, BASE, 10_000))
    bench.fetch_all()
    bench.publish()

    assert bench.join.bins() == {"paired": 2, "pending": 1}
    bench.append(prediction(2, CAND, 10_000))
    bench.finish(60_000)
    assert window(bench, 10_000).totals == {"future": 2}
    assert window(bench, 10_000).count("pairs") == 2


def test_a_record_without_a_time_holds_nothing_back() -> None:
    """Kafka writes -1 where a producer gave no time; such events keep their own."""
    bench = JoinBench(SETTINGS)
    for event in pairs([1], 90_000):
        bench.append(event, appended_at_ms=-1)
    bench.finish(200_000)

    assert window(bench, 90_000).count("pairs") == 1


def test_events_of_unknown_rollouts_are_foreign() -> None:
    """Nobody declared it: counted in a bin, in no report; records of all kinds alike."""
    bench = bench_of(
        prediction(1, BASE, 10_000, rollout_id="x"),
        Outcome(request_id="r", rollout_id="x", measure="m", event_at_ms=10_000),
        PlatformEvent(rollout_id="x", arm=CAND, model_version="1", instance_id="i", event_at_ms=1, running_ms=1),
    )
    bench.finish(60_000)

    assert bench.join.bins() == {"foreign": 3}
    assert [r for r in bench.reports if r.rollout_id == "x"] == []


# -- time --------------------------------------------------------------------------------------------------------


def test_a_silent_arm_does_not_freeze_time_once_its_log_is_read() -> None:
    """No shadow event at all: time stands until the topic is known to be at its end, then candidates miss."""
    bench = bench_of(prediction(1, BASE, 10_000), prediction(2, BASE, 20_000))
    bench.publish()
    assert bench.join.watermark_ms is None
    bench.join.caught_up(SHADOW_TOPIC, True)
    bench.publish()

    assert bench.join.bins() == {"missing_candidate": 1, "pending": 1}
    assert bench.join.watermark_ms == 19_500


def test_the_slower_side_decides_while_it_is_read() -> None:
    """The watermark is the minimum of both topics' newest events minus the lateness."""
    bench = bench_of(prediction(1, BASE, 30_000), prediction(2, CAND, 12_000))
    bench.publish()

    assert bench.join.watermark_ms == 11_500
    assert bench.join.newest_ms == {PRIMARY_TOPIC: 30_000, SHADOW_TOPIC: 12_000}


def test_the_watermark_never_goes_back() -> None:
    """A source that had caught up and brings old events again moves nothing back, and no id is forgotten."""
    bench = bench_of(*pairs([1], 100_000))
    bench.join.caught_up(SHADOW_TOPIC, True)
    tick(bench, 230_000)
    bench.publish()
    before = bench.join.watermark_ms
    bench.append(prediction(9, CAND, 230_001))
    bench.append(prediction(230_000, BASE, 230_000))
    for _ in range(3):
        bench.fetch_all()
        bench.publish()

    assert bench.join.watermark_ms is not None
    assert before is not None
    assert bench.join.watermark_ms >= before
    assert bench.join.bins()["duplicate"] == 1


def test_a_rollout_begins_where_time_has_come_to() -> None:
    """Declared while a source reads old events again, it does not begin in the past."""
    bench = bench_of(prediction(1, BASE, 100_000))
    bench.join.caught_up(SHADOW_TOPIC, True)
    bench.publish()
    bench.append(prediction(1, CAND, 50_000))
    bench.fetch_all()
    bench.publish()
    bench.join.declare(replace(SETTINGS, rollout_id="new"))
    (sign_of_life,) = [r for r in bench.publish() if r.rollout_id == "new"]

    assert sign_of_life.watermark_ms == 99_500


def test_a_clock_counts_only_when_all_is_read() -> None:
    """``now_ms`` is ignored while one prediction topic is not known to be at its end."""
    bench = bench_of(*pairs([1], 10_000))
    bench.join.caught_up(PRIMARY_TOPIC, True)
    bench.join.advance(1_000_000)
    assert bench.join.watermark_ms == 9_500
    bench.join.caught_up(SHADOW_TOPIC, True)
    bench.join.advance(1_000_000)

    assert bench.join.watermark_ms == 999_500


def test_new_events_take_back_that_a_topic_was_at_its_end() -> None:
    """After new events only a new fetch can say that the log ends there."""
    bench = bench_of(*pairs([1], 10_000))
    for topic in TOPICS:
        bench.join.caught_up(topic, True)
    tick(bench, 11_000)
    bench.join.advance(1_000_000)

    assert bench.join.watermark_ms == 10_500


# -- reports -----------------------------------------------------------------------------------------------------


def test_a_closed_window_that_changes_is_reported_whole_again() -> None:
    """Within ``retain_ms`` a change re-reports the window with a higher revision and all its content."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 14_000)
    (first,) = [r for r in bench.publish() if r.window_start_ms == 10_000]
    bench.append(prediction(1, BASE, 10_000))
    bench.fetch_all()
    (second,) = bench.publish()

    assert second.window_start_ms == 10_000
    assert second.revision > first.revision
    assert second.cells == first.cells
    assert (first.totals, second.totals) == ({}, {"duplicate": 1})


def test_a_window_that_is_gone_is_never_made_anew() -> None:
    """After ``retain_ms`` a repeat counts in the oldest open window; the full report stays the last one."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 14_000)
    bench.publish()
    tick(bench, 20_000)
    bench.publish()
    bench.append(prediction(1, BASE, 10_000))
    bench.append(Outcome(request_id="r1", rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.finish(60_000)

    assert len([r for r in bench.reports if r.window_start_ms == 10_000]) == 1
    assert window(bench, 19_000).totals == {"duplicate": 1, "outcome_single": 1}


def test_a_window_is_not_forgotten_before_it_was_reported() -> None:
    """However far time jumps, content that nobody took yet is kept."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 14_000)
    bench.join.advance()
    tick(bench, 500_000)
    bench.join.advance()
    bench.publish()

    assert window(bench, 10_000).count("pairs") == 1


def test_time_that_passes_without_content_is_reported() -> None:
    """One empty report for the newest closed window, none for windows in between or already reported."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 20_000)
    starts = [(r.window_start_ms, bool(r.cells)) for r in bench.publish()]
    assert starts == [(10_000, True), (18_000, False)]
    assert bench.publish() == []
    tick(bench, 20_400)
    assert bench.publish() == []
    tick(bench, 20_600)
    assert [(r.window_start_ms, r.cells) for r in bench.publish()] == [(19_000, ())]


def test_signs_of_life_are_at_most_two_a_second() -> None:
    """Windows of 100 ms without content: at least 500 ms of event time between two empty reports."""
    bench = bench_of(*pairs([1], 10_000), settings=replace(SETTINGS, window_ms=100))
    for at_ms in range(13_000, 16_000, 100):
        for topic in TOPICS:
            bench.join.caught_up(topic, True)
        bench.join.advance(at_ms)
        bench.reports.extend(bench.join.take_reports(1))
    ends = [r.window_end_ms for r in bench.reports if not r.cells]

    assert len(ends) >= 4
    assert all(later - earlier >= 500 for earlier, later in pairwise(ends))


def test_reports_say_what_they_rest_on() -> None:
    """Sources with their offsets, dimensions, partition, generation; revisions rise."""
    bench = bench_of(*pairs([1, 2], 10_000))
    tick(bench, 20_000)
    reports = bench.publish(generation=7)

    assert [r.generation for r in reports] == [7, 7]
    assert reports[0].revision < reports[1].revision
    assert reports[0].dimensions == ("geography",)
    assert [(s.topic, s.first, s.next) for s in reports[0].sources] == [
        (PRIMARY_TOPIC, 0, 3), (SHADOW_TOPIC, 0, 3), (OUTCOMES_TOPIC, 0, 0), (PLATFORM_TOPIC, 0, 0),
    ]  # fmt: skip


def test_reports_that_could_not_be_published_come_again() -> None:
    """Requeued reports return whole, with higher revisions, also over a restart and after their window went."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 14_000)
    bench.join.advance()
    lost = bench.join.take_reports(1)
    bench.join.requeue(lost)
    again = bench.join.take_reports(1)
    assert {r.window_start_ms: r.cells for r in again} == {r.window_start_ms: r.cells for r in lost}
    lost.sort(key=lambda r: r.window_start_ms)
    tick(bench, 30_000)
    bench.publish()
    bench.join.requeue(again)
    bench.crash(bench.join.snapshot())
    bench.fetch_all()
    (third,) = [r for r in bench.publish(generation=3) if r.window_start_ms == 10_000]

    assert third.cells == lost[0].cells
    assert third.generation == 3
    assert third.revision > max(r.revision for r in again) > max(r.revision for r in lost)


@pytest.mark.parametrize("order", [(PRIMARY_TOPIC, SHADOW_TOPIC), (SHADOW_TOPIC, PRIMARY_TOPIC)])
def test_an_example_names_the_trace_of_its_request(order: tuple[str, str]) -> None:
    """That of the event which completed the pair, over a crash too; none where nothing did, or it is no id."""
    events = []
    for n, trace in enumerate(("ab" * 16, "mine", "x" * 129, "")):
        events += [prediction(n, arm, 10_000, answer=arm.value, trace_id=trace) for arm in (BASE, CAND)]
    waits = prediction(9, BASE, 10_000, trace_id="cd" * 16)
    bench = bench_of(*events, waits)
    bench.fetch(order[0])
    bench.fetch(order[1], 3)
    bench.crash(bench.snapshot())
    told = [decode_report(encode(report)) for report in bench.finish(60_000)]
    found = {e.request_id: (e.kind, e.trace_id) for report in told for e in report.examples}

    assert found == {
        "r0": ("label_change", "ab" * 16), "r1": ("label_change", "mine"), "r2": ("label_change", ""),
        "r3": ("label_change", ""), "r9": ("missing_candidate", ""),
    }  # fmt: skip


def test_examples_do_not_depend_on_order() -> None:
    """The smallest request ids by kind are kept, whatever came first; details hold no payload."""
    events = [
        event
        for i in range(20)
        for event in (
            prediction(f"q{i:02}", BASE, 10_000),
            prediction(f"q{i:02}", CAND, 10_000, answer="secret", status=Status.ERROR if i > 15 else Status.OK),
        )
    ]
    seen = []
    for order in (events, events[::-1]):
        bench = JoinBench(replace(SETTINGS, max_examples=6))
        for event in order:
            bench.append(event)
        while bench.fetch(PRIMARY_TOPIC, 3) + bench.fetch(SHADOW_TOPIC, 5):
            pass
        bench.finish(60_000)
        (report,) = [r for r in bench.reports if r.cells]
        seen.append(report.examples)

    assert seen[0] == seen[1]
    assert [(e.kind, e.request_id) for e in seen[0]] == [
        ("candidate_only_error", "q16"), ("candidate_only_error", "q17"), ("candidate_only_error", "q18"),
        ("candidate_only_error", "q19"), ("label_change", "q00"), ("label_change", "q01"),
    ]  # fmt: skip
    assert not any("secret" in e.detail for e in seen[0])


# -- outcomes and platform -----------------------------------------------------------------------------------------


def test_outcomes_are_paired_deltas_in_their_own_window() -> None:
    """Both scores: one histogram step in the outcome's window; one score: single; a repeat: counted apart."""

    def score(request: int, measure: str, baseline: float | None) -> Outcome:
        return Outcome(request_id=f"r{request}", rollout_id="roll", measure=measure, event_at_ms=10_000,
                       baseline=baseline, candidate=0.75)  # fmt: skip

    bench = bench_of(score(1, "review", 0.5), score(1, "review", 0.5), score(2, "review", None),
                     score(1, "kpi", 0.75), score(3, "review", 1.0))  # fmt: skip
    bench.finish(60_000)
    tally = window(bench, 10_000)

    assert tally.totals == {"outcome_paired": 3, "outcome_single": 1, "outcome_duplicate": 1}
    assert {i: int(tally.histograms["scores.review"][i]) for i in (1250, 750)} == {1250: 1, 750: 1}
    assert int(tally.histograms["scores.kpi"][1000]) == 1
    assert bench.join.bins() == {"outcome": 4, "outcome_duplicate": 1}


def test_repeated_outcomes_are_known_however_far_the_answers_are_read() -> None:
    """Outcomes that are read long after the answers are still told from their repeats."""
    once = Outcome(request_id="r", rollout_id="roll", measure="m", event_at_ms=10_000, baseline=0.0, candidate=0.0)
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 900_000)
    bench.publish()
    bench.append(once)
    bench.fetch_all()
    bench.append(once)
    bench.finish(1_000_000)

    assert bench.join.bins() == {"paired": 4, "outcome": 1, "outcome_duplicate": 1}


def test_platform_reports_add_up_by_arm() -> None:
    """Running time is the exposure; OOMs, restarts and drops stand beside it."""
    one = PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i", event_at_ms=10_000,
                        running_ms=500, gpu_ooms=1, restarts=2, dropped_events=3)  # fmt: skip
    bench = bench_of(one, replace(one, running_ms=700, gpu_ooms=0), replace(one, arm=BASE))
    bench.finish(60_000)

    assert window(bench, 10_000).totals == {
        "reports.candidate": 2, "running_ms.candidate": 1_200, "ooms.candidate": 1, "restarts.candidate": 4,
        "dropped.candidate": 6, "reports.baseline": 1, "running_ms.baseline": 500, "ooms.baseline": 1,
        "restarts.baseline": 2, "dropped.baseline": 3,
    }  # fmt: skip


def test_memory_is_summed_with_how_many_reports_gave_it() -> None:
    """A mean follows, in any order; 0 and the 8 EiB of a container without a limit are no measurements."""
    one = PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i", event_at_ms=10_000,
                        running_ms=1, memory_bytes=3 << 30)  # fmt: skip
    told = [replace(one, memory_bytes=n) for n in (5 << 30, 0, MAX_COUNT >> 12 << 12, 1 << 45)]
    for events in ([one, *told, replace(one, arm=BASE)], [replace(one, arm=BASE), *told[::-1], one]):
        bench = bench_of(*events)
        bench.finish(60_000)
        totals = window(bench, 10_000).totals

        assert (totals["memory_bytes.candidate"], totals["memory_reports.candidate"]) == ((8 << 30) + (1 << 45), 3)
        assert (totals["memory_bytes.baseline"], totals["memory_reports.baseline"]) == (3 << 30, 1)
        assert totals["reports.candidate"] == 5


def test_an_absurd_platform_report_stops_nothing() -> None:
    """Counts at the end of 64 bits are allowed, and two of them made a window that no report could hold."""
    absurd = PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i", event_at_ms=10_000,
                           running_ms=MAX_COUNT, gpu_ooms=MAX_COUNT)  # fmt: skip
    bench = bench_of(*[absurd] * 3)
    bench.crash(bench.snapshot())
    told = [decode_report(encode(report)) for report in bench.finish(60_000)]

    assert [r.totals["ooms.candidate"] for r in told if r.totals] == [3 << 40]


def test_grave_events_of_an_open_window_are_told_at_once() -> None:
    """Each new one once, with what platforms said and nothing of the requests; the whole window replaces it."""
    bench = bench_of(*pairs([10_000, 10_600], 10_000))
    bench.publish()
    snapshot = bench.snapshot()
    died = PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i", event_at_ms=10_700,
                         running_ms=500, gpu_ooms=1)  # fmt: skip
    bench.append(died)
    bench.append(replace(died, arm=BASE))
    bench.fetch_all()
    (early,) = bench.publish()

    assert (early.is_early, early.window_start_ms, early.cells, early.histograms) == (True, 10_000, (), ())
    assert early.totals["ooms.candidate"] == 1
    assert bench.publish() == []
    bench.append(replace(died, gpu_ooms=0))
    bench.append(replace(died, gpu_ooms=0, restarts=1))
    bench.fetch_all()
    assert [r.totals["restarts.candidate"] for r in bench.publish()] == [1]

    bench.crash(snapshot)
    bench.finish(60_000)
    assert not any(r.is_early for r in bench.reports[-1:])
    assert window(bench, 10_000).totals["running_ms.candidate"] == 1_500
    assert (total(bench, "pairs"), total(bench, "ooms.candidate")) == (2, 1)


def test_a_flood_of_measures_is_bounded() -> None:
    """Measures beyond the bound are counted, without a histogram of their own."""
    bench = bench_of(
        *(Outcome(request_id="r", rollout_id="roll", measure=f"m{i}", event_at_ms=10_000, baseline=0.0,
                  candidate=0.0) for i in range(100))
    )  # fmt: skip
    bench.finish(60_000)

    assert len(window(bench, 10_000).histograms) == 32
    assert window(bench, 10_000).totals == {"outcome_paired": 100, "outcome_overflow": 68}


# -- bounds --------------------------------------------------------------------------------------------------------


def test_a_full_memory_settles_the_oldest_early() -> None:
    """Beyond ``max_pending`` the oldest count as missing at once, in bin ``evicted``; their partners are late."""
    bench = JoinBench(replace(SETTINGS, max_pending=10))
    events = pairs(range(25), 10_000, 1)
    for event in events:
        bench.append(event)
    bench.fetch(PRIMARY_TOPIC, 20)
    bench.fetch(PRIMARY_TOPIC, 5)
    assert bench.join.bins() == {"evicted": 15, "pending": 10}
    bench.fetch(SHADOW_TOPIC)
    bench.finish(60_000)

    assert bench.join.bins() == {"evicted": 15, "late": 15, "paired": 20}
    assert total(bench, "missing_candidate") == total(bench, "evicted") == 15
    assert total(bench, "requests") == 25
    assert total(bench, "missing_baseline") == 0


def test_eviction_does_not_depend_on_a_restart() -> None:
    """The same rows are evicted after a restore, also among rows of one millisecond."""
    results = []
    for crash in (False, True):
        bench = JoinBench(replace(SETTINGS, max_pending=16))
        for i in range(40):
            segment = {"geography": f"g{i}"}
            bench.append(prediction(i * 37 % 40, BASE, 10_000, segments=segment))
            bench.append(prediction(i * 11 % 40, CAND, 10_000 + i, segments=segment))
        bench.fetch(PRIMARY_TOPIC, 12)
        bench.fetch(SHADOW_TOPIC, 5)
        if crash:
            bench.crash(bench.join.snapshot())
            bench.fetch(PRIMARY_TOPIC, 12)  # read again; what is evicted depends on what is read together
            bench.fetch(SHADOW_TOPIC, 5)
        for _ in range(10):
            bench.fetch(PRIMARY_TOPIC, 7)
            bench.fetch(SHADOW_TOPIC, 3)
        bench.finish(60_000)
        results.append((streamed(bench.reports), bench.join.bins()))

    assert results[0] == results[1]
    assert results[0][1]["evicted"] > 5


def test_a_million_segment_values_stay_bounded() -> None:
    """Distinct values far beyond the bound (scaled down) end in ``__other__``; no request is lost."""
    settings = replace(SETTINGS, max_values_per_dimension=20, max_cells=15)
    bench = JoinBench(settings)
    for i in range(5_000):
        for arm in (BASE, CAND):
            bench.append(prediction(i, arm, 10_000, segments={"geography": f"value-{i}"}))
    while bench.fetch(PRIMARY_TOPIC, 500) + bench.fetch(SHADOW_TOPIC, 500):
        pass
    snapshot_bytes = len(bench.join.snapshot())
    bench.finish(60_000)
    tally = window(bench, 10_000)

    assert tally.count("requests") == 5_000
    assert len(tally.cells) <= 16
    assert tally.totals["segment_overflow"] == int(tally.cells["__other__",][0]) == 5_000 - 15
    assert snapshot_bytes < 100_000


# -- rollouts ------------------------------------------------------------------------------------------------------


def test_a_rollout_is_joined_from_its_declaration_on() -> None:
    """Requests begun before it are foreign in both arms, also when another rollout has them read again later."""
    bench = JoinBench(replace(SETTINGS, rollout_id="older"))
    for event in (replace(e, rollout_id="older") for e in pairs([0], 10_000)):
        bench.append(event)
    for event in pairs([1], 10_000):
        bench.append(event)
    bench.append(prediction(2, BASE, 10_000))
    bench.append(Outcome(request_id="r1", rollout_id="older", measure="m", event_at_ms=10_000))
    bench.append(Outcome(request_id="r1", rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.fetch_all()
    bench.join.declare(SETTINGS)
    bench.append(prediction(3, BASE, 10_001))
    bench.fetch_all()
    bench.crash(bench.join.snapshot())
    assert [bench.join.position(t) for t in (PRIMARY_TOPIC, SHADOW_TOPIC, OUTCOMES_TOPIC)] == [0, 0, 0]
    # Astride the declaration: their other arm was foreign, so they must not look like missing answers.
    bench.append(prediction(2, CAND, 10_000))
    bench.append(prediction(1, BASE, 10_000))
    bench.append(Outcome(request_id="r1", rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {
        "paired": 2, "foreign": 6, "missing_candidate": 1, "outcome": 2,
    }  # fmt: skip


def test_declaring_twice_changes_nothing() -> None:
    """The first declaration stands, also over a restart; what waits goes on waiting."""
    bench = bench_of(prediction(1, BASE, 10_000))
    bench.join.declare(SETTINGS)
    bench.crash(bench.join.snapshot())
    bench.join.declare(SETTINGS)
    bench.append(prediction(1, CAND, 10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2}


def test_a_retired_rollout_is_finished_then_forgotten() -> None:
    """Its last windows are reported, no sign of life follows, later events are foreign; it can be declared anew."""
    bench = bench_of(*pairs([1], 10_000), prediction(2, BASE, 10_000))
    bench.join.retire("roll")
    bench.finish(20_000)
    assert [(r.window_start_ms, len(r.cells)) for r in bench.reports] == [(10_000, 1)]
    assert bench.finish(30_000) == []
    assert bench.join.rollouts == ()
    bench.append(prediction(2, CAND, 10_000))
    bench.fetch_all()
    assert bench.join.bins()["foreign"] == 1

    bench.join.declare(SETTINGS)
    bench.append(prediction(1, BASE, 10_000))
    for event in pairs([3], 31_000):
        bench.append(event)
    bench.finish(60_000)
    assert window(bench, 10_000).count("missing_candidate") == 1
    assert window(bench, 31_000).count("pairs") == 1
    assert bench.join.bins()["foreign"] == 2
    assert len([r for r in bench.reports if r.window_start_ms == 10_000]) == 1


def test_a_retirement_is_taken_back_by_a_declaration() -> None:
    """Declared again before it was forgotten, a rollout goes on with all that it had."""
    bench = bench_of(prediction(1, BASE, 10_000))
    bench.join.retire("roll")
    bench.join.retire("unknown")
    bench.join.declare(SETTINGS)
    bench.append(prediction(1, CAND, 10_000))
    bench.finish(60_000)

    assert total(bench, "pairs") == 1
    assert bench.reports[-1].cells == ()


def test_rollouts_do_not_touch_each_other() -> None:
    """The same request ids under two rollouts are different requests, each with its own windows."""
    other = replace(SETTINGS, rollout_id="other", dimensions=(), window_ms=500)
    bench = JoinBench(SETTINGS, other)
    for rollout in ("roll", "other"):
        for event in pairs([1, 2], 10_600):
            bench.append(replace(event, rollout_id=rollout))
    bench.finish(60_000)
    found = {(r.rollout_id, r.window_start_ms): r.cells for r in bench.reports if r.cells}

    assert found.keys() == {("roll", 10_000), ("other", 10_500)}
    assert found["other", 10_500][0].values == ()


# -- restarts ------------------------------------------------------------------------------------------------------


def test_positions_after_a_restore_cover_what_waits_and_what_may_be_repeated() -> None:
    """Reading begins at the oldest event to remember; what is committed is what was counted."""
    settings = replace(SETTINGS, dedupe_ms=1_000)
    bench = bench_of(*pairs(range(100), 10_000, 100), settings=settings)
    bench.publish()
    join = PartitionJoin.restore(bench.join.snapshot())

    # Watermark 19.4 s, horizon 17.4 s; one second more is remembered, in slices of 125 ms: from 16.375 s on.
    assert join.position(PRIMARY_TOPIC) == 64
    assert join.committed(PRIMARY_TOPIC) == 100
    assert join.replaying
    assert JoinBench().join.position(PRIMARY_TOPIC) == 0


def test_nothing_is_counted_twice_after_a_restart() -> None:
    """Every kind of record, counted before the snapshot, read again after it: bins and reports as before."""
    bench = JoinBench(SETTINGS)
    live = prediction(1, CAND, 10_000, role=Role.PRIMARY)
    for record in (live, live, prediction(1, BASE, 10_000, role=Role.SHADOW), prediction(2, BASE, 10_000)):
        bench.append(record)
    bench.append(prediction(3, BASE, 99_000_000), appended_at_ms=10_000)
    bench.append(GAP, topic=PRIMARY_TOPIC)
    bench.append(POISON, topic=PRIMARY_TOPIC)
    bench.append(POISON, topic=OUTCOMES_TOPIC)
    bench.append(Outcome(request_id="r", rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.append(PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i",
                               event_at_ms=10_000, running_ms=9))  # fmt: skip
    bench.fetch_all()
    before = bench.join.bins()
    bench.crash(bench.join.snapshot())
    assert bench.join.bins() == before
    bench.fetch_all()
    assert bench.join.bins() == before
    bench.append(Outcome(request_id="r", rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.finish(60_000)

    assert window(bench, 10_000).totals == {
        "exposed": 1, "duplicate": 1, "future": 1, "outcome_single": 1, "outcome_duplicate": 1,
        "reports.candidate": 1, "running_ms.candidate": 9,
    }  # fmt: skip
    assert bench.join.bins()["poison"] == 2
    assert sum(bench.join.bins().values()) == bench.read_offsets()


def test_repeats_are_known_over_a_restart() -> None:
    """Reading again begins at the first event of the oldest generation, not at the last one read of it."""
    bench = JoinBench(SETTINGS)
    for turn in range(3):
        for event in pairs([turn], 10_000 + turn):
            bench.append(event)
        bench.append(Outcome(request_id=f"r{turn}", rollout_id="roll", measure="m", event_at_ms=10_000 + turn))
        bench.fetch_all()
    for _ in range(2):
        bench.crash(bench.join.snapshot())
        bench.fetch_all()
    for event in pairs(range(3), 10_000, 1):
        bench.append(event)
        if event.arm is BASE:
            bench.append(Outcome(request_id=event.request_id, rollout_id="roll", measure="m", event_at_ms=10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 6, "duplicate": 6, "outcome": 3, "outcome_duplicate": 3}


def test_a_dropped_repeat_of_a_waiting_event_does_not_settle_it() -> None:
    """Read again after a restart, the repeat is remembered, but its request still waits and pairs."""
    first = prediction(1, BASE, 10_000)
    bench = bench_of(first, first)
    bench.crash(bench.join.snapshot())
    bench.append(prediction(1, CAND, 10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2, "duplicate": 1}


def test_a_snapshot_while_one_side_still_reads_again_loses_nothing() -> None:
    """Taken when one topic is done and the other is not, with fresh events already there: still complete."""
    bench = JoinBench(SETTINGS)
    for i in range(20):
        bench.append(prediction(i, BASE, 10_000))
        bench.append(prediction(19 - i, CAND, 10_000))
    bench.fetch(PRIMARY_TOPIC, 10)
    bench.fetch(SHADOW_TOPIC, 10)
    bench.crash(bench.join.snapshot())
    bench.fetch(PRIMARY_TOPIC, 15)
    bench.fetch(SHADOW_TOPIC, 3)
    assert bench.join.replaying
    assert not bench.join.wanted(PRIMARY_TOPIC)
    assert bench.join.wanted(SHADOW_TOPIC)
    assert bench.join.bins() == {"pending": 20}
    bench.crash(bench.join.snapshot())
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 40}
    assert total(bench, "pairs") == 20


def test_platform_reports_go_on_while_predictions_are_read_again() -> None:
    """What is counted while the prediction topics still read again is in the next snapshot, once."""
    report = PlatformEvent(rollout_id="roll", arm=CAND, model_version="1", instance_id="i", event_at_ms=10_000,
                           running_ms=5)  # fmt: skip
    bench = bench_of(*pairs([1]), report)
    bench.crash(bench.join.snapshot())
    bench.append(report)
    bench.fetch(PLATFORM_TOPIC)
    bench.crash(bench.join.snapshot())
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2, "platform": 2}
    assert total(bench, "running_ms.candidate") == 10


def test_what_was_said_of_log_ends_before_a_restore_is_void() -> None:
    """Neither an old high watermark nor the clock settles anything right after a restart."""
    bench = bench_of(prediction(1, BASE, 10_000))
    bench.append(prediction(1, CAND, 10_000))
    bench.join = PartitionJoin.restore(bench.join.snapshot())
    for topic in TOPICS:
        bench.join.caught_up(topic, True)
    bench.join.advance(10_000_000)
    bench.fetch(PRIMARY_TOPIC)
    bench.join.advance(10_000_000)

    assert bench.join.bins() == {"pending": 1}
    bench.finish(60_000)
    assert total(bench, "pairs") == 1


def test_a_log_end_seen_while_the_other_side_reads_again_is_void() -> None:
    """One topic waits at its end while the other reads again; what comes there is read first."""
    bench = bench_of(prediction(1, CAND, 10_000), prediction(2, BASE, 10_000))
    bench.crash(bench.join.snapshot())
    bench.fetch(PRIMARY_TOPIC)
    bench.join.caught_up(PRIMARY_TOPIC, True)
    bench.append(prediction(1, BASE, 10_000))
    bench.append(prediction(9, CAND, 50_000))
    bench.fetch(SHADOW_TOPIC)
    bench.publish()

    assert bench.join.bins() == {"pending": 3}


def test_a_window_that_is_gone_stays_gone_over_a_restart() -> None:
    """Events that come with what is read again, before time has moved, make no emptier twin of a full window."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 20_000)
    bench.publish()
    bench.publish()
    bench.crash(bench.join.snapshot())
    bench.append(prediction(1, BASE, 10_000))
    bench.append(prediction(2, BASE, 10_000))
    bench.finish(60_000)

    assert len([r for r in bench.reports if r.window_start_ms == 10_000]) == 1
    assert window(bench, 19_000).totals == {"duplicate": 1, "late": 1}


def test_what_was_forgotten_stays_forgotten_over_a_restart() -> None:
    """Another rollout has more read again than this one remembers: repeats end where they would have ended."""
    short = replace(SETTINGS, dedupe_ms=1_000)
    results = []
    for crash in (False, True):
        bench = JoinBench(short, replace(SETTINGS, rollout_id="long"))
        once = Outcome(request_id="r1", rollout_id="roll", measure="m", event_at_ms=10_000)
        for event in pairs([1], 9_000):
            bench.append(replace(event, rollout_id="long"))
        bench.append(replace(once, rollout_id="long", event_at_ms=9_000))
        for record in (*pairs([1], 10_000), once, replace(once, request_id="r2", event_at_ms=20_000)):
            bench.append(record)
        bench.fetch_all()
        tick(bench, 20_000)
        bench.publish()
        if crash:
            bench.crash(bench.join.snapshot())
        bench.append(prediction(1, BASE, 10_000))
        bench.append(once)
        bench.finish(60_000)
        results.append(bench.join.bins())

    assert results[0] == results[1] == {"paired": 6, "late": 1, "outcome": 4}


def test_segments_keep_their_names_over_a_restart() -> None:
    """Codes are private to a process: new values after a restore do not take over old counts."""
    bench = JoinBench(SETTINGS)
    for i, place in enumerate(["JFK", "EWR", "LGA"]):
        bench.append(prediction(i, BASE, 10_000, segments={"geography": place}))
        bench.append(prediction(i, CAND, 10_000, segments={"geography": place}))
    bench.fetch(PRIMARY_TOPIC, 2)
    bench.fetch(SHADOW_TOPIC, 1)
    bench.crash(bench.join.snapshot())
    for arm in (BASE, CAND):
        bench.append(prediction(9, arm, 10_000, segments={"geography": "AAA"}))
    bench.finish(60_000)

    cells = window(bench, 10_000).cells
    assert {values: int(counts[0]) for values, counts in cells.items()} == {
        ("JFK",): 1, ("EWR",): 1, ("LGA",): 1, ("AAA",): 1,
    }  # fmt: skip


def test_revisions_rise_over_restarts_within_a_generation() -> None:
    """A static member keeps its generation over a restart; what the new life reports still replaces the old."""
    bench = bench_of(*pairs([1], 10_000))
    snapshot = bench.join.snapshot()
    tick(bench, 20_000)
    old = bench.publish()
    bench.crash(snapshot)
    bench.fetch_all()
    new = bench.publish()

    assert min(r.revision for r in new) > max(r.revision for r in old)


def test_what_was_reported_after_the_snapshot_is_reported_again() -> None:
    """A late event is counted in another window after a crash: the window it stood in is taken back."""
    bench = bench_of(*pairs([1], 20_000))
    bench.publish()
    snapshot = bench.snapshot()
    for event in pairs([2], 30_000):
        bench.append(event)
    bench.append(prediction(3, CAND, 5_000))
    bench.fetch_all()  # the late event comes in one batch with what moves time
    bench.publish()
    tick(bench, 40_000)
    bench.publish()
    before = {start: t.totals for start, t in streamed(bench.reports).items() if t.totals}
    bench.crash(snapshot)
    bench.fetch(PRIMARY_TOPIC)
    while bench.fetch(SHADOW_TOPIC, 1):
        bench.publish()
    bench.finish(60_000)

    assert before == {19_000: {"late": 1}}
    assert {start: t.totals for start, t in streamed(bench.reports).items() if t.totals} == {29_000: {"late": 1}}
    assert bench.join.bins()["late"] == 1


def test_a_fetch_that_is_delivered_twice_counts_once() -> None:
    """Offsets below the position are skipped, whole batches and parts of batches."""
    bench = JoinBench(SETTINGS)
    for event in pairs(range(10)):
        bench.append(event)
    bench.fetch_all()
    again = JoinBench(SETTINGS)
    again.logs = bench.logs
    again.join.position = lambda topic: 0  # type: ignore[method-assign]  # a caller that forgets where it was
    for count in (4, 7, 7, 10, 10):
        again.fetch(PRIMARY_TOPIC, count)
        again.fetch(SHADOW_TOPIC, count)

    assert again.join.bins() == bench.join.bins() == {"paired": 20}


def test_a_position_short_of_what_was_given_is_set_right() -> None:
    """``next_offset`` is at least behind the last record; nothing can be applied twice by understating it."""
    source = bench_of(*pairs(range(4)))
    bench = JoinBench(SETTINGS)
    rows = [(o, t, r) for o, (t, r) in enumerate(source.logs[PRIMARY_TOPIC])]
    for _ in range(2):
        bench.join.ingest(EventBatch.of(PRIMARY_TOPIC, 0, rows), 1)

    assert bench.join.position(PRIMARY_TOPIC) == 4
    assert bench.join.bins() == {"pending": 4}


def test_a_hole_in_the_log_is_reported_as_lost() -> None:
    """Retention overtook the reader: the offsets are in bin ``lost``, and reading goes on behind them."""
    bench = bench_of(*pairs([1]))
    assert bench.join.lost(PRIMARY_TOPIC, 5) == 4
    assert bench.join.lost(PRIMARY_TOPIC, 5) == 0
    for _ in range(4):
        bench.append(GAP, topic=PRIMARY_TOPIC)
    bench.append(prediction(2, BASE, 10_000))
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2, "lost": 4, "missing_candidate": 1}


def test_waiting_events_that_cannot_be_read_again_are_reported_as_lost() -> None:
    """After a restore the log begins later: what waited there is lost, and said to be."""
    bench = bench_of(*(prediction(i, BASE, 10_000) for i in range(10)))
    bench.crash(bench.join.snapshot())
    assert bench.join.lost(PRIMARY_TOPIC, 6) == 0
    bench.finish(60_000)

    assert bench.join.bins() == {"lost": 6, "missing_candidate": 4}
    bench.crash(bench.join.snapshot())
    assert bench.join.lost(PRIMARY_TOPIC, 12) == 2
    assert sum(bench.join.bins().values()) == bench.read_offsets() == 12


def test_a_log_that_begins_later_is_no_loss() -> None:
    """A topic that is read for the first time may begin anywhere; reports name that offset."""
    bench = JoinBench(SETTINGS)
    bench.join.begin(PRIMARY_TOPIC, 2)
    for _ in range(2):
        bench.append(GAP, topic=PRIMARY_TOPIC)
    for event in pairs([1]):
        bench.append(event)
    bench.fetch_all()
    bench.join.begin(PRIMARY_TOPIC, 0)
    bench.finish(60_000)

    assert bench.join.bins() == {"paired": 2}
    assert bench.reports[0].sources[0].first == 2


def test_dead_letters_count_once_before_or_after_their_fetch() -> None:
    """Poison is told apart from gaps by its offset, and only by records that were not counted before."""
    bench = JoinBench(SETTINGS)
    for entry in (POISON, GAP, POISON):
        bench.append(entry, topic=PLATFORM_TOPIC)
    bench.join.ingest_platform([], 3)
    assert bench.join.bins() == {"gap": 3}
    assert bench.join.dead_letter(PLATFORM_TOPIC, [2, 0]) == 2
    assert bench.join.dead_letter(PLATFORM_TOPIC, [2]) == 0

    assert bench.join.bins() == {"gap": 1, "poison": 2}


def test_snapshots_of_another_kind_are_refused() -> None:
    """Unknown version, broken bytes, another partition or partition count: one clear error each."""
    snapshot = PartitionJoin(1, 4).snapshot()
    for broken in (b"", b"\xff" + snapshot[1:], snapshot[:-3], snapshot[:1]):
        with pytest.raises(DecodeError, match="snapshot"):
            PartitionJoin.restore(broken)
    with pytest.raises(ConfigError, match="partitions 4, not 8"):
        PartitionJoin.restore(snapshot, partitions=8)
    with pytest.raises(ConfigError, match="partition 1, not 2"):
        PartitionJoin.restore(snapshot, partition=2)

    assert PartitionJoin.restore(snapshot, partition=1, partitions=4).partition == 1


def test_a_snapshot_of_the_version_before_is_still_read() -> None:
    """Version 1 deflated its data; a worker that is upgraded goes on from it."""
    snapshot = PartitionJoin(1, 4).snapshot()
    older = b"\x01" + zlib.compress(snapshot[1:])

    assert snapshot[0] == 2
    assert PartitionJoin.restore(older).snapshot() == PartitionJoin.restore(snapshot).snapshot()


def test_topics_are_named_by_the_caller() -> None:
    """A prefix on the topics goes with the snapshot; unknown names are refused with the known ones."""
    names = {"primary": "eu.predictions.primary.v1"}
    join = PartitionJoin.restore(PartitionJoin(0, 1, sources=names).snapshot())

    assert join.position("eu.predictions.primary.v1") == 0
    with pytest.raises(ConfigError, match="is no source"):
        join.position(PRIMARY_TOPIC)
    with pytest.raises(ConfigError, match="unknown sources"):
        PartitionJoin(0, 1, sources={"Primary": "x"})


def test_what_nobody_could_read_counts_against_every_rollout() -> None:
    """A dead letter or a lost offset may have been anybody's answer: each rollout's windows say so, once."""
    bench = bench_of(*pairs([1], 10_000))
    tick(bench, 14_000)
    offset = bench.join.position(PRIMARY_TOPIC)
    bench.join.dead_letter(PRIMARY_TOPIC, [offset])
    bench.join.dead_letter(PRIMARY_TOPIC, [offset])
    bench.join.lost(SHADOW_TOPIC, bench.join.position(SHADOW_TOPIC) + 3)
    bench.join.dead_letter(OUTCOMES_TOPIC, [0])
    bench.finish(60_000)
    bench.finish(70_000)

    assert max(r.totals.get("poison", 0) for r in bench.reports) == 1
    assert max(r.totals.get("lost", 0) for r in bench.reports) == 3
