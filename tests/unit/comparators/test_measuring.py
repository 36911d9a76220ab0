"""Settled requests as flags: the table of who failed whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paritygate.comparators.answers import OutputChecks
from paritygate.comparators.diff import DiffRules
from paritygate.comparators.measuring import Measured, examples_of, measure_alone, measure_pairs
from paritygate.comparators.pairing import BASELINE, CANDIDATE
from paritygate.comparators.rows import KEPT, Rows
from paritygate.comparators.tally import COUNT_NAMES
from paritygate.comparators.validation import OutputRules
from paritygate.schemas.prediction import ROLES, STATUSES, Role, Status
from paritygate.schemas.texts import Texts

CHECKS = OutputChecks(
    OutputRules(required=("p",), label_field=""), DiffRules(ignore=("/v",), absolute_tolerance=0.1)
)
GOOD, BROKEN = '{"p":1,"v":1}', "{}"


def row(status: Status = Status.OK, role: Role = Role.PRIMARY, **changes: Any) -> Rows:
    """One row."""
    texts = {"label": None, "output": GOOD} | {n: v for n, v in changes.items() if n in ("label", "output")}
    label, output = (Texts.of([texts[name]]) for name in ("label", "output"))
    made = Rows(Texts.of(["r"]), np.zeros(1, KEPT), label, output, np.zeros((1, 0)))
    made.status[0], made.role[0], made.latency_ms[0] = STATUSES.index(status), ROLES.index(role), 5.0
    for name in changes.keys() - texts.keys():
        made[name][0] = changes[name]
    return made


def flagged(measured: Measured) -> set[str]:
    return {name for name, mask in zip(COUNT_NAMES, measured.flags, strict=True) if mask[0]}


PAIR = {"requests", "pairs", "timeouts_counted"}
#: What every baseline counts as whose candidate never came.
MISSING = {
    "requests", "missing_candidate", "candidate_errors", "timeouts_counted", "candidate_timeouts",
}  # fmt: skip
BOTH = {"baseline_checked", "candidate_checked"}


@pytest.mark.parametrize(
    ("baseline", "candidate", "names"),
    [
        (row(), row(role=Role.SHADOW), {*PAIR, *BOTH, "live_baseline"}),
        (row(role=Role.SHADOW), row(), {*PAIR, *BOTH, "live_candidate", "live_candidate_checked"}),
        (row(), row(Status.ERROR, Role.SHADOW),
         {*PAIR, "baseline_checked", "candidate_errors", "candidate_only_errors", "live_baseline"}),
        (row(Status.TIMEOUT), row(role=Role.SHADOW),
         {*PAIR, "candidate_checked", "baseline_errors", "baseline_only_errors", "baseline_timeouts",
          "baseline_only_timeouts", "live_baseline", "live_baseline_errors"}),
        (row(Status.ERROR, Role.SHADOW), row(Status.TIMEOUT),
         {*PAIR, "baseline_errors", "candidate_errors", "candidate_timeouts", "candidate_only_timeouts",
          "live_candidate", "live_candidate_errors", "live_candidate_timeouts"}),
        (row(Status.TIMEOUT), row(Status.TIMEOUT, Role.SHADOW),
         {*PAIR, "baseline_errors", "candidate_errors", "candidate_timeouts", "baseline_timeouts", "live_baseline",
          "live_baseline_errors"}),
        (row(), row(Status.TIMEOUT, Role.SHADOW),
         {*PAIR, "baseline_checked", "candidate_errors", "candidate_only_errors", "candidate_timeouts",
          "candidate_only_timeouts", "live_baseline"}),
        (row(), row(output=BROKEN, role=Role.SHADOW),
         {*PAIR, *BOTH, "candidate_invalid", "candidate_only_invalid", "live_baseline", "output_changes"}),
        (row(output=BROKEN, role=Role.SHADOW), row(),
         {*PAIR, *BOTH, "baseline_invalid", "baseline_only_invalid", "live_candidate",
          "live_candidate_checked", "output_changes"}),
        (row(output=BROKEN, role=Role.SHADOW), row(output="[]"),
         {*PAIR, *BOTH, "baseline_invalid", "candidate_invalid", "live_candidate", "live_candidate_checked",
          "live_candidate_invalid", "output_changes"}),
        (row(output=BROKEN), row(Status.ERROR, Role.SHADOW, output="x"),
         {*PAIR, "baseline_checked", "baseline_invalid", "candidate_errors", "candidate_only_errors",
          "live_baseline"}),
        (row(label="a"), row(label="b", role=Role.SHADOW),
         {*PAIR, *BOTH, "live_baseline", "labels_compared", "label_changes"}),
        (row(label="a"), row(label="a", role=Role.SHADOW), {*PAIR, *BOTH, "live_baseline", "labels_compared"}),
        (row(label="a"), row(role=Role.SHADOW), {*PAIR, *BOTH, "live_baseline"}),
        (row(), row(output='{"v":2,"p":1.05}', role=Role.SHADOW), {*PAIR, *BOTH, "live_baseline"}),
        (row(), row(Status.SHED, Role.SHADOW, label="a"), {"shed", "live_baseline"}),
        (row(Status.ERROR), row(Status.SHED, Role.SHADOW), {"shed", "live_baseline", "live_baseline_errors"}),
        (row(Status.SHED), row(label="a", role=Role.SHADOW), {"shed"}),
        # The mirror was not asked, but a user got the failure: it must count.
        (row(Status.SHED), row(Status.ERROR), {"shed", "live_candidate", "live_candidate_errors"}),
        (row(Status.SHED), row(output=BROKEN),
         {"shed", "live_candidate", "live_candidate_checked", "live_candidate_invalid", "candidate_checked",
          "candidate_invalid"}),
    ],
)  # fmt: skip
def test_what_a_pair_counts_as(baseline: Rows, candidate: Rows, names: set[str]) -> None:
    """Every way in which two answers can end."""
    assert flagged(measure_pairs(baseline, candidate, CHECKS)) == names


@pytest.mark.parametrize(
    ("arm", "alone", "names"),
    [
        (BASELINE, row(),
         {*MISSING, "candidate_only_errors", "candidate_only_timeouts", "baseline_checked", "live_baseline"}),
        (BASELINE, row(Status.ERROR, Role.SHADOW),
         {*MISSING, "candidate_only_timeouts", "baseline_errors", "live_candidate", "live_candidate_errors",
          "live_candidate_timeouts"}),
        (BASELINE, row(output=BROKEN),
         {*MISSING, "candidate_only_errors", "candidate_only_timeouts", "baseline_checked", "baseline_invalid",
          "live_baseline"}),
        (BASELINE, row(Status.TIMEOUT),
         {*MISSING, "baseline_errors", "baseline_timeouts", "live_baseline", "live_baseline_errors"}),
        (CANDIDATE, row(output=BROKEN, role=Role.SHADOW), {"missing_baseline"}),
        (CANDIDATE, row(output=BROKEN),
         {"missing_baseline", "live_candidate", "live_candidate_checked", "live_candidate_invalid",
          "candidate_checked", "candidate_invalid"}),
        (CANDIDATE, row(Status.TIMEOUT),
         {"missing_baseline", "live_candidate", "live_candidate_errors", "live_candidate_timeouts"}),
        (BASELINE, row(Status.SHED), {"shed"}),
        (CANDIDATE, row(Status.SHED), {"shed"}),
    ],
)  # fmt: skip
def test_what_a_lone_arm_counts_as(arm: int, alone: Rows, names: set[str]) -> None:
    """The other arm's answer never came."""
    assert flagged(measure_alone(arm, alone, CHECKS)) == names


@pytest.mark.parametrize(
    ("baseline", "candidate", "timed", "candidate_ms"),
    [
        (row(), row(latency_ms=7.0), True, 7.0),
        (row(), row(Status.ERROR, latency_ms=0.1), True, np.inf),
        (row(), row(Status.TIMEOUT), True, np.inf),
        (row(Status.ERROR), row(), False, None),
        (row(), row(Status.SHED), False, None),
    ],
)
def test_a_failed_candidate_is_never_fast(
    baseline: Rows, candidate: Rows, timed: bool, candidate_ms: float | None
) -> None:
    """Latency is evidence where the baseline answered; a quick error of the candidate is infinitely slow."""
    measured = measure_pairs(baseline, candidate, CHECKS)

    assert bool(measured.timed[0]) is timed
    assert not timed or measured.candidate_ms[0] == candidate_ms


def test_remarks_name_rules_and_kinds_of_change_once_a_request() -> None:
    """Totals count requests, however often one request breaks the same rule."""
    measured = measure_pairs(row(output='{"p":[1,2],"confidence":9}'), row(output='{"q":[3,4]}'), CHECKS)

    assert sorted(measured.remarks) == [
        "change.added_key", "change.missing_key", "invalid.baseline.confidence.range",
        "invalid.candidate.missing.p",
    ]  # fmt: skip


def test_examples_are_the_smallest_by_kind_and_request() -> None:
    """Only those of the rows asked for, and no more than the limit."""
    both = row(Status.ERROR, label="b"), row(output=BROKEN, label="b")
    found = []
    for candidate in both:
        measured = measure_pairs(row(label="a"), candidate, CHECKS)
        found.append([(k, d) for k, _, d, _ in examples_of(measured, np.array([0]), 5)])
        assert list(examples_of(measured, np.array([], np.int64), 5)) == []
        assert len(list(examples_of(measured, np.array([0]), 1))) == 1

    assert found == [
        [("candidate_only_error", "error"), ("label_change", "label differs")],
        [("candidate_invalid", "missing.p"), ("label_change", "label differs")],
    ]


@pytest.mark.parametrize(
    ("baseline_ms", "candidate_ms", "name"),
    [(100.0, 137.6, "slower"), (100.0, 137.4, ""), (100.0, 100.0, ""), (100.0, 88.1, ""), (100.0, 87.9, "faster")],
)
def test_clearly_slower_and_faster_mirror_each_other(baseline_ms: float, candidate_ms: float, name: str) -> None:
    """At 1.1 times the baseline allowed: beyond 1.25 times that, or below that over 1.25; failures are neither."""
    measured = measure_pairs(row(latency_ms=baseline_ms), row(latency_ms=candidate_ms), CHECKS, 1.1)
    failed = measure_pairs(row(latency_ms=baseline_ms), row(Status.ERROR, latency_ms=candidate_ms), CHECKS, 1.1)

    assert flagged(measured) & {"slower", "faster"} == ({name} if name else set())
    assert not flagged(failed) & {"slower", "faster"}
