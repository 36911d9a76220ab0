"""Typed structural differences: tables of cases, and the laws of a diff."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.diff import (
    MAX_CHANGES,
    MAX_NODES,
    Change,
    ChangeKind,
    DiffRules,
    diff,
    read_output,
)
from paritygate.schemas.errors import ConfigError

EXACT = DiffRules()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def found(a: Any, b: Any, rules: DiffRules = EXACT) -> list[tuple[str, str]]:
    return [(change.kind.value, change.path) for change in diff(a, b, rules)]


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (1, 1, []),
        (1, 1.0, []),
        (1, 2, [("number_changed", "")]),
        (True, 1, [("type_changed", "")]),
        (False, None, [("type_changed", "")]),
        (True, False, [("value_changed", "")]),
        ("1", 1, [("type_changed", "")]),
        ("a", "b", [("value_changed", "")]),
        (None, None, []),
        ({}, [], [("type_changed", "")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {}, [("missing_key", "/a")]),
        ({}, {"a": 1}, [("added_key", "/a")]),
        ({"a": None}, {}, [("missing_key", "/a")]),
        ({"a": {"b": [1, {"c": "x"}]}}, {"a": {"b": [1, {"c": "y"}]}}, [("value_changed", "/a/b/1/c")]),
        ([1, 2], [1, 2, 3], [("length_changed", "")]),
        ([1, 2], [2, 1], [("number_changed", "/0"), ("number_changed", "/1")]),
        ({"x/y": 1, "~": 1}, {"x/y": 2, "~": 2}, [("number_changed", "/x~1y"), ("number_changed", "/~0")]),
        ({"": 1}, {"": 2}, [("number_changed", "/")]),
        ({"a": 1, "b": "x", "c": []}, {"a": "1", "b": "y", "d": []},
         [("missing_key", "/c"), ("added_key", "/d"), ("type_changed", "/a"), ("value_changed", "/b")]),
    ],
)  # fmt: skip
def test_changes_are_typed_and_placed(a: Any, b: Any, changes: list[tuple[str, str]]) -> None:
    """Kind and JSON Pointer of each difference, in the baseline's order."""
    assert found(a, b) == changes


@pytest.mark.parametrize(
    ("rules", "a", "b", "kinds"),
    [
        (DiffRules(absolute_tolerance=0.01), 0.5, 0.509, []),
        (DiffRules(absolute_tolerance=0.01), 0.5, 0.52, ["number_changed"]),
        (DiffRules(relative_tolerance=0.1), 100, 109, []),
        (DiffRules(relative_tolerance=0.1), 100, 112, ["number_changed"]),
        (DiffRules(absolute_tolerance=5), 10**400, 10**400 + 1, ["number_changed"]),
        (DiffRules(absolute_tolerance=5), True, 1, ["type_changed"]),
        (DiffRules(ignore=("/v",)), {"v": 1, "w": 1}, {"v": "x", "w": 2}, ["number_changed"]),
        (DiffRules(ignore=("/v",)), {"v": 1}, {}, []),
        (DiffRules(ignore=("/v",)), {}, {"v": 1}, []),
        (DiffRules(ignore=("/v",)), {"v": {"deep": 1}}, {"v": {"deep": 2}}, []),
        (DiffRules(ignore=("/v",)), {"u": {"v": 1}}, {"u": {"v": 2}}, ["number_changed"]),
        (DiffRules(ignore=("/a/*/t",)), {"a": [{"t": 1, "u": 1}]}, {"a": [{"t": 2, "u": 1}]}, []),
        (DiffRules(ignore=("/*/t",)), {"x": {"t": 1}, "y": {"t": 1}}, {"x": {"t": 2}, "y": {}}, []),
        (DiffRules(ignore=("/x~1y",)), {"x/y": 1}, {"x/y": 2}, []),
        (DiffRules(unordered=("/s",)), {"s": [1, "a", {"k": 1}]}, {"s": [{"k": 1}, 1, "a"]}, []),
        (DiffRules(unordered=("/s",)), {"s": [1, 1, 2]}, {"s": [1, 2, 2]}, ["number_changed"]),
        (DiffRules(unordered=("/s",)), {"s": [1, 2]}, {"s": [1, 2, 3]}, ["length_changed"]),
        (DiffRules.default(), {"model_version": "a", "p": 1}, {"model_version": "b", "p": 1}, []),
    ],
)  # fmt: skip
def test_what_the_rules_allow_is_no_change(rules: DiffRules, a: Any, b: Any, kinds: list[str]) -> None:
    """Tolerance, ignored places and unordered arrays, and their limits."""
    assert [kind for kind, _ in found(a, b, rules)] == kinds


@pytest.mark.parametrize(
    "bad",
    [
        {"ignore": ("model_version",)},
        {"unordered": ("",)},
        {"absolute_tolerance": -0.1},
        {"relative_tolerance": float("nan")},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(bad: dict[str, Any]) -> None:
    """A pointer without a slash would silently ignore nothing."""
    with pytest.raises(ConfigError, match="must be"):
        DiffRules(**bad)


def test_what_is_no_json_is_compared_as_text() -> None:
    """An unreadable answer differs in type from a readable one, and in value from another unreadable one."""
    assert found(read_output('{"a":1}'), read_output("oops")) == [("type_changed", "")]
    assert found(read_output("oops"), read_output("ouch")) == [("value_changed", "")]
    assert found(read_output('{"a": 1}'), read_output('{"a":1}')) == []


def test_huge_answers_end() -> None:
    """Beyond the node limit the rest is compared whole, and the list of changes is cut."""
    a: list[Any] = [[0]] * (MAX_NODES * 2)
    b: list[Any] = [*a[:-1], [1]]
    assert diff(a, a, EXACT) == ()
    assert diff(a, b, EXACT) == (Change(ChangeKind.VALUE_CHANGED, f"/{len(b) - 1}"),)
    assert len(diff(a, [-1] * len(a), EXACT)) == MAX_CHANGES


def test_deep_answers_end() -> None:
    """Depth costs no recursion, in ordered and unordered arrays."""
    text = "[" * 1_000 + "{}" + "]" * 1_000
    deep, other = json.loads("[" * 900 + "1" + "]" * 900), json.loads("[" * 900 + "2" + "]" * 900)

    assert diff(read_output(text), read_output(text.replace("{}", "0")), EXACT)[0].kind is ChangeKind.TYPE_CHANGED
    assert [c.kind for c in diff([deep], [other], DiffRules(unordered=("/0",)))] == [ChangeKind.NUMBER_CHANGED]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(a=JSON, b=JSON)
def test_laws_of_a_diff(a: Any, b: Any) -> None:
    """Nothing differs from itself or its JSON; differing is symmetric; equal JSON text means no change."""
    assert diff(a, json.loads(json.dumps(a)), EXACT) == ()
    assert bool(diff(a, b, EXACT)) == bool(diff(b, a, EXACT))
    if json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True):
        assert diff(a, b, EXACT) == ()
    loose = DiffRules(absolute_tolerance=1e300, ignore=("/a", "/*/b"))
    assert set(diff(a, b, loose)) <= set(diff(a, b, EXACT)) or len(diff(a, b, EXACT)) == MAX_CHANGES
