"""The common mistakes of rollouts: each is refused or warned about, with its line and by its name."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from paritygate.rollouts.finding import Mistake
from paritygate.rollouts.lint import lint
from paritygate.rollouts.mistakes import mistakes, require_policy
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.yaml_source import read_yaml
from paritygate.schemas.errors import PlanError

PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ann@example.com
rollback_condition: any required gate fails
segments: [tier]
promotion_gates:
  error_rate: {maximum: 0.01, tolerate_bursts: false}
  schema_validation_pass_rate: {minimum: 0.995}
"""
STAGES = """\
stages:
  - {weight: 0, minimum_seconds: 60, minimum_pairs: 1000}
  - {weight: 5, minimum_seconds: 60, minimum_pairs: 1000}
  - {weight: 25, minimum_seconds: 60, minimum_pairs: 1000}
  - {weight: 100, minimum_seconds: 0, minimum_pairs: 1000}
"""
HIGH = "impact: high\n" + STAGES.replace("25, ", "25, approval: required, ")


def found(text: str) -> list[str]:
    source = read_yaml(text, file="r.yaml")
    return [f.line(source) for f in mistakes(RolloutPlan.from_yaml(text, file="r.yaml"), source)]


def refusal(text: str) -> str:
    with pytest.raises(PlanError) as caught:
        RolloutPlan.from_yaml(text, file="r.yaml")
    return str(caught.value)


def test_a_careful_plan_makes_no_mistake() -> None:
    """Neither with the default ladder, nor with its own, nor where its impact is high."""
    for text in (PLAN, PLAN + STAGES, PLAN + HIGH + "spend_more_time_when: [trust_or_money]\n"):
        assert found(text) == []
        require_policy(RolloutPlan.from_yaml(text), read_yaml(text))


def test_no_shadow_stage() -> None:
    """Refused; a shadow that shows next to nothing is warned about."""
    assert refusal(PLAN + STAGES.replace("  - {weight: 0,", "  - {weight: 1,")).startswith(
        "r.yaml:12:5 stages.0: no shadow stage: the first must be shadow"
    )
    assert found(
        PLAN + STAGES.replace("0, minimum_seconds: 60, minimum_pairs: 1000", "0, minimum_pairs: 9", 1)
    ) == [
        "r.yaml:12:32 stages.0.minimum_pairs: warning: no shadow stage: 9 requests are hardly traffic;"
        " ask for 100 or more"
    ]


def test_no_per_segment_analysis() -> None:
    """Warned about: no segments, or none that is proven by itself."""
    assert found(PLAN.replace("segments: [tier]\n", "")) == [
        "r.yaml:1:1 segments: warning: no per-segment analysis: none declared: harm that an average hides will not"
        " be looked for"
    ]
    assert found(PLAN + "prove_segments_above_ratio: 0.6\n") == [
        "r.yaml:11:29 prove_segments_above_ratio: warning: no per-segment analysis: no segment below 60% of the"
        " requests is proven by itself"
    ]


def test_no_output_validation() -> None:
    """Refused, unless the plan says that no program reads the answers; validation in name only is warned about."""
    gate = "  schema_validation_pass_rate: {minimum: 0.995}\n"
    without, advisory = PLAN.replace(gate, ""), PLAN.replace("0.995", "0.995, advisory: true")
    said = "no output validation: require schema_validation_pass_rate: {minimum: 0.995}"
    for text, place in (
        (without, "r.yaml:8:1 promotion_gates"),
        (advisory, "r.yaml:10:59 promotion_gates.schema_validation_pass_rate.advisory"),
    ):
        assert [line.partition(", or")[0] for line in found(text)] == [f"{place}: {said}"]
        with pytest.raises(PlanError) as caught:
            require_policy(RolloutPlan.from_yaml(text), read_yaml(text, file="r.yaml"))
        assert str(caught.value).startswith(f"{place}: {said}")
        assert found(text + "output: {machine_consumed: false}\n") == []
    assert found(PLAN.replace("0.995", "0.5")) == [
        "r.yaml:10:42 promotion_gates.schema_validation_pass_rate.minimum: warning: no output validation:"
        " 50% of the answers may be broken"
    ]
    (line,) = found(PLAN + "output: {required: []}\n")
    assert line.startswith("r.yaml:11:10 output.required: warning: no output validation: is empty")
    assert found(PLAN + "output: {required: [], json_schema: {type: object}}\n") == []


def test_no_warm_rollback_path() -> None:
    """Warned about: nothing else to go back to, a way back that is a deployment, a long wait before it."""
    (line,) = found(PLAN.replace('"2"', '"1"'))
    assert line.startswith("r.yaml:4:22 candidate.version: warning: no warm rollback path: is the baseline's, too")
    for word in ("redeploy", "Rebuild", "re-deployed", "drain", "restore"):
        (line,) = found(PLAN.replace("any required gate fails", f"on errors we {word} the old image"))
        assert line.startswith(f'r.yaml:6:21 rollback_condition: warning: no warm rollback path: says "{word}"')
    assert found(PLAN + "candidate_silent_seconds: 900\n") == [
        "r.yaml:11:27 candidate_silent_seconds: warning: no warm rollback path: users wait 15 m until a silent"
        " candidate is taken back"
    ]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (STAGES.replace("weight: 5,", "weight: 8,"), "13:14 stages.1.weight", "the first users are 8 %"),
        (STAGES.replace("weight: 5,", "weight: 4,"), "14:14 stages.2.weight", "6.25 times the stage before"),
        (
            STAGES.replace("25, minimum_seconds: 60", "25, minimum_seconds: 300"),
            "13:34 stages.1.minimum_seconds",
            "1 m at 5 %, 5 m at 25 %: the lower one",
        ),
        (
            STAGES.replace("25, minimum_seconds: 60", "25, minimum_seconds: 1"),
            "14:35 stages.2.minimum_seconds",
            "is shorter than window_ms + grace_ms (3 s)",
        ),
        (
            STAGES.replace("60, minimum_pairs: 1000}\n  - {weight: 25", "60, minimum_pairs: 99}\n  - {weight: 25"),
            "13:53 stages.1.minimum_pairs",
            "99 requests are hardly traffic",
        ),
        (HIGH, "11:9 impact", "high, and no stage lasts longer for it"),
    ],
)
def test_promoting_too_quickly(text: str, place: str, says: str) -> None:
    """Warned about: many users at once, a low stage that is short, floors that bind nothing."""
    (line,) = found(PLAN + text)

    assert line.startswith(f"r.yaml:{place}: warning: promoting too quickly: {says}")


def test_a_choice_that_is_written_down_is_none_to_be_reminded_of() -> None:
    """A high impact that asks for no more time says so; a longer low stage needs no longer floor of its own."""
    assert found(PLAN + HIGH + "spend_more_time_when: []\n") == []
    longer = STAGES.replace("25, minimum_seconds: 60", "25, minimum_seconds: 120")
    assert len(found(PLAN + longer)) == 1
    assert found(PLAN + longer + "spend_more_time_when: [traffic_variable]\n") == []


#: What the default policy asks for: what stands in the plan without it, and what is said.
POLICY: Mapping[str, tuple[str, str]] = {
    "canary": (STAGES.replace("  - {weight: 5, ", "#").replace("  - {weight: 25, ", "#"), "11:1 stages: no canary"),
    "owner": ("", "1:1 owner: missing: who answers for this rollout"),
    "rollback_condition": ("", "1:1 rollback_condition: missing: in words, when this rollout is to be taken back"),
    "review": ("impact: high\n", "11:9 impact: high needs a review: write approval: required"),
}


@pytest.mark.parametrize("asked", POLICY)
def test_the_default_policy_is_refused_without(asked: str) -> None:
    """Canary before 100 %, owner, written rollback condition, review of a high impact."""
    more, says = POLICY[asked]
    text = "".join(line for line in PLAN.splitlines(keepends=True) if not line.startswith(f"{asked}:")) + more

    assert refusal(text).startswith(f"r.yaml:{says}")


def test_lint_finds_them_beside_its_own() -> None:
    """What is refused comes first, with its mistake."""
    text = PLAN.replace("segments: [tier]\n", "").replace("  schema_validation_pass_rate: {minimum: 0.995}\n", "")
    findings = lint(RolloutPlan.from_yaml(text), read_yaml(text))

    assert [(f.refused, f.mistake) for f in findings] == [
        (True, Mistake.NO_VALIDATION), (False, Mistake.NO_SEGMENTS),
    ]  # fmt: skip
