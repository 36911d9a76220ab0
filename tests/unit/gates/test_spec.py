"""How promotion_gates is read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from paritygate.comparators import latency
from paritygate.comparators.numbers import NumberRule
from paritygate.gates.measures import Kind, Rule
from paritygate.gates.spec import KEYS, RESERVED, GateError, parse_gates
from paritygate.schemas.errors import ConfigError

SEED = """
latency_p95_ms: {maximum_regression_percent: 10}
error_rate: {maximum: 0.01}
schema_validation_pass_rate: {minimum: 0.995}
human_review_score: {minimum_delta: -0.02}
gpu_oom_events: {maximum: 0}
"""


def test_the_seed_parses_as_it_stands() -> None:
    """The five lines of the issue give five required gates, in order, with the measure's own floors."""
    found = [(g.name, g.rule.value, g.limit, g.kind, g.required) for g in parse_gates(yaml.safe_load(SEED))]

    assert found == [
        ("latency_p95_ms", "maximum_regression_percent", 10.0, Kind.LATENCY, True),
        ("error_rate", "maximum", 0.01, Kind.RATE, True),
        ("schema_validation_pass_rate", "minimum", 0.995, Kind.RATE, True),
        ("human_review_score", "minimum_delta", -0.02, Kind.OUTCOME, True),
        ("gpu_oom_events", "maximum", 0.0, Kind.EVENTS, True),
    ]
    assert [g.minimum_samples for g in parse_gates(yaml.safe_load(SEED))] == [200, 100, 100, 50, 0]


def test_the_long_form() -> None:
    """Options stand beside the rule; a name of one's own needs ``measure``."""
    slow, oom, kpi = parse_gates(
        yaml.safe_load(
            """
            slow_tail: {measure: latency_p99_ms, maximum: 250, advisory: true, minimum_samples: 5000}
            gpu_oom_events: {maximum: 2, max_rate_to_exclude_per_hour: 0.5}
            clicked: {minimum_delta: 0, alpha_promote: 0.01, alpha_rollback: 0.1, minimum_bad_events: 5}
            """
        )
    )

    assert (slow.measure, slow.rule, slow.limit, slow.required) == ("latency_p99_ms", Rule.MAXIMUM, 250.0, False)
    assert slow.minimum_samples == 5000
    assert oom.max_rate_to_exclude_per_hour == 0.5
    assert (kpi.kind, kpi.alpha_promote, kpi.alpha_rollback, kpi.minimum_bad_events) == (Kind.OUTCOME, 0.01, 0.1, 5)


def test_only_ratio_gates_on_latency_ask_for_difference_arrays() -> None:
    """latency_shifts() names what the join must count, and nothing for other gates."""
    gates = parse_gates(
        {
            "latency_p95_ms": {"maximum_regression_percent": 10},
            "latency_p50_ms": {"maximum": 5},
            "error_rate": {"maximum": 0.01},
        }
    )

    assert gates[0].latency_shifts() == latency.shifts(10.0)
    assert gates[1].latency_shifts() == gates[2].latency_shifts() == ()


def test_a_change_rate_has_a_limit_for_segments() -> None:
    """Unless declared, a segment may change three times as often as all, and never always."""
    (declared,) = parse_gates({"label_change_rate": {"maximum": 0.05, "segment_maximum": 0.4}})
    (narrow,) = parse_gates({"label_change_rate": {"maximum": 0.05}})
    (wide,) = parse_gates({"output_change_rate": {"maximum": 0.6}})

    assert declared.segment_limit == 0.4
    assert narrow.segment_limit == pytest.approx(0.15)
    assert wide.segment_limit == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("gates", "path", "says"),
    [
        ({}, (), "declares no gate"),
        ([], (), "must map gate names"),
        ({"error_rate": 0.01}, ("error_rate",), "must be a mapping"),
        ({"error_rate": {}}, ("error_rate",), "no rule; write one of: maximum or maximum_regression_percent"),
        ({"eror_rate": {"maximum": 0.01}}, ("eror_rate",), "did you mean error_rate?"),
        ({"error_rate": {"maxmum": 0.01}}, ("error_rate", "maxmum"), "did you mean maximum?"),
        ({"clicks": {"maximum": 0.01}}, ("clicks",), "outcome measures take minimum_delta"),
        ({"clicks": {"maximum_delta": 0.01}}, ("clicks",), "numbers of events need source: events"),
        ({"completion_token": {"source": "events", "minimum_delta": 0}}, ("completion_token",), "did you mean"),
        ({"completion_tokens": {"maximum_regression_percent": 10}}, ("completion_tokens",), "write cap"),
        ({"completion_tokens": {"maximum": 10}}, ("completion_tokens", "maximum"), "takes maximum_regression_per"),
        (
            {"citation_rate": {"minimum_delta": 0, "cap": 1}},
            ("citation_rate", "cap"),
            "of deltas lie in 0..1",
        ),
        (
            {"error_rate": {"maximum": 0.1, "cap": 1}},
            ("error_rate", "cap"),
            "belongs to maximum_regression",
        ),
        ({"error_rate": {"maximum": 0.1, "source": "events"}}, ("error_rate", "source"), "leave source out"),
        ({"x": {"minimum_delta": 0, "source": "outcomes"}}, ("x", "source"), "must be events"),
        (
            {"x": {"source": "events", "maximum_regression_percent": 5, "cap": 0}},
            ("x", "cap"),
            "must lie above 0",
        ),
        ({"human_review_scor": {"minimum_delta": 0}}, ("human_review_scor",), "did you mean human_review_score?"),
        ({"x": {"measure": "eror_rate", "maximum": 0.1}}, ("x", "measure"), "did you mean error_rate?"),
        ({"x": {"measure": 3, "maximum": 0.1}}, ("x", "measure"), "is no measure name"),
        ({"Error Rate": {"maximum": 0.1}}, ("Error Rate",), "is no gate name"),
        ({7: {"maximum": 0.1}}, ("7",), "is no gate name"),
        ({"error_rate": {"maximum": 0.1, "minimum": 0.1}}, ("error_rate", "minimum"), "a gate has one rule"),
        ({"error_rate": {"minimum": 0.1}}, ("error_rate", "minimum"), "takes maximum or"),
        ({"latency_p95_ms": {"minimum_delta": 0}}, ("latency_p95_ms", "minimum_delta"), "takes maximum_regression"),
        ({"error_rate": {"maximum": 1.2}}, ("error_rate", "maximum"), "a rate lies in 0..1, not 1.2"),
        ({"error_rate": {"maximum": -0.1}}, ("error_rate", "maximum"), "a rate lies in 0..1"),
        ({"error_rate": {"maximum": 0}}, ("error_rate", "maximum"), "can never be proven"),
        (
            {"schema_validation_pass_rate": {"minimum": 1}},
            ("schema_validation_pass_rate", "minimum"),
            "never be proven",
        ),
        ({"error_rate": {"maximum": math.nan}}, ("error_rate", "maximum"), "finite"),
        (
            {"error_rate": {"maximum": "1e-2"}},
            ("error_rate", "maximum"),
            "must be a number such as 0.01, not text '1e-2'",
        ),
        ({"error_rate": {"maximum": True}}, ("error_rate", "maximum"), "must be a number"),
        ({"error_rate": {"maximum": None}}, ("error_rate", "maximum"), "must be a number"),
        (
            {"latency_p95_ms": {"maximum_regression_percent": -5}},
            ("latency_p95_ms", "maximum_regression_percent"),
            "0..1000",
        ),
        ({"latency_p95_ms": {"maximum": 0}}, ("latency_p95_ms", "maximum"), "must lie above 0"),
        ({"kpi": {"minimum_delta": -1}}, ("kpi", "minimum_delta"), "inside -1..1"),
        ({"gpu_oom_events": {"maximum": 0.5}}, ("gpu_oom_events", "maximum"), "a whole number from 0 on"),
        ({"gpu_oom_events": {"maximum": -1}}, ("gpu_oom_events", "maximum"), "a whole number from 0 on"),
        ({"error_rate": {"maximum": 0.1, "advisory": "yes"}}, ("error_rate", "advisory"), "true or false"),
        ({"error_rate": {"maximum": 0.1, "minimum_samples": -1}}, ("error_rate", "minimum_samples"), "from 0 on"),
        (
            {"error_rate": {"maximum": 0.1, "minimum_bad_events": 0}},
            ("error_rate", "minimum_bad_events"),
            "from 1 on",
        ),
        ({"error_rate": {"maximum": 0.1, "alpha_promote": 0}}, ("error_rate", "alpha_promote"), "chance of error"),
        (
            {"error_rate": {"maximum": 0.1, "max_rate_to_exclude_per_hour": 1}},
            ("error_rate", "max_rate_to_exclude_per_hour"),
            "belongs to",
        ),
        (
            {"gpu_oom_events": {"maximum": 0, "max_rate_to_exclude_per_hour": 0}},
            ("gpu_oom_events", "max_rate_to_exclude_per_hour"),
            "above 0",
        ),
        (
            {"gpu_oom_events": {"maximum": 0, "tolerate_bursts": True}},
            ("gpu_oom_events", "tolerate_bursts"),
            "belongs to gates on rates",
        ),
        (
            {"error_rate": {"maximum": 0.1, "max_bursts_to_exclude_per_hour": 1}},
            ("error_rate", "max_bursts_to_exclude_per_hour"),
            "tolerate_bursts: true",
        ),
        (
            {"label_change_rate": {"maximum": 0.1, "tolerate_bursts": True, "max_bursts_to_exclude_per_hour": 1}},
            ("label_change_rate", "max_bursts_to_exclude_per_hour"),
            "cannot be counted by instance",
        ),
        ({"error_rate": {"maximum": 0.1, "segment_maximum": 0.2}}, ("error_rate", "segment_maximum"), "belongs to"),
        *[({name: {"maximum": 0.1}}, (name,), "always runs") for name in RESERVED],
    ],
)
def test_what_cannot_mean_anything_is_refused(gates: Any, path: tuple[str, ...], says: str) -> None:
    """Every refusal names its place and the mend, in one line."""
    with pytest.raises(GateError) as refused:
        parse_gates(gates)

    assert refused.value.path == path
    assert says in refused.value.what
    assert str(refused.value).startswith(".".join(("promotion_gates", *path)) + ": ")
    assert "\n" not in str(refused.value)


def test_a_gate_error_is_a_config_error() -> None:
    """The command line answers it with exit code 2, like every other config error."""
    with pytest.raises(ConfigError):
        parse_gates({"error_rate": {"maximum": 2}})


def test_every_word_of_a_gate_is_listed_once() -> None:
    """KEYS serves completion and schemas."""
    assert len(KEYS) == len(set(KEYS))
    assert {"maximum", "advisory", "measure", "alpha_rollback"} <= set(KEYS)


def test_a_number_of_the_events_says_what_the_join_must_count() -> None:
    """The difference follows from the rule; two rules on the same difference are counted once."""
    tokens, cost, least, most, errors = parse_gates(
        {
            "completion_tokens": {"maximum_regression_percent": 10, "cap": 4096},
            "cost": {"source": "events", "maximum_regression_percent": 0, "cap": 0.5},
            "citation_rate": {"minimum_delta": -0.02},
            "cited": {"measure": "citation_rate", "source": "events", "maximum_delta": 0.2},
            "error_rate": {"maximum": 0.01},
        }
    )

    assert tokens.number_rule() == NumberRule("completion_tokens", 1.1, 4096.0)
    assert cost.number_rule() == NumberRule("cost", 1.0, 0.5)
    assert least.number_rule() == most.number_rule() == NumberRule("citation_rate", 1.0, 1.0)
    assert errors.number_rule() is None
