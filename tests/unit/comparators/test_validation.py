"""Which outputs keep the contract, and how a broken one is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.validation import (
    MAX_FAILED_RULES,
    MAX_RULE_CHARS,
    OutputRules,
    OutputValidator,
)
from paritygate.schemas.errors import ConfigError

SEED = OutputValidator(OutputRules())
GOOD: dict[str, Any] = {"prediction": "yes", "confidence": 0.5, "model_version": "v1"}

SCHEMA = {
    "type": "object",
    "properties": {
        "prediction": {"type": "string"},
        "reasons": {"type": "array", "items": {"type": "object", "properties": {"weight": {"type": "number"}}}},
    },
    "additionalProperties": {"type": ["string", "number"]},
    "required": ["trace"],
}


def changed(**changes: Any) -> str:
    """A good output with some fields changed; None takes the field away."""
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...})


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        (changed(), ()),
        (changed(confidence=0), ()),
        (changed(confidence=1), ()),
        (changed(extra=[1]), ()),
        (changed(prediction=...), ("missing.prediction",)),
        (changed(confidence=...), ("missing.confidence",)),
        (changed(model_version=...), ("missing.model_version",)),
        ("{}", ("missing.prediction", "missing.confidence", "missing.model_version")),
        (changed(confidence="0.5"), ("confidence.type",)),
        (changed(confidence=True), ("confidence.type",)),
        (changed(confidence=None), ("confidence.type",)),
        (changed(confidence=[0.5]), ("confidence.type",)),
        (changed(confidence=1.0000001), ("confidence.range",)),
        (changed(confidence=-1), ("confidence.range",)),
        (changed(confidence=10**40), ("confidence.range",)),
        (changed(confidence=float("nan")), ("not_json",)),
        (changed(confidence=float("inf")), ("not_json",)),
        ('{"confidence": 1e999}', ("not_json",)),
        ("", ("not_json",)),
        ("{", ("not_json",)),
        ("\ud800", ("not_json",)),
        ("\x00", ("not_json",)),
        ("[" * 100_000, ("not_json",)),
        (json.dumps([GOOD]), ("not_object",)),
        ("null", ("not_object",)),
        ('"yes"', ("not_object",)),
    ],
)
def test_the_seed_rules(output: str, failed: tuple[str, ...]) -> None:
    """The three fields are there and confidence is a number in 0..1; each breach has its name."""
    assert SEED.check(output) == failed


def test_labels_are_a_closed_set_where_one_is_given() -> None:
    """A label outside the set, or of another type, is unknown; no set allows all."""
    closed = OutputValidator(OutputRules(labels=("yes", "no")))

    assert closed.check(changed()) == ()
    assert closed.check(changed(prediction="maybe")) == ("label.unknown",)
    assert closed.check(changed(prediction=["yes"])) == ("label.unknown",)
    assert closed.check(changed(prediction=...)) == ("missing.prediction",)
    assert SEED.check(changed(prediction={"any": "thing"})) == ()


def test_a_json_schema_of_the_user_names_keyword_and_place() -> None:
    """Indexes, and keys that the schema does not name, are ``*``: the names stay few whatever the outputs."""
    rules = OutputValidator(OutputRules(required=(), json_schema=SCHEMA))

    assert rules.check(changed(trace="t")) == ()
    assert rules.check(changed()) == ("schema.Required",)
    assert rules.check(changed(trace="t", prediction=1)) == ("schema.Type.prediction",)
    broken = changed(trace="t", reasons=[{"weight": 1}, {"weight": "x"}, {"weight": None}])
    assert rules.check(broken) == ("schema.Type.reasons.*.weight",)
    assert rules.check(changed(trace="t", u1234=[], u99=[])) == ("schema.Type.*",)


def test_both_kinds_of_rules_are_checked() -> None:
    """Field rules first, then the schema's."""
    rules = OutputValidator(OutputRules(json_schema={"required": ["prediction"]}))

    assert rules.check('{"confidence": 2, "model_version": "v"}') == (
        "missing.prediction", "confidence.range", "schema.Required",
    )  # fmt: skip


def test_a_thousand_reasons_are_cut() -> None:
    """Number and length of the names are bounded."""
    fields = tuple("x" * 500 + str(i) for i in range(100))
    failed = OutputValidator(OutputRules(required=fields)).check("{}")
    assert len(failed) == 1
    assert len(failed[0]) == MAX_RULE_CHARS

    many = {"properties": {f"f{i}": {"type": "string"} for i in range(100)}}
    output = json.dumps({f"f{i}": i for i in range(100)})
    assert len(OutputValidator(OutputRules(required=(), json_schema=many)).check(output)) == MAX_FAILED_RULES


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"pattern": "("},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"$ref": "#/nowhere"},
        {"properties": 5},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_once(schema: dict[str, Any]) -> None:
    """One clear line when the rules are read, not at the first output; nothing is fetched."""
    with pytest.raises(ConfigError, match="json_schema cannot be used"):
        OutputValidator(OutputRules(json_schema=schema))


def test_a_pattern_of_the_user_cannot_stall_the_worker() -> None:
    """A pattern that would backtrack for hours fails instead."""
    rules = OutputValidator(
        OutputRules(required=(), json_schema={"properties": {"a": {"pattern": r"^(a+)+(?=b)c$"}}})
    )

    assert rules.check(json.dumps({"a": "a" * 200}))[0].startswith("schema.")


def test_deep_outputs_are_failures_not_errors() -> None:
    """Nested beyond what the schema's validator follows: a failed rule."""
    rules = OutputValidator(OutputRules(required=(), json_schema={"properties": {"a": {"type": "string"}}}))

    assert rules.check('{"a":' + "[" * 900 + "]" * 900 + "}") == ("schema.TooDeep",)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    output=st.one_of(
        st.text(st.characters()),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(
                st.sampled_from(["prediction", "confidence", "reasons", "x"]), inner),
            max_leaves=8,
        ).map(json.dumps),
    )
)  # fmt: skip
def test_no_string_whatever_raises(output: str) -> None:
    """Any text gives a tuple of names, the same each time."""
    rules = OutputValidator(OutputRules(labels=("yes",), json_schema=SCHEMA))
    failed = rules.check(output)

    assert failed == rules.check(output)
    assert len(set(failed)) == len(failed)
    assert all(name and len(name) <= MAX_RULE_CHARS for name in failed)
