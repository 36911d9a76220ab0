"""Lint: refusals, warnings, and where they stand."""

from __future__ import annotations

import pytest

from paritygate.rollouts.finding import Finding
from paritygate.rollouts.lint import lint
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.yaml_source import read_yaml

PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ann@example.com
rollback_condition: any required gate fails
promotion_gates:
  error_rate: {maximum: 0.01}
segments: [tier]
"""
MEMORY = "gpu_oom_events: {maximum: 0, max_rate_to_exclude_per_hour: 1}"
TIMED = """\
stages:
  - {weight: 0, minimum_seconds: 60, minimum_pairs: 100, maximum_seconds: 600}
  - {weight: 5, minimum_seconds: 60, minimum_pairs: 100}
  - {weight: 25, minimum_seconds: 60, minimum_pairs: 100}
  - {weight: 100, minimum_seconds: 0, minimum_pairs: 1}
"""


BURSTS = "one instance that fails for a minute will roll back"
VALIDATION = "no output validation"


def found(text: str, rps: float | None = None) -> list[str]:
    """Lines of everything found but what most of these plans get: the hint at bursts and the missing validation."""
    return [line for line in everything(text, rps) if BURSTS not in line and VALIDATION not in line]


def everything(text: str, rps: float | None = None) -> list[str]:
    plan, source = RolloutPlan.from_yaml(text, file="r.yaml"), read_yaml(text, file="r.yaml")
    return [f.line(source) for f in lint(plan, source, rps)]


def hinted(text: str) -> bool:
    return any(BURSTS in line for line in everything(text))


def gates(*lines: str) -> str:
    return PLAN.replace("  error_rate: {maximum: 0.01}\n", "".join(f"  {line}\n" for line in lines))


def test_long_stages_without_a_word_on_bursts_are_warned_of() -> None:
    """Where every live stage lasts ten minutes and no gate says whether it bears them, yes or no."""
    hints = [line for line in everything(PLAN) if BURSTS in line]
    assert len(hints) == 1
    assert hints[0].startswith("r.yaml:8:3 promotion_gates.error_rate: warning: 15 minutes")
    assert "write tolerate_bursts: true" in hints[0]
    for said in ("true", "false"):
        assert not hinted(gates(f"error_rate: {{maximum: 0.01, tolerate_bursts: {said}}}"))
    assert not hinted(PLAN + TIMED)
    assert not hinted(gates(MEMORY))


def test_a_sound_plan_has_no_findings() -> None:
    """With and without traffic."""
    assert found(PLAN) == []
    assert found(PLAN + TIMED, 200.0) == []


@pytest.mark.parametrize(
    ("text", "rps", "line"),
    [
        (
            gates("label_change_rate: {maximum: 0.2, segment_maximum: 0.1}"),
            None,
            "r.yaml:8:54 promotion_gates.label_change_rate.segment_maximum: is below maximum (0.2)",
        ),
        (
            gates("latency_p50_ms: {maximum: 90}", "latency_p95_ms: {maximum: 80}"),
            None,
            "r.yaml:8:29 promotion_gates.latency_p50_ms.maximum: is above the limit of latency_p95_ms (80)",
        ),
        (PLAN + "no_data_seconds: 2\n", None, "r.yaml:10:18 no_data_seconds: is not longer than"),
        (
            (PLAN + TIMED).replace("minimum_seconds: 60, minimum_pairs: 100, maximum_seconds: 600",
                                   "minimum_seconds: 2, maximum_seconds: 3"),
            None,
            "r.yaml:11:54 stages.0.maximum_seconds: ends before the first window is counted (3 s",
        ),
        (
            gates("error_rate: {maximum: 0.01}", MEMORY) + TIMED,
            None,
            "r.yaml:12:75 stages.0.maximum_seconds: gpu_oom_events is not decidable within it in stage shadow",
        ),
        (PLAN + TIMED, 1.0, "r.yaml:11:75 stages.0.maximum_seconds: error_rate is not decidable within it"),
        (PLAN + TIMED, 0.1, "r.yaml:11:53 stages.0.minimum_pairs: does not come within maximum_seconds at 0.1"),
        (
            gates("error_rate: {maximum: 0.002}"),
            200.0,
            "r.yaml:8:25 promotion_gates.error_rate.maximum: can never be proven: needs a wider limit",
        ),
    ],
)  # fmt: skip
def test_contradictions_and_the_undecidable_are_refused(text: str, rps: float | None, line: str) -> None:
    """One line each that an editor can jump to, before all warnings."""
    lines = found(text, rps)

    assert any(one.startswith(line) for one in lines), lines
    assert "warning" not in lines[0]


#: A plan, its requests per second, the place and path of the warning, and how it goes on.
UNWISE: list[tuple[str, float | None, str, str]] = [
    (
        PLAN + TIMED + "prove_segments_above_ratio: 0.01\n",
        20.0,
        "15:29 prove_segments_above_ratio",
        "error_rate is not decidable for a segment with 1 % of the requests within maximum_seconds of stage shadow",
    ),
    (
        gates("error_rate: {maximum: 0.01, minimum_samples: 50}"),
        None,
        "8:48 promotion_gates.error_rate.minimum_samples",
        "binds nothing: without a single failure the proof takes 328",
    ),
    (
        gates("error_rate: {maximum: 0.01, minimum_bad_events: 1}"),
        None,
        "8:51 promotion_gates.error_rate.minimum_bad_events",
        "a single bad",
    ),
    (
        gates("human_review_score: {minimum_delta: -0.01}"),
        None,
        "8:39 promotion_gates.human_review_score.minimum_delta",
        "this margin takes about ",
    ),
    (
        gates("human_review_score: {minimum_delta: 0.01}"),
        None,
        "8:39 promotion_gates.human_review_score.minimum_delta",
        "is never proven",
    ),
    (
        gates("error_rate: {maximum: 0.002}"),
        None,
        "8:25 promotion_gates.error_rate.maximum",
        "is never proven for the healthy",
    ),
    (
        gates("error_rate: {maximum: 0.01}", "pod_restarts: {maximum: 2}"),
        None,
        "9:3 promotion_gates.pod_restarts",
        "without max_rate_to_exclude_per_hour",
    ),
    (
        gates("error_rate: {maximum: 0.01, alpha_promote: 0.2}"),
        None,
        "8:46 promotion_gates.error_rate.alpha_promote",
        "is a chance of error above 0.1",
    ),
    (PLAN.replace("segments: [tier]\n", ""), None, "1:1 segments", "no per-segment analysis: none"),
    (PLAN + "alpha_rollback: 0.15\n", None, "10:17 alpha_rollback", "is a chance of error"),
    (PLAN + "candidate_silent_seconds: 3\n", None, "10:27 candidate_silent_seconds", "is not longer"),
    (
        (PLAN + TIMED).replace("weight: 5, minimum_seconds: 60", "weight: 5, minimum_seconds: 2"),
        None,
        "12:34 stages.1.minimum_seconds",
        "promoting too quickly: is shorter than window_ms + grace_ms (3 s)",
    ),
    (
        (PLAN + TIMED).replace("weight: 5,", "weight: 6,"),
        None,
        "12:14 stages.1.weight",
        "promoting too quickly: the first",
    ),
    (
        (PLAN + TIMED).replace("weight: 25,", "weight: 26,"),
        None,
        "13:14 stages.2.weight",
        "promoting too quickly: 5.2 times the stage before",
    ),
    (
        (PLAN + TIMED).replace("0, minimum_pairs: 1}", "0, minimum_pairs: 1, maximum_seconds: 9}"),
        None,
        "14:74 stages.3.maximum_seconds",
        "does nothing in the last stage",
    ),
    (
        gates("error_rate: {maximum: 0.01}", "label_change_rate: {maximum: 0.001, advisory: true}"),
        200.0,
        "9:32 promotion_gates.label_change_rate.maximum",
        "can never be proven",
    ),
    (
        PLAN + "on_timeout: rollback\n",
        None,
        "10:13 on_timeout",
        "does nothing: no stage",
    ),
    (
        gates("error_rate: {maximum: 0.01}", "loose: {measure: error_rate, maximum: 0.02}"),
        None,
        "9:41 promotion_gates.loose.maximum",
        "says less than error_rate (0.01)",
    ),
    (
        gates(
            "human_review_score: {minimum_delta: -0.02}", "z: {measure: human_review_score, minimum_delta: -0.05}"
        ),
        None,
        "9:51 promotion_gates.z.minimum_delta",
        "says less than human_review_score (-0.02)",
    ),
]


@pytest.mark.parametrize(("text", "rps", "place", "says"), UNWISE)
def test_what_may_be_unwise_is_warned_of(text: str, rps: float | None, place: str, says: str) -> None:
    """Exactly this finding, marked as a warning."""
    lines = found(text, rps)

    assert len(lines) == 1, lines
    assert lines[0].startswith(f"r.yaml:{place}: warning: {says}")


def test_refusals_come_first_then_the_order_of_the_file() -> None:
    """What stops the plan is read first."""
    text = PLAN.replace("segments: [tier]\n", "") + TIMED.replace("weight: 5,", "weight: 10,")
    plan, source = RolloutPlan.from_yaml(text), read_yaml(text)
    kinds = [f.refused for f in lint(plan, source, 1.0)]

    assert kinds == sorted(kinds, reverse=True)
    assert kinds[0]
    assert not kinds[-1]


def test_a_finding_about_plain_data_names_the_file_alone() -> None:
    """A plan that came from no file has no lines."""
    source = read_yaml("a: 1", file="r.yaml")
    empty = type(source)("<plan>", {}, {}, {})

    assert Finding(path=("a",), what="x", refused=True).line(empty) == "<plan> a: x"
