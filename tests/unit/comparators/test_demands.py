"""What keeps all demands keeps all rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.demands import MAX_NAMED, Demands, Table
from paritygate.comparators.flat import Flat
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.texts import Texts
from tests.support.flat_texts import flat_texts

KEYS = st.sampled_from(["prediction", "confidence", "x", "y", ""])
LIMITS = st.integers(-2, 2) | st.sampled_from([0.5, 0.1, 1.0, 2**53, -0.0, 1e300])
SCALARS = st.none() | st.booleans() | LIMITS | st.sampled_from(["yes", "no", "Å", "", "y\u0065s", '"', "\ud800"])
TYPE = st.sampled_from(["string", "number", "integer", "boolean", "null", "object", "array"])
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": TYPE | st.lists(TYPE, min_size=1, max_size=3, unique=True),
    "enum": st.lists(SCALARS | st.just([1]), min_size=1, max_size=4, unique_by=repr), "const": SCALARS,
    "minimum": LIMITS, "maximum": LIMITS, "exclusiveMinimum": LIMITS | st.booleans(), "exclusiveMaximum": LIMITS,
    "minLength": st.integers(0, 5), "maxLength": st.integers(0, 5), "title": st.just("t"), "pattern": st.just("^y"),
    "multipleOf": st.just(0.5), "format": st.just("date"),
    "items": st.just({"type": "number"}), "maxItems": st.just(1), "not": st.just({"type": ["array", "null"]}),
    "$ref": st.just("#"),
}  # fmt: skip
_SIMPLE = {"type", "enum", "const", "minimum", "maximum", "minLength", "maxLength", "title", "exclusiveMinimum"}
FEW = {word: WORDS[word] for word in WORDS if word in _SIMPLE}
PROPERTY = st.booleans() | st.fixed_dictionaries({}, optional=FEW) | st.fixed_dictionaries({}, optional=WORDS)
DIALECTS = ["http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2020-12/schema"]  # fmt: skip
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "$schema": st.sampled_from(DIALECTS),
        "type": st.sampled_from(["object", ["object", "null"], "string"]),
        "properties": st.dictionaries(KEYS, PROPERTY, max_size=4),
        "required": st.lists(KEYS, max_size=2, unique=True),
        "additionalProperties": st.booleans() | st.just({"type": "number"}),
        "minProperties": st.just(1),
    },
)
RULES = st.builds(
    OutputRules,
    required=st.sampled_from([(), ("x",), ("prediction", "")]),
    confidence_field=st.sampled_from(["confidence", "x", ""]),
    label_field=st.sampled_from(["prediction", "x", ""]),
    labels=st.sampled_from([(), ("yes", "no"), ("Å", '"')]),
    json_schema=st.none() | SCHEMAS,
)
GOOD = {"prediction": "yes", "confidence": 0.5, "model_version": "1"}


def kept(rules: OutputRules, outputs: list[str]) -> list[bool]:
    """Which outputs keep the demands of some rules."""
    demands = Demands.of(rules)
    assert demands is not None
    table = Table(demands, (*demands.keys(), "z"))
    found: list[bool] = table.kept(Flat.read(Texts.of(outputs), table.names)).tolist()
    return found


@settings(max_examples=800, derandomize=True, deadline=None)
@given(rules=RULES, outputs=st.lists(flat_texts(KEYS), min_size=1, max_size=12))
def test_what_keeps_the_demands_keeps_the_rules(rules: OutputRules, outputs: list[str]) -> None:
    """Of drafts 4 to 2020-12, whatever the schema says of single values."""
    try:
        validator = OutputValidator(rules)
    except ConfigError:
        return
    if Demands.of(rules) is None:
        return

    for output, sound in zip(outputs, kept(rules, outputs), strict=True):
        assert not sound or validator.check(output) == ()


@pytest.mark.parametrize(
    ("asked", "right", "wrong"),
    [
        ({"type": "string"}, ["a", "\n"], [1, None]),
        ({"type": ["integer", "null"]}, [1, None], [1.5, "1", True]),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, [0, 0.5], [1, -0.1, "0", False]),
        ({"exclusiveMinimum": 0, "maximum": 1}, [1, 1e-200, "a"], [0, 1.5]),
        ({"minLength": 2, "maxLength": 3}, ["ÅÅ", "abc", 7], ["a", "abcd", "Å"]),
        ({"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2, True]),
        ({"const": "Å"}, ["Å"], ["A", 1]),
        (True, [1, "a", None, [], {}], []),
        ({"type": ["array", "number"]}, [[], [1], 1], ["[]", {}]),
        ({"type": "string", "pattern": "^[0-9]+$"}, ["1", "23"], ["", "a", 1, ["1"]]),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            [[], ["a", "b"]],
            [[1], ["a"] * 3, "a", "[]"],
        ),
        ({"properties": {"a": {"type": "null"}}}, [{}, {"a": None}, [1], True, None], [{"a": 1}]),
        ({"not": {"type": "null"}}, ["a", False], [None]),
    ],
)
def test_words_of_a_schema_are_written_as_demands(asked: Any, right: list[Any], wrong: list[Any]) -> None:
    """What is valid by simple words is told so at once."""
    rules = OutputRules(json_schema={"type": "object", "properties": {"x": asked}})
    outputs = [json.dumps({**GOOD, "x": x}, ensure_ascii=False) for x in (*right, *wrong)]

    assert kept(rules, outputs) == [True] * len(right) + [False] * len(wrong)


def test_the_contract_is_written_as_demands() -> None:
    """Required fields, confidence, labels, and keys that a schema does not name."""
    rules = OutputRules(labels=("yes", "no"), json_schema={"properties": dict.fromkeys(GOOD, True)})
    closed = OutputRules(json_schema={"properties": dict.fromkeys(GOOD, True), "additionalProperties": False})
    changes: list[dict[str, Any]] = [{}, {"prediction": "no"}, {"prediction": "on"}, {"confidence": 1.1}, {"z": 1}]
    outputs = [json.dumps({**GOOD, **change}) for change in changes]

    assert kept(rules, [*outputs, "{}"]) == [True, True, False, False, True, False]
    assert kept(closed, outputs) == [True, True, True, False, False]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"$comment": "a", "pattern": "a"}}}, {"anyOf": [True]}, {"$ref": "#/definitions/a"},
        {"patternProperties": {}}, {"additionalProperties": {}}, {"type": "array"}, {"properties": {"x": False}},
        {"properties": {"x": {"$ref": "#"}}},
        {"properties": {str(number): True for number in range(MAX_NAMED + 1)}},
        {"properties": {"x": {"enum": [str(number) for number in range(MAX_NAMED + 1)]}}},
    ],
)  # fmt: skip
def test_other_schemas_are_not_written(schema: dict[str, Any]) -> None:
    """They are asked of the validator itself."""
    assert Demands.of(OutputRules(json_schema=schema)) is None
