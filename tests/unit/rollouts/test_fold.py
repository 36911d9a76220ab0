"""The fold: the same logs, the same decisions, and none that the laws forbid."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from paritygate.rollouts.fold import Fold
from paritygate.rollouts.state import ChainError, RolloutStatus
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import Histogram, WindowReport
from tests.unit.rollouts.conftest import (
    ISSUED_AT_MS,
    ORIGIN_MS,
    PARTITIONS,
    WINDOW_MS,
    command,
    essence,
    plain_plan,
    report,
    windows,
)


def run(records: Iterable[Command | WindowReport], fold: Fold | None = None) -> tuple[Fold, list[GateDecision]]:
    """Apply records in this order, each log with its own offsets."""
    fold = fold or Fold()
    made: list[GateDecision] = []
    for r in records:
        if isinstance(r, Command):
            made += fold.apply_command(fold.commands_next, r)
        else:
            made += fold.apply_report(fold.windows_next, r)
    return fold, made


def steps(decisions: Sequence[GateDecision]) -> list[tuple[str, str, str]]:
    return [(d.action.value, d.stage, d.reason_code) for d in decisions]


START = command("start")


def test_a_healthy_candidate_climbs_one_stage_at_a_time_to_the_top() -> None:
    """started, then proof and floors in every stage; each stage begins anew."""
    fold, made = run([START, *windows(0, 10, live=30)])
    promotions = [(d.from_stage, d.stage, d.weight) for d in made if d.action is Action.PROMOTE]

    assert steps(made)[0] == ("hold", "shadow", "started")
    assert promotions == [("shadow", "5", 5), ("5", "50", 50), ("50", "100", 100)]
    assert fold.states()["r1"].status is RolloutStatus.PROMOTED
    assert steps(made)[-1] == ("hold", "100", "promoted")


def test_decisions_are_a_chain() -> None:
    """Sequence rises by one, each names the digest of the one before, time does not go back."""
    _, made = run([START, *windows(0, 40)])

    assert [d.sequence for d in made] == list(range(len(made)))
    assert [d.previous for d in made] == ["", *(d.digest() for d in made[:-1])]
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(made[1:]))
    assert [d.windows_next for d in made] == sorted(d.windows_next for d in made)


def test_every_decision_holds_what_it_rests_on() -> None:
    """Versions, plan digest, verdicts, counts, offsets and positions stand in the record."""
    fold, made = run([START, *windows(0, 4, live=3)])
    last = made[-1]

    assert (last.baseline_version, last.candidate_version) == ("v1", "v2")
    assert last.policy_digest == fold.states()["r1"].plan.digest()
    assert [v.gate for v in last.verdicts][:2] == ["error_rate", "schema_validation_pass_rate"]
    assert last.counts["pairs"] == last.windows_next * 60
    assert last.exposed_requests == last.windows_next * 3
    assert [(s.partition, s.first) for s in last.sources] == [(0, 0), (1, 0)]
    assert last.commands_next == 1
    assert all(len(d.evidence_digest) == 64 for d in made)
    assert GateDecision.from_bytes(last.to_bytes()) == last


def test_the_operators_clock_decides_nothing() -> None:
    """issued_at_ms stands in decision 0 alone, far from event time, and no window is left out for it."""
    _, made = run([START, *windows(0, 3)])

    assert made[0].at_ms == ISSUED_AT_MS
    assert made[1].at_ms == ORIGIN_MS + WINDOW_MS
    assert made[-1].counts["pairs"] > 0


def test_a_bad_candidate_is_rolled_back_in_the_shadow_by_the_first_bad_window() -> None:
    """A fail needs no floor and no closed frontier: only the end of its round, be it by one partition alone."""
    fold, made = run([START, report(0, errors=40), report(0, 1)])
    _, alone = run([START, report(0, errors=40), report(1)])

    assert steps(alone) == steps(made)
    assert steps(made) == [("hold", "shadow", "started"), ("rollback", "shadow", "gate_failed")]
    assert made[-1].exposed_requests == 0
    assert "error_rate" in made[-1].reason
    assert "40 of 120" in made[-1].reason
    assert fold.states()["r1"].status is RolloutStatus.ROLLED_BACK


def test_a_hard_rule_is_judged_while_its_window_is_open() -> None:
    """An early report of one out-of-memory event is a rollback at once, and only then."""
    fold = Fold()
    gates = {"error_rate": {"maximum": 0.1}, "gpu_oom_events": {"maximum": 0}}
    fold.apply_command(0, command("start", promotion_gates=gates))
    for offset, r in enumerate(windows(0, 3)):
        fold.apply_report(offset, r)
    ran = {"reports.candidate": 1, "running_ms.candidate": 500}
    early = replace(report(3), cells=(), watermark_ms=report(3).window_start_ms, totals=ran)

    assert fold.apply_report(90, early) == []
    (decision,) = fold.apply_report(91, replace(early, revision=1, totals={**ran, "ooms.candidate": 1}))
    assert (decision.action, decision.reason_code) == (Action.ROLLBACK, "gate_failed")


def test_a_rollback_names_the_segment() -> None:
    """The one that explains the damage stands in the decision and its sentence."""
    bad = [report(w, p, origin="JFK", errors=30) for w in range(2, 6) for p in range(PARTITIONS)]
    _, made = run([START, *windows(0, 2), *bad])

    assert made[-1].action is Action.ROLLBACK
    assert made[-1].worst_segment == "origin=JFK"
    assert "origin=JFK" in made[-1].reason


def test_a_rollback_is_final() -> None:
    """No report and no command moves a rolled back rollout again."""
    records: list[Command | WindowReport] = [
        START,
        report(0, errors=40),
        *windows(1, 20),
        command("resume"),
        command("rollback"),
        command("pause"),
    ]
    fold, made = run(records)

    assert len(made) == 2
    assert [reason for _, reason in fold.rejected] == [
        "resume r1: it is rolled back, which is final",
        "rollback r1: it is rolled back, which is final",
        "pause r1: it is rolled back, which is final",
    ]
    assert fold.evidence("r1") is None


def test_a_promoted_rollout_can_still_be_rolled_back() -> None:
    """By its gates while evidence flows, and by an operator."""
    bad = [report(w, p, errors=50, live=60) for w in range(10, 13) for p in range(PARTITIONS)]
    _, by_gate = run([START, *windows(0, 10, live=30), *bad])
    _, by_hand = run([START, *windows(0, 10, live=30), command("rollback")])

    assert steps(by_gate)[-1] == ("rollback", "shadow", "gate_failed")
    assert (by_gate[-1].from_stage, by_gate[-1].weight) == ("100", 0)
    assert steps(by_hand)[-1] == ("rollback", "shadow", "operator_rollback")


def test_nothing_is_promoted_while_paused() -> None:
    """A pause holds proven gates until it is resumed; then the climb goes on."""
    fold, made = run([START, command("pause"), *windows(0, 6), command("resume"), *windows(6, 7)])

    assert steps(made) == [
        ("hold", "shadow", "started"), ("hold", "shadow", "paused"),
        ("hold", "shadow", "resumed"), ("promote", "5", "proven"),
    ]  # fmt: skip
    assert made[1].reason == "paused by ann"
    assert made[1].at_ms == ISSUED_AT_MS
    assert made[2].at_ms == ORIGIN_MS + 6 * WINDOW_MS
    assert fold.rejected == []


def test_a_fail_rolls_back_a_paused_rollout() -> None:
    """A pause protects nobody from a bad candidate, so it must not protect the candidate."""
    _, made = run([START, command("pause"), report(0, errors=40), report(0, 1)])

    assert steps(made)[-1] == ("rollback", "shadow", "gate_failed")


def test_a_hold_is_said_again_only_for_another_reason_or_as_a_sign_of_life() -> None:
    """Every 15 s of event time while the reason stays the same: the audit keeps every one for ever."""
    slow = plain_plan(stages=[
        {"weight": 0, "minimum_seconds": 3600}, {"weight": 5}, {"weight": 100},
    ])  # fmt: skip
    _, made = run([command("start", stages=slow["stages"]), *windows(0, 60)])

    assert [d.reason_code for d in made] == ["started", "floor_pairs", *["floor_time"] * 4]
    assert [b.at_ms - a.at_ms for a, b in pairwise(made[2:])] == [15_000] * 3


@pytest.mark.parametrize(
    ("again", "reason"),
    [
        (START, "this rollout id was used before; every rollout needs a new one"),
        (command("start", "r2"), "rollout r1 of service fraud is still running"),
        (command("start", "r3").model_copy(update={"plan": None}), "the command carries no plan"),
        (
            command("start", "r4").model_copy(update={"plan": plain_plan("r5")}),
            "the plan is that of rollout r5",
        ),
        (
            command("start", "r6").model_copy(update={"plan": {**plain_plan("r6"), "owner": ""}}),
            "the plan cannot be used: <plan> owner: must have at least 1 characters",
        ),
        (command("resume"), "it is running, not paused"),
        (command("pause", "r9"), "no such rollout"),
    ],
)  # fmt: skip
def test_a_command_that_makes_no_sense_is_refused_and_kept(again: Command, reason: str) -> None:
    """No decision, no change; the refusal is recorded with its offset."""
    fold, made = run([START, again])

    assert len(made) == 1
    assert fold.take_rejected() == [(1, f"{again.kind} {again.rollout_id}: {reason}")]
    assert fold.take_rejected() == []
    assert fold.commands_next == 2


def test_a_reused_id_is_refused_after_a_rollback_too() -> None:
    """A new candidate needs a new id: routers remember the old one as closed."""
    fold, made = run([START, command("rollback"), START, command("start", "r2")])

    assert [(d.rollout_id, d.reason_code) for d in made] == [
        ("r1", "started"), ("r1", "operator_rollback"), ("r2", "started"),
    ]  # fmt: skip
    assert len(fold.rejected) == 1


def test_the_next_rollout_of_a_service_takes_the_place_of_a_promoted_one() -> None:
    """The old one is over: it takes no more evidence and no more commands."""
    bad = [report(w, p, errors=50) for w in range(10, 13) for p in range(PARTITIONS)]
    fold, made = run([START, *windows(0, 10, live=30), command("start", "r2"), *bad, command("rollback")])

    assert [d.rollout_id for d in made[-2:]] == ["r1", "r2"]
    assert fold.rejected == [(2, "rollback r1: a later rollout of its service has taken its place")]
    assert fold.ignored["unknown"] == len(bad)


def test_services_do_not_touch_each_other() -> None:
    """Two rollouts in one log decide what each decides alone."""
    other = command("start", "r2", service="search")
    mixed = [r for pair in zip(windows(0, 8), windows(0, 8, rollout="r2"), strict=True) for r in pair]
    _, both = run([START, other, *mixed])
    _, alone = run([START, *windows(0, 8)])

    assert essence([d for d in both if d.rollout_id == "r1"]) == essence(alone)
    assert len([d for d in both if d.rollout_id == "r2"]) == len(alone)


def test_repeated_and_older_reports_change_nothing() -> None:
    """At-least-once delivery and late writes of an earlier owner: the same decisions."""
    once = windows(0, 8, errors=1)
    noisy: list[WindowReport] = []
    for i, r in enumerate(once):
        noisy += [r, r, *once[max(0, i - 3) : i]]
        noisy.append(report(i // PARTITIONS, i % PARTITIONS, errors=55, generation=0, revision=9))
    _, plain = run([START, *once])
    fold, repeated = run([START, *noisy])

    assert essence(repeated) == essence(plain)
    assert fold.ignored["old"] == len(noisy) - len(once)


def test_redelivered_offsets_are_no_ops() -> None:
    """A consumer that steps back cannot make the fold count twice."""
    fold, made = run([START, *windows(0, 2)])

    assert fold.apply_report(0, report(0, requests=99, revision=5)) == []
    assert fold.apply_command(0, command("pause")) == []
    assert (fold.windows_next, fold.commands_next, fold.rejected) == (4, 1, [])
    assert fold.states()["r1"].sequence == made[-1].sequence
    evidence = fold.evidence("r1")
    assert evidence is not None
    assert evidence.whole.count("pairs") == 4 * 60


def test_records_that_are_none_are_passed_over() -> None:
    """Poison in a log moves the position and nothing else."""
    fold, _ = run([START])
    fold.skip_report(0)
    fold.skip_command(1)

    assert (fold.windows_next, fold.commands_next) == (1, 2)


def test_silence_of_the_candidate_holds_in_the_shadow_and_rolls_back_in_the_canary() -> None:
    """While the baseline answers. Shed requests say nothing about the candidate."""

    def silent(first: int, last: int) -> list[WindowReport]:
        return windows(first, last, requests=0, lost={"missing_candidate": 1, "shed": 1})

    gates = {"schema_validation_pass_rate": {"minimum": 0.9}}
    start = command("start", promotion_gates=gates, candidate_silent_seconds=20)
    _, never = run([start, *silent(0, 60)])
    shadow_only = command("start", promotion_gates=gates, candidate_silent_seconds=20, stages=[
        {"weight": 0, "minimum_seconds": 3600}, {"weight": 5}, {"weight": 100},
    ])  # fmt: skip
    _, shadow = run([shadow_only, *windows(0, 2), *silent(2, 60)])
    _, canary = run([start, *windows(0, 12), *silent(12, 60)])

    assert {d.reason_code for d in never[1:]} == {"candidate_silent"}
    assert "waits for the candidate's first answer" in never[1].reason
    assert steps(shadow)[-1] == ("hold", "shadow", "candidate_silent")
    assert steps(canary)[-1] == ("rollback", "shadow", "candidate_silent")
    assert canary[-1].at_ms == ORIGIN_MS + (12 + 20) * WINDOW_MS
    assert "20 s" in canary[-1].reason


def test_nothing_at_all_holds_where_no_user_is_exposed_and_ends_a_canary() -> None:
    """Empty windows, as idle partitions send them, prove nothing; users are not left where nobody can see."""
    start = command("start", no_data_seconds=30)
    slow = command("start", no_data_seconds=30, stages=[
        {"weight": 0, "minimum_seconds": 3600}, {"weight": 5}, {"weight": 100},
    ])  # fmt: skip

    def idle(start: Command, after: int, live: int) -> tuple[Fold, list[GateDecision]]:
        return run([start, *windows(0, after, live=live), *windows(after, 60, requests=0)])

    (shadow, held), (canary, ended), (top, stood) = idle(slow, 4, 0), idle(start, 4, 0), idle(start, 12, 30)
    assert steps(held)[-1] == ("hold", "shadow", "no_data")
    assert shadow.states()["r1"].active
    assert steps(ended)[-1] == ("rollback", "shadow", "no_data")
    assert (ended[-1].from_stage, ended[-1].at_ms) == ("5", ORIGIN_MS + (4 + 30) * WINDOW_MS)
    assert canary.evidence("r1") is None
    assert steps(stood)[-1] == ("hold", "100", "no_data")
    assert top.states()["r1"].status is RolloutStatus.PROMOTED


def test_a_canary_that_no_user_sees_is_not_promoted() -> None:
    """Routers that do not obey, or were never told: the evidence of the shadow is no evidence of live answers."""
    fold, made = run([START, *windows(0, 100)])

    assert fold.states()["r1"].stage.name == "5"
    assert made[-1].reason_code == "not_exposed"
    assert made[-1].reason == (
        "only 0 answers of the candidate reached users in stage 5, at least 2 must: do the routers obey?"
    )


@pytest.mark.parametrize("last", [0, 3])
def test_a_partition_that_is_silent_holds_promotion(last: int) -> None:
    """It may have never reported, or have stopped: what it does not tell might be what is wrong."""
    seen = [report(w, p, live=30) for w in range(last) for p in range(PARTITIONS)]
    fold, made = run([START, *seen, *[report(w, 0, live=30) for w in range(last, 60)]])
    rungs = [d.stage for d in made if d.action is Action.PROMOTE]

    assert rungs == ([] if last == 0 else ["5", "50"])
    assert all(d.at_ms <= ORIGIN_MS + last * WINDOW_MS + 8_500 for d in made if d.action is Action.PROMOTE)
    assert made[-1].reason_code == "partition_behind"
    assert fold.states()["r1"].active


def test_a_partition_that_is_silent_does_not_stop_a_rollback() -> None:
    """Scores come without a failed answer: nothing but passing time makes the decider look."""
    gates = {"human_review_score": {"minimum_delta": -0.02}}
    bad = Histogram(name="scores.human_review_score", index=(500,), counts=(40,))
    scored = [replace(report(w, 0), histograms=(bad,)) for w in range(20)]
    _, made = run([command("start", promotion_gates=gates), *scored])
    _, stalled = run([command("start", promotion_gates=gates), *windows(0, 1), *scored[1:]])

    assert [steps(d)[-1] for d in (made, stalled)] == [("rollback", "shadow", "gate_failed")] * 2


def test_a_hole_in_the_evidence_of_a_canary_ends_it() -> None:
    """Most answers get lost, in two windows one after the other; in the shadow the same holds."""
    lossy = {"totals": {"dropped.candidate": 30}}
    _, canary = run([START, *windows(0, 3), *windows(3, 8, **lossy)])
    _, shadow = run([START, *windows(0, 20, **lossy)])
    _, once = run([START, *windows(0, 3), *windows(3, 4, **lossy), *windows(4, 9)])

    assert steps(canary)[-1] == ("rollback", "shadow", "incomplete")
    assert canary[-1].from_stage == "5"
    assert canary[-1].reason == (
        "120 of 480 requests of live stage 5 are lost to the evidence, in its newest windows too:"
        " less than 90 % can be judged"
    )
    assert steps(shadow)[-1] == ("hold", "shadow", "incomplete")
    assert all(d.action is not Action.ROLLBACK for d in once)


def test_a_silent_baseline_is_no_place_to_go_back_to() -> None:
    """What only the baseline failed to answer holds; it ends no exposure."""
    gone = {"requests": 0, "lost": {"missing_baseline": 60}}
    _, made = run([START, *windows(0, 3, live=30), *windows(3, 30, **gone)])

    assert {d.action for d in made} == {Action.HOLD, Action.PROMOTE}
    assert made[-1].reason_code == "baseline_silent"


def test_both_arms_sick_is_the_environment() -> None:
    """An absolute limit broken by everybody's incident holds; it is not the candidate's fault."""
    sick = [
        report(w, p, errors=20, lost={
            "baseline_errors": 20, "candidate_only_errors": 0, "baseline_checked": 40, "live_baseline_errors": 20,
        })
        for w in range(1, 6) for p in range(PARTITIONS)
    ]  # fmt: skip
    _, made = run([START, *windows(0, 1), *sick])

    assert made[-1].action is Action.HOLD
    assert made[-1].reason_code == "environment"


def test_a_foreign_decision_cannot_be_committed() -> None:
    """commit() holds recorded decisions to the chain, too."""
    fold, made = run([START, *windows(0, 2)])

    with pytest.raises(ChainError):
        fold.commit(made[0])
    with pytest.raises(ChainError, match="no start command"):
        fold.commit(made[0].model_copy(update={"rollout_id": "r7"}))


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from paritygate.rollouts.fold import Fold
from tests.unit.rollouts.conftest import command, report
fold, out = Fold(), []
out += fold.apply_command(0, command("start"))
out += fold.apply_command(1, command("start", "r2", service="search"))
offset = 0
for w in range(12):
    for p in range(2):
        for rollout, errors in (("r1", 0), ("r2", w // 3)):
            out += fold.apply_report(offset, report(w, p, rollout=rollout, errors=errors, live=w, totals={
                "change.label": w, "invalid.candidate.missing_key": w, "restarts.baseline": 1}))
            offset += 1
sys.stdout.buffer.write(b"\\n".join(d.to_bytes() for d in out))
"""


def test_the_bytes_do_not_depend_on_the_hash_seed(pytestconfig: Any) -> None:
    """Two processes with other hash seeds write the same decisions, byte for byte."""
    written = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(pytestconfig.rootpath)],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True,
        ).stdout
        for seed in ("0", "1")
    ]  # fmt: skip

    assert written[0] == written[1]
    assert written[0].count(b"\n") > 5
