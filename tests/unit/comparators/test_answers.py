"""Many outputs at once: the same findings as one by one, for friendly and hostile texts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.answers import OutputChecks
from paritygate.comparators.diff import DiffRules, diff, read_output
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.schemas.texts import Texts
from tests.support.flat_texts import flat_texts

KEYS = st.sampled_from(["prediction", "confidence", "model_version", "x", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, 1.0, 0.5, -0.0, 2**53, 2**53 + 1, 2**64 - 1, -(2**63), 1e308, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-3, 3)
    | st.sampled_from(["yes", "no", "Å", "A\u030a", "\u00c5", ""])
)
VALUES = SCALARS | st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
GOOD = st.fixed_dictionaries(
    {
        "prediction": st.sampled_from(["yes", "no"]),
        "confidence": st.floats(0, 1),
        "model_version": st.sampled_from(["1", "2"]),
    }
)
HOSTILE = [
    "", " ", "{", "}", "[1", "2]", "1],[2", '{"a":1},{"a":2}', "null", "NaN", '{"confidence":NaN}', "1e999",
    '{"confidence":1e999}', '{"prediction":"yes","prediction":"no"}', '{"confidence":true,"confidence":0.5}',
    "yes", '"yes"', '"\\ud800"', "\x00", "[" * 2_000, '{"x":' + "[" * 900 + "]" * 900 + "}",
    '{"x":' * 1_000 + "1" + "}" * 1_000, '{"confidence":18446744073709551616}', '{"confidence":9007199254740993}',
    '{"confidence":9007199254740992}', '{"confidence":-0}', '{"confidence":-0.0}', "\ufeff{}", '{"a":1}x',
    json.dumps({f"k{i}": i for i in range(60)}), json.dumps({f"k{i}": -i for i in range(60)}),
    json.dumps({f"k{i}": str(i) for i in range(160)}), json.dumps([[i] for i in range(12_000)]),
]  # fmt: skip
OUTPUTS = (
    st.sampled_from(HOSTILE)
    | GOOD.map(json.dumps)
    | VALUES.map(json.dumps)
    | st.text(max_size=6)
    | flat_texts(KEYS)
)
RULES = st.sampled_from(
    [
        OutputRules(),
        OutputRules(labels=("yes", "no")),
        OutputRules(required=(), confidence_field="", label_field=""),
        OutputRules(required=("prediction", ""), confidence_field="x", label_field="x", labels=("no",)),
        OutputRules(
            required=(),
            json_schema={
                "properties": {"prediction": {"type": "string"}, "x": {"minimum": 0}},
                "additionalProperties": {"type": ["string", "number", "array", "object"]},
            },
        ),
        OutputRules(
            required=("x",),
            json_schema={
                "type": "object",
                "properties": {
                    "prediction": {"enum": ["yes", "no", "\u00c5", 1, None]},
                    "x": {"type": ["number", "string"], "minimum": 0, "exclusiveMaximum": 1, "maxLength": 2},
                    "confidence": {"type": "number"},
                },
                "additionalProperties": False,
            },
        ),
    ]
)
DIFFS = st.sampled_from(
    [
        DiffRules(),
        DiffRules.default(),
        DiffRules(ignore=("/*",)),
        DiffRules(ignore=("/x", "/*/x", "/a/b"), unordered=("/prediction",)),
        DiffRules(absolute_tolerance=0.25),
        DiffRules(relative_tolerance=0.5, ignore=("/",)),
    ]
)


def one_by_one(a: str, b: str, rules: DiffRules) -> set[str]:
    """The kinds of change between two outputs, as the differ words them."""
    return {change.kind.value for change in diff(read_output(a), read_output(b), rules)}


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    pairs=st.lists(st.tuples(OUTPUTS, OUTPUTS, st.booleans()), max_size=12), rules=RULES, diffs=DIFFS,
    times=st.sampled_from([1, 3]),
)  # fmt: skip
def test_at_once_is_one_by_one(
    pairs: list[tuple[str, str, bool]], rules: OutputRules, diffs: DiffRules, times: int
) -> None:
    """Failed rules and kinds of change are those of every single output and pair, repeated or not."""
    checks, validator = OutputChecks(rules, diffs), OutputValidator(rules)
    pairs = pairs * times
    ours, theirs = Texts.of([a for a, _, _ in pairs]), Texts.of([b for _, b, _ in pairs])
    wanted = np.array([w for _, _, w in pairs], np.bool_)
    left, right = checks.read(ours, wanted), checks.read(theirs, wanted)
    changes = checks.changes(left, right, np.flatnonzero(wanted))

    for i, (a, b, asked) in enumerate(pairs):
        assert left.failed.get(i, ()) == (validator.check(a) if asked else ())
        assert right.failed.get(i, ()) == (validator.check(b) if asked else ())
        found = {kind for kind, rows in changes.items() if i in rows}
        assert found == (one_by_one(a, b, diffs) if asked else set())


@pytest.mark.parametrize("a", HOSTILE)
def test_hostile_outputs_are_compared_with_each_other(a: str) -> None:
    """Every pair of the hostile texts, in one batch."""
    rules = DiffRules(absolute_tolerance=0.1)
    checks = OutputChecks(OutputRules(), rules)
    all_rows = np.ones(len(HOSTILE), np.bool_)
    left, right = checks.read(Texts.of([a] * len(HOSTILE)), all_rows), checks.read(Texts.of(HOSTILE), all_rows)
    changes = checks.changes(left, right, np.arange(len(HOSTILE)))

    for i, b in enumerate(HOSTILE):
        assert {kind for kind, rows in changes.items() if i in rows} == one_by_one(a, b, rules)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(values=st.lists(VALUES, max_size=8), rules=RULES)
def test_no_failing_value_escapes_suspicion(values: list[Any], rules: OutputRules) -> None:
    """Checking many values leaves out no value that fails alone, and adds none."""
    values = [json.loads(json.dumps(value)) for value in values]
    validator = OutputValidator(rules)
    alone = {i: failed for i, value in enumerate(values) if (failed := validator.check_value(value))}

    assert validator.failures(values) == alone
