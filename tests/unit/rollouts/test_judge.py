"""judge() is a table: one row per rule, and the laws that no row may break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind, worst
from paritygate.rollouts.facts import Facts
from paritygate.rollouts.judge import judge
from paritygate.rollouts.state import RolloutState, RolloutStatus
from paritygate.schemas.decision import Action
from tests.unit.rollouts.conftest import plan

PLAN = plan(candidate_silent_seconds=60, no_data_seconds=600)
#: A window, the grace and the lateness of the join, and 5 s.
LIMIT_MS = 1_000 + 2_000 + 500 + 5_000
TIMED = [
    {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100, "maximum_seconds": 10},
    {"weight": 5, "minimum_seconds": 2, "minimum_pairs": 100, "maximum_seconds": 10},
    {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
]
MET = Facts(in_stage_ms=5_000, stage_pairs=500, candidate_answered=True, stage_live=500, lag_ms=0)
#: Enough requests, less than 90 % of them joined, for two windows.
HOLE = {"stage_known": 200, "stage_unjoined": 21, "broken_windows": 2}


def verdict(kind: str, gate: str = "error_rate", code: str = "", **more: Any) -> Verdict:
    return Verdict(gate=gate, kind=VerdictKind(kind), reason=f"{gate} is {kind}", reason_code=code or kind, **more)


def assessment(*verdicts: Verdict, overall: str = "", segment: str | None = None) -> Assessment:
    kind = VerdictKind(overall) if overall else worst(v.kind for v in verdicts if v.required)
    return Assessment(verdicts=verdicts, overall=kind, worst_segment=segment, segment_findings=())


def state(stage: str = "shadow", status: str = "running") -> RolloutState:
    return RolloutState(
        plan=PLAN, stage=PLAN.stage(stage), status=RolloutStatus(status), sequence=3, head="h", at_ms=9,
        reason_code="more_evidence", stage_started_at_ms=1,
    )  # fmt: skip


PASS, OPEN, FAIL, ERROR = (assessment(verdict(k)) for k in ("pass", "inconclusive", "fail", "error"))
SICK = assessment(verdict("inconclusive", code="environment"))
LOSSY = assessment(verdict("inconclusive", code="incomplete"))
OVERFLOWN = assessment(verdict("inconclusive"), verdict("inconclusive", code="segment_overflow"))
FLAGGED = assessment(verdict("inconclusive"), verdict("inconclusive", code="segment_flagged"))
ADVISORY_FAIL = assessment(verdict("pass"), verdict("fail", gate="x", required=False))


@pytest.mark.parametrize(
    ("stage", "status", "said", "facts", "action", "target", "code"),
    [
        ("shadow", "rolled_back", PASS, {}, "hold", "shadow", "absorbed"),
        ("shadow", "rolled_back", FAIL, {}, "hold", "shadow", "absorbed"),
        ("shadow", "running", FAIL, {"candidate_answered": False}, "hold", "shadow", "candidate_silent"),
        ("5", "running", FAIL, {"candidate_answered": False}, "rollback", "shadow", "gate_failed"),
        ("shadow", "running", FAIL, {}, "rollback", "shadow", "gate_failed"),
        ("5", "paused", FAIL, {}, "rollback", "shadow", "gate_failed"),
        ("100", "promoted", FAIL, {}, "rollback", "shadow", "gate_failed"),
        ("5", "running", assessment(verdict("pass"), overall="fail"), {}, "rollback", "shadow", "gate_failed"),
        ("5", "running", FAIL, {"stage_pairs": 3, "in_stage_ms": 0}, "rollback", "shadow", "gate_failed"),
        ("5", "running", OPEN, {"candidate_silent_ms": 60_000}, "rollback", "shadow", "candidate_silent"),
        ("100", "promoted", OPEN, {"candidate_silent_ms": 60_000}, "rollback", "shadow", "candidate_silent"),
        ("shadow", "running", OPEN, {"candidate_silent_ms": 60_000}, "hold", "shadow", "candidate_silent"),
        ("5", "running", OPEN, {"candidate_silent_ms": 59_999}, "hold", "5", "candidate_silent"),
        ("5", "running", OPEN, {"candidate_silent_ms": 4_999}, "hold", "5", "more_evidence"),
        ("5", "running", PASS, {"baseline_silent_ms": 5_000}, "hold", "5", "baseline_silent"),
        ("5", "paused", PASS, {}, "hold", "5", "still_paused"),
        ("5", "paused", ERROR, {}, "hold", "5", "still_paused"),
        ("100", "promoted", PASS, {}, "hold", "100", "promoted"),
        ("5", "running", ERROR, {}, "hold", "5", "gate_error"),
        ("5", "running", PASS, {"no_data_ms": 599_999}, "promote", "50", "proven"),
        ("5", "running", PASS, {"no_data_ms": 600_000}, "rollback", "shadow", "no_data"),
        ("5", "paused", PASS, {"no_data_ms": 600_000}, "rollback", "shadow", "no_data"),
        ("shadow", "running", PASS, {"no_data_ms": 600_000}, "hold", "shadow", "no_data"),
        ("shadow", "paused", PASS, {"no_data_ms": 600_000}, "hold", "shadow", "still_paused"),
        ("100", "promoted", PASS, {"no_data_ms": 600_000}, "hold", "100", "no_data"),
        ("5", "running", LOSSY, HOLE, "rollback", "shadow", "incomplete"),
        ("50", "paused", LOSSY, HOLE, "rollback", "shadow", "incomplete"),
        ("5", "running", LOSSY, {**HOLE, "broken_windows": 1}, "hold", "5", "incomplete"),
        ("5", "running", LOSSY, {**HOLE, "stage_unjoined": 20}, "hold", "5", "incomplete"),
        ("5", "running", LOSSY, {**HOLE, "stage_known": 199}, "hold", "5", "incomplete"),
        ("shadow", "running", LOSSY, HOLE, "hold", "shadow", "incomplete"),
        ("100", "promoted", LOSSY, HOLE, "hold", "100", "promoted"),
        ("5", "running", SICK, {}, "hold", "5", "environment"),
        ("shadow", "running", PASS, {}, "promote", "5", "proven"),
        ("5", "running", PASS, {}, "promote", "50", "proven"),
        ("50", "running", PASS, {}, "promote", "100", "proven"),
        ("5", "running", LOSSY, {}, "hold", "5", "incomplete"),
        ("5", "running", OVERFLOWN, {}, "hold", "5", "segment_overflow"),
        ("5", "running", FLAGGED, {}, "hold", "5", "segment_flagged"),
        ("5", "running", OPEN, {}, "hold", "5", "more_evidence"),
        ("5", "running", assessment(), {}, "hold", "5", "more_evidence"),
        ("5", "running", assessment(verdict("pass", required=False)), {}, "hold", "5", "more_evidence"),
        ("5", "running", assessment(verdict("pass"), overall="inconclusive"), {}, "hold", "5", "more_evidence"),
        ("5", "running", PASS, {"stage_pairs": 99}, "hold", "5", "floor_pairs"),
        ("5", "running", PASS, {"in_stage_ms": 1_999}, "hold", "5", "floor_time"),
        ("5", "running", PASS, {"lag_ms": None}, "hold", "5", "partition_behind"),
        ("5", "running", PASS, {"lag_ms": LIMIT_MS}, "promote", "50", "proven"),
        ("5", "running", PASS, {"lag_ms": LIMIT_MS + 1}, "hold", "5", "partition_behind"),
        ("5", "running", OPEN, {"lag_ms": LIMIT_MS + 1}, "hold", "5", "partition_behind"),
        ("5", "running", FAIL, {"lag_ms": None}, "rollback", "shadow", "gate_failed"),
        ("shadow", "running", PASS, {"stage_live": 0}, "promote", "5", "proven"),
        ("5", "running", PASS, {"stage_live": 1}, "hold", "5", "not_exposed"),
        ("5", "running", PASS, {"stage_live": 2}, "promote", "50", "proven"),
        ("50", "running", PASS, {"stage_live": 24}, "hold", "50", "not_exposed"),
        ("50", "running", PASS, {"stage_live": 25}, "promote", "100", "proven"),
        ("5", "running", ADVISORY_FAIL, {}, "promote", "50", "proven"),
    ],
)  # fmt: skip
def test_each_rule_of_the_table(
    stage: str, status: str, said: Assessment, facts: dict[str, Any], *, action: str, target: str, code: str
) -> None:
    """The first rule that fits gives action, stage and reason code."""
    ruling = judge(PLAN, state(stage, status), said, replace(MET, **facts))

    assert (ruling.action.value, ruling.stage.name, ruling.reason_code) == (action, target, code)


@pytest.mark.parametrize(
    ("policy", "said", "facts", "action", "code"),
    [
        ("hold", OPEN, {}, "hold", "more_evidence"),
        ("hold", OPEN, {"in_stage_ms": 10_000}, "hold", "timeout"),
        ("rollback", OPEN, {"in_stage_ms": 9_999}, "hold", "more_evidence"),
        ("rollback", OPEN, {"in_stage_ms": 10_000}, "rollback", "timeout"),
        ("rollback", PASS, {"in_stage_ms": 10_000}, "promote", "proven"),
        ("rollback", PASS, {"in_stage_ms": 10_000, "stage_pairs": 1}, "rollback", "timeout"),
        ("rollback", ERROR, {"in_stage_ms": 10_000}, "hold", "gate_error"),
    ],
)
def test_a_stage_without_proof_ends_as_the_plan_says(
    policy: str, said: Assessment, facts: dict[str, Any], action: str, code: str
) -> None:
    """maximum_seconds and on_timeout; what cannot be measured holds even then."""
    timed = plan(stages=TIMED, on_timeout=policy)
    here = RolloutState(
        plan=timed, stage=timed.stage("5"), status=RolloutStatus.RUNNING, sequence=3, head="h", at_ms=9,
        reason_code="x", stage_started_at_ms=1,
    )  # fmt: skip

    ruling = judge(timed, here, said, replace(MET, **facts))

    assert (ruling.action.value, ruling.reason_code) == (action, code)


def test_a_hold_says_what_it_waits_for() -> None:
    """The gate that waits longest, in its own words; one that cannot say how long comes first."""
    known = verdict("inconclusive", numbers={"more_needed": 300})
    longer = verdict("inconclusive", gate="latency_p95_ms", numbers={"more_needed": 2820})
    unknown = verdict("inconclusive", gate="human_review_score", code="no_data")

    def reason(*verdicts: Verdict, **facts: Any) -> str:
        return judge(PLAN, state("5"), assessment(*verdicts), replace(MET, **facts)).reason

    assert reason(known, longer) == "latency_p95_ms (and 1 other gate): latency_p95_ms is inconclusive"
    assert reason(known, longer, unknown).startswith("human_review_score (and 2 other gates): ")
    assert reason(known, verdict("pass")) == "error_rate: error_rate is inconclusive"
    assert reason(verdict("pass"), stage_pairs=60, counted_ms=6_000) == (
        "needs 40 more pairs (at least 100), about 4 s at the present rate"
    )
    assert reason(verdict("pass"), in_stage_ms=500) == "stays 2 s longer in stage 5"


def test_a_rollback_names_gate_segment_and_numbers() -> None:
    """Whoever is woken at night reads one sentence."""
    said = assessment(
        verdict("fail", segment="origin=EWR"), verdict("fail", gate="latency_p95_ms"), segment="origin=JFK"
    )
    spread = assessment(verdict("pass"), overall="fail", segment="origin=JFK")

    assert judge(PLAN, state("5"), said, MET).reason == (
        "error_rate in origin=EWR: error_rate is fail (also latency_p95_ms)"
    )
    assert judge(PLAN, state("5"), spread, MET).reason == "the segments together fail, worst origin=JFK"


KINDS = st.sampled_from([k.value for k in VerdictKind])
VERDICTS = st.builds(
    lambda kind, code, required, more: verdict(kind, code=code, required=required, numbers={"more_needed": more}),
    KINDS, st.sampled_from(["x", "environment"]), st.booleans(), st.none() | st.integers(0, 10**6),
)  # fmt: skip
SILENCES = st.integers(0, 10**6)
FACTS = st.builds(
    Facts, in_stage_ms=st.integers(-1000, 20_000), stage_pairs=st.integers(0, 200),
    candidate_answered=st.booleans(), candidate_silent_ms=SILENCES, baseline_silent_ms=SILENCES,
    no_data_ms=SILENCES, stage_live=st.integers(0, 60), lag_ms=st.none() | st.integers(0, 20_000),
    stage_known=st.integers(0, 400), stage_unjoined=st.integers(0, 60), broken_windows=st.integers(0, 2),
)  # fmt: skip
STATES = st.builds(
    state, st.sampled_from([s.name for s in PLAN.ladder.stages[:-1]]), st.sampled_from(["running", "paused"])
) | st.sampled_from([state("100", "promoted"), state("shadow", "rolled_back")])


@settings(derandomize=True, max_examples=250, deadline=None)
@given(st.lists(VERDICTS, max_size=4), st.none() | KINDS, FACTS, STATES)
def test_no_row_breaks_the_laws(
    verdicts: list[Verdict], overall: str | None, facts: Facts, here: RolloutState
) -> None:
    """Promotion needs every proof and floor and goes one up; a fail never stands; the rest stays or falls."""
    said = assessment(*verdicts, overall=overall or "")
    ruling = judge(PLAN, here, said, facts)
    required = [v for v in verdicts if v.required]

    if ruling.action is Action.PROMOTE:
        assert ruling.stage == PLAN.ladder.next(here.stage)
        assert here.status is RolloutStatus.RUNNING
        assert required
        assert all(v.kind is VerdictKind.PASS for v in required)
        assert said.overall is VerdictKind.PASS
        assert facts.stage_pairs >= here.stage.minimum_pairs
        assert facts.in_stage_ms >= here.stage.minimum_ms
        assert facts.lag_ms is not None
        assert facts.lag_ms <= LIMIT_MS
        assert here.stage.weight == 0 or facts.stage_live > 0
    elif ruling.action is Action.HOLD:
        assert ruling.stage == here.stage
        failed = said.overall is VerdictKind.FAIL or any(v.kind is VerdictKind.FAIL for v in required)
        unseen = here.stage.weight == 0 and not facts.candidate_answered
        assert not failed or unseen or here.status is RolloutStatus.ROLLED_BACK
    else:
        assert ruling.stage == PLAN.ladder.first
        assert here.status is not RolloutStatus.ROLLED_BACK
    assert ruling.reason


def test_a_rollback_says_when_its_target_is_not_healthy() -> None:
    """A baseline that breaks a limit itself, or is silent, stands in the reason of every rollback."""
    sick = assessment(verdict("inconclusive", gate="error_rate", numbers={"target_unhealthy": 1}))
    gone = (
        replace(MET, candidate_silent_ms=60_000),
        "; target_unhealthy: the baseline breaks the limit of error_rate",
    )
    silent = replace(MET, baseline_silent_ms=7_000), "; target_unhealthy: the baseline has been silent for 7 s"

    for said, (facts, note) in ((sick, gone), (FAIL, silent)):
        ruling = judge(PLAN, state("5"), said, facts)
        assert ruling.action is Action.ROLLBACK
        assert note in ruling.reason
    assert "target_unhealthy" not in judge(PLAN, state("5"), FAIL, MET).reason
    assert "target_unhealthy" not in judge(PLAN, state("5"), sick, MET).reason
