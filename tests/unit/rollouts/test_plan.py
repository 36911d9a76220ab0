"""A plan is complete or refused, and says where."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from paritygate.comparators.numbers import NumberRule
from paritygate.comparators.settings import JoinSettings
from paritygate.rollouts.plan import RolloutPlan, parse_gate_file, plan_json_schema
from paritygate.schemas.errors import PlanError

SCHEMA = Path(__file__).parents[3] / "docs" / "reference" / "rollout.schema.json"

GATES = """\
promotion_gates:
  latency_p95_ms:
    maximum_regression_percent: 10
  error_rate:
    maximum: 0.01
  schema_validation_pass_rate:
    minimum: 0.995
  human_review_score:
    minimum_delta: -0.02
  gpu_oom_events:
    maximum: 0
"""
HEAD = """\
rollout: fraud-42
service: fraud
baseline: {version: v41}
candidate: {version: v42}
owner: ann@example.com
rollback_condition: Any gate fails or ann says so.
"""
PLAN = HEAD + GATES


def refusal(text: str) -> str:
    with pytest.raises(PlanError) as caught:
        RolloutPlan.from_yaml(text, file="rollout.yaml")
    return str(caught.value)


def test_the_smallest_plan_has_the_ladder_and_the_defaults() -> None:
    """Shadow, 1, 5, 25, 50, 100 unless said otherwise, with floors in every stage below the top."""
    plan = RolloutPlan.from_yaml(PLAN)

    assert [(s.name, s.weight) for s in plan.ladder.stages] == [
        ("shadow", 0), ("1", 1), ("5", 5), ("25", 25), ("50", 50), ("100", 100),
    ]  # fmt: skip
    assert all(s.minimum_ms > 0 and s.minimum_pairs > 0 for s in plan.ladder.stages[:-1])
    assert [g.name for g in plan.gates] == [
        "latency_p95_ms", "error_rate", "schema_validation_pass_rate", "human_review_score", "gpu_oom_events",
    ]  # fmt: skip
    assert (plan.impact, plan.on_timeout, plan.alpha_rollback) == ("normal", "hold", 0.05)


def test_a_file_of_gates_alone_is_read_as_it_stands() -> None:
    """The promotion_gates block of the requirement parses without a plan around it."""
    gates = parse_gate_file(GATES)

    assert [(g.name, g.limit) for g in gates] == [
        ("latency_p95_ms", 10), ("error_rate", 0.01), ("schema_validation_pass_rate", 0.995),
        ("human_review_score", -0.02), ("gpu_oom_events", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("gates: {}\n", "g.yaml:1:1 gates: unknown key"),
        ("promotion_gate: {}\n", 'g.yaml:1:1 promotion_gate: unknown key, did you mean "promotion_gates"?'),
        ("promotion_gates: 3\n", "g.yaml:1:18 promotion_gates: must be a mapping of gates"),
        ("[]\n", "g.yaml:1:1 promotion_gates: must be a mapping of gates"),
        (
            "promotion_gates:\n  error_rate: {maximun: 0.01}\n",
            'g.yaml:2:16 promotion_gates.error_rate.maximun: unknown key, did you mean "maximum"?',
        ),
        (
            "promotion_gates:\n  error_rate: {maximum: high}\n",
            "g.yaml:2:25 promotion_gates.error_rate.maximum: must be a number such as 0.01, not text 'high'",
        ),
    ],
)
def test_a_bad_file_of_gates_is_refused_at_its_place(text: str, error: str) -> None:
    """Gate files get the same errors as plans."""
    with pytest.raises(PlanError) as caught:
        parse_gate_file(text, file="g.yaml")

    assert str(caught.value) == error


LADDER = PLAN + "stages:\n  - {weight: 0}\n  - {weight: 5}\n  - {weight: 100}\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PLAN.replace("owner:", "ownr:"), 'rollout.yaml:5:1 ownr: unknown key, did you mean "owner"?'),
        (
            PLAN.replace("owner: ann@example.com\n", ""),
            "rollout.yaml:1:1 owner: missing: who answers for this rollout",
        ),
        (PLAN.replace("ann@example.com", '""'), "rollout.yaml:5:8 owner: must have at least 1 characters"),
        (
            PLAN.replace("rollback_condition: Any gate fails or ann says so.\n", ""),
            "rollout.yaml:1:1 rollback_condition: missing: in words, when this rollout is to be taken back",
        ),
        (
            PLAN.replace("Any gate fails or ann says so.", "bad"),
            "rollout.yaml:6:21 rollback_condition: must have at least 10 characters",
        ),
        (HEAD, "rollout.yaml:1:1 promotion_gates: missing: what the candidate must prove: gate name to rule"),
        (
            HEAD + "promotion_gates: {}\n",
            "rollout.yaml:7:1 promotion_gates: declares no gate, so nothing could ever be proven;"
            " add e.g. error_rate",
        ),
        (
            HEAD + "promotion_gates:\n  error_rate: {maximum: 0.01, advisory: true}\n",
            "rollout.yaml:7:1 promotion_gates: no required gate: a rollout without one could never be rolled back",
        ),
        (
            PLAN.replace("maximum: 0.01", "maximun: 0.01"),
            'rollout.yaml:11:5 promotion_gates.error_rate.maximun: unknown key, did you mean "maximum"?',
        ),
        (
            PLAN.replace("  error_rate:", "  error_rat:"),
            'rollout.yaml:10:3 promotion_gates.error_rat: unknown measure, did you mean "error_rate"?;'
            " outcome measures take minimum_delta, numbers of events need source: events",
        ),
        (
            PLAN.replace("maximum: 0.01", "maximum: .nan"),
            "rollout.yaml:11:14 promotion_gates.error_rate.maximum: .nan is not a finite number",
        ),
        (PLAN + "owner: bob\n", "rollout.yaml:18:1 owner: the key stands twice, first in line 5"),
        (
            PLAN + "diff: *rules\n",
            "rollout.yaml:18:7: the alias *rules is not read: write the value out",
        ),
        (
            PLAN.replace("baseline: {version: v41}", "baseline: {version: 41}"),
            "rollout.yaml:3:21 baseline.version: must be text, in quotes if it looks like a number",
        ),
        (
            PLAN.replace("baseline: {version: v41}", "baseline: {versoin: v41}"),
            'rollout.yaml:3:12 baseline.versoin: unknown key, did you mean "version"?',
        ),
        (
            PLAN.replace("baseline: {version: v41}", "baseline: v41"),
            "rollout.yaml:3:11 baseline: must be a mapping",
        ),
        (
            PLAN.replace("fraud-42", "fraud 42"),
            "rollout.yaml:1:10 rollout: may hold letters, digits, '.', '_' and '-' and starts with a letter"
            " or digit",
        ),
        (
            PLAN + "impact: hihg\n",
            "rollout.yaml:18:9 impact: must be 'low', 'normal' or 'high', did you mean \"high\"?",
        ),
        (PLAN + "alpha_rollback: 0\n", "rollout.yaml:18:17 alpha_rollback: must be greater than 0"),
        (PLAN + "alpha_rollback: yes\n", "rollout.yaml:18:17 alpha_rollback: must be a number"),
        (PLAN + "no_data_seconds: 1.5\n", "rollout.yaml:18:18 no_data_seconds: must be a whole number"),
        (
            PLAN + "join:\n  windowms: 500\n",
            'rollout.yaml:19:3 join.windowms: unknown key, did you mean "window_ms"?',
        ),
        (PLAN + "join:\n  window_ms: true\n", "rollout.yaml:19:14 join.window_ms: must be a whole number"),
        (PLAN + "segments: origin\n", "rollout.yaml:18:11 segments: must be a list"),
        (PLAN + "segments: [a, b, a]\n", 'rollout.yaml:18:18 segments.2: "a" stands twice'),
        (
            PLAN + "diff: {ignore: [/a, b]}\n",
            'rollout.yaml:18:21 diff.ignore.1: "b" is not a JSON Pointer: it starts with "/"',
        ),
        (
            PLAN + "stages:\n  - {weight: 1}\n  - {weight: 5}\n  - {weight: 100}\n",
            "rollout.yaml:19:5 stages.0: no shadow stage: the first must be shadow with weight 0,"
            " proof comes before users",
        ),
        (
            LADDER.replace("weight: 5}", "weight: 0}"),
            "rollout.yaml:20:14 stages.1.weight: must be greater than 0, the weight of the stage before it",
        ),
        (
            LADDER.replace("weight: 100", "weight: 50"),
            "rollout.yaml:21:14 stages.2.weight: the last stage must have weight 100",
        ),
        (LADDER.replace("weight: 100", "weight: 101"), "rollout.yaml:21:14 stages.2.weight: must be at most 100"),
        (
            LADDER.replace("{weight: 100}", "{weight: 100, name: '5'}"),
            'rollout.yaml:21:25 stages.2.name: the name "5" stands twice',
        ),
        (
            LADDER.replace("{weight: 5}", "{weight: 5, minimum_pair: 1}"),
            'rollout.yaml:20:17 stages.1.minimum_pair: unknown key, did you mean "minimum_pairs"?',
        ),
        (
            LADDER.replace("{weight: 5}", "{weight: 5, minimum_pairs: 0}"),
            "rollout.yaml:20:32 stages.1.minimum_pairs: must be at least 1",
        ),
        (
            LADDER.replace("{weight: 5}", "{weight: 5, maximum_seconds: 60}"),
            "rollout.yaml:20:34 stages.1.maximum_seconds: must be greater than minimum_seconds, which is 900",
        ),
        (
            LADDER.replace("  - {weight: 5}\n", ""),
            "rollout.yaml:18:1 stages: no canary: needs at least shadow, one stage of live traffic below 100 %,"
            " and 100 %",
        ),
        (
            PLAN + "output: {json_schema: {type: 3}}\n",
            "rollout.yaml:18:10 output.json_schema: json_schema cannot be used: 3 is not valid under any of the"
            " schemas listed in the 'anyOf' keyword",
        ),
        (
            PLAN + "stages:\n" + "".join(f"  - {{weight: {w}}}\n" for w in (0, 1, 2, 3, 4, 5, 6, 7, 100)),
            "rollout.yaml:18:1 stages: must have at most 8 entries",
        ),
        ("- a\n", "rollout.yaml:1:1: a rollout plan is a mapping"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused_at_its_place_with_a_hint(text: str, error: str) -> None:
    """file:line:column path: what, did you mean "…"?"""
    assert refusal(text) == error


def test_the_digest_is_that_of_the_meaning() -> None:
    """Order, comments, notation and written-out defaults do not change it; a limit does."""
    plan = RolloutPlan.from_yaml(PLAN)
    same = RolloutPlan.from_yaml(
        "# the same\n" + GATES.replace("0.01", "1e-2") + HEAD + "impact: normal\njoin: {window_ms: 1000}\n"
    )
    other = RolloutPlan.from_yaml(PLAN.replace("0.01", "0.02"))
    gates_in_order = list(plan.to_plain()["promotion_gates"])

    assert same.digest() == plan.digest()
    assert other.digest() != plan.digest()
    assert gates_in_order == [g.name for g in plan.gates]


def test_plain_data_reads_back_to_the_same_plan() -> None:
    """What a start command carries is the plan, all defaults filled in, also after its way through JSON."""
    text = LADDER.replace("{weight: 5}", "{weight: 5, maximum_seconds: 3600}")
    plan = RolloutPlan.from_yaml(text + "segments: [origin]\noutput: {json_schema: {type: object}}\n")

    again = RolloutPlan.from_plain(orjson.loads(orjson.dumps(plan.to_plain())))

    assert again == plan
    assert again.digest() == plan.digest()
    assert again.gates == plan.gates


def test_plain_data_from_no_file_is_refused_without_a_place() -> None:
    """A start command has no lines; the path must do."""
    with pytest.raises(PlanError) as caught:
        RolloutPlan.from_plain({"rollout": "r"})

    assert str(caught.value) == "<plan> service: missing: the service whose traffic is shifted"


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_plain_data_with_a_limit_that_is_no_number_is_refused(limit: float) -> None:
    """JSON readers that let NaN through must not open a gate."""
    plain = RolloutPlan.from_yaml(PLAN).to_plain()
    plain["promotion_gates"]["error_rate"]["maximum"] = limit

    with pytest.raises(PlanError, match=r"promotion_gates\.error_rate\.maximum: must be a finite number"):
        RolloutPlan.from_plain(plain)


def test_the_join_gets_what_the_plan_says() -> None:
    """Segments, windows, output rules, diff rules and the shifts of the latency gates reach the join."""
    extra = """\
segments: [origin, endpoint]
join: {window_ms: 500, grace_ms: 700}
output: {labels: [late, on_time], required: [prediction]}
diff: {absolute_tolerance: 0.5, ignore: [/trace]}
"""
    settings = RolloutPlan.from_yaml(PLAN + extra).join_settings()

    assert settings.rollout_id == "fraud-42"
    assert settings.dimensions == ("origin", "endpoint")
    assert (settings.window_ms, settings.grace_ms, settings.lateness_ms) == (500, 700, 500)
    assert settings.latency_shifts == RolloutPlan.from_yaml(PLAN).gates[0].latency_shifts()
    assert settings.output_rules.labels == ("late", "on_time")
    assert settings.diff_rules.ignore == ("/trace",)


def test_the_join_counts_what_the_gates_ask_for() -> None:
    """Numbers of events and labels cost nothing where no gate is on them, and a difference is counted once."""
    gates = """\
  label_shift: {maximum: 0.05}
  completion_tokens: {maximum_regression_percent: 10, cap: 4096}
  citation_rate: {minimum_delta: -0.02}
  cited_more: {measure: citation_rate, maximum_delta: 0.2}
"""
    none = RolloutPlan.from_yaml(PLAN).join_settings()
    plan = RolloutPlan.from_yaml(PLAN.replace("promotion_gates:\n", f"promotion_gates:\n{gates}"))
    settings = plan.join_settings()

    assert (none.numbers, none.label_shares) == ((), False)
    assert settings.label_shares
    assert settings.numbers == (
        NumberRule("completion_tokens", 1.1, 4096.0), NumberRule("citation_rate", 1.0, 1.0),
    )  # fmt: skip
    assert JoinSettings.from_plain(settings.to_plain()) == settings
    assert RolloutPlan.from_plain(plan.to_plain()).gates == plan.gates


def test_a_stage_is_found_by_its_name() -> None:
    """Unknown stages are an error that names those there are."""
    plan = RolloutPlan.from_yaml(PLAN)

    assert plan.stage("25").weight == 25
    with pytest.raises(KeyError, match="shadow, 1, 5, 25, 50, 100"):
        plan.stage("30")


def test_the_committed_json_schema_is_current() -> None:
    """Editors complete from docs/reference/rollout.schema.json, which is made from the model."""
    committed = SCHEMA.read_bytes()

    assert committed == orjson.dumps(plan_json_schema(), option=orjson.OPT_INDENT_2) + b"\n", (
        "write it again: python -c 'import orjson; from paritygate.rollouts.plan import plan_json_schema; "
        "print(orjson.dumps(plan_json_schema(), option=orjson.OPT_INDENT_2).decode())' > " + SCHEMA.name
    )


def test_the_json_schema_accepts_a_plan_and_refuses_a_typo() -> None:
    """The schema judges like the reader where it can."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(plan_json_schema())
    plain = RolloutPlan.from_yaml(PLAN).to_plain()

    assert validator.is_valid(plain)
    assert not validator.is_valid({**plain, "ownr": "x"})
    assert not validator.is_valid({**plain, "promotion_gates": {"error_rate": {"maximun": 1}}})


def test_an_option_that_is_not_used_leaves_the_plan_as_it_was() -> None:
    """``tolerate_bursts`` is read back, and where it is not set the plain form and digest know nothing of it."""
    plain = RolloutPlan.from_yaml(PLAN).to_plain()
    told = {**plain, "promotion_gates": {"error_rate": {"maximum": 0.01, "tolerate_bursts": True}}}
    silent = {**plain, "promotion_gates": {"error_rate": {"maximum": 0.01, "tolerate_bursts": False}}}
    unset = {**plain, "promotion_gates": {"error_rate": {"maximum": 0.01}}}

    again = RolloutPlan.from_plain(RolloutPlan.from_plain(told).to_plain())
    assert again.gates[0].tolerate_bursts
    assert "tolerate_bursts" not in orjson.dumps(RolloutPlan.from_plain(silent).to_plain()).decode()
    assert RolloutPlan.from_plain(silent).digest() == RolloutPlan.from_plain(unset).digest()
    assert again.digest() != RolloutPlan.from_plain(unset).digest()
