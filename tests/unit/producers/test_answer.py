from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from paritygate.producers.answer import AnswerFields, read_answer

FIELDS = AnswerFields()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(JSON)
def test_any_json_shape_is_written_whole(answer: Any) -> None:
    """The output is valid JSON whatever the shape, and label and confidence are None or of their type."""
    text = read_answer(answer, FIELDS)

    assert orjson.loads(text.output) == orjson.loads(orjson.dumps(answer))
    assert text.label is None or isinstance(text.label, str)
    assert text.confidence is None or isinstance(text.confidence, float)


@pytest.mark.parametrize(
    ("answer", "label", "confidence"),
    [
        ({"prediction": "late", "confidence": 0.5}, "late", 0.5),
        ({"prediction": "late", "confidence": 1}, "late", 1.0),
        ({"prediction": "late", "confidence": 70.0}, "late", 70.0),
        ({"prediction": 1, "confidence": "0.5"}, None, None),
        ({"prediction": None, "confidence": True}, None, None),
        ({"prediction": ["late"], "confidence": float("nan")}, None, None),
        ({"prediction": "late", "confidence": float("inf")}, "late", None),
        ({}, None, None),
        (["late", 0.5], None, None),
        ("late", None, None),
    ],
)
def test_fields_are_taken_only_with_the_right_type(
    answer: Any, label: str | None, confidence: float | None
) -> None:
    """A wrong type leaves the field out; an impossible number of the right type stays, for the rules to judge."""
    text = read_answer(answer, FIELDS)

    assert (text.label, text.confidence) == (label, confidence)


def test_names_of_fields_can_be_set() -> None:
    """A model with other words needs no wrapper."""
    fields = AnswerFields(label="class", confidence="p", measures=("completion_tokens", "missing", "text"))

    text = read_answer({"class": "a", "p": 0.25, "completion_tokens": 12, "text": "no number"}, fields)

    assert (text.label, text.confidence, text.measures) == ("a", 0.25, {"completion_tokens": 12.0})


@dataclass
class Said:
    prediction: str
    confidence: float


class SaidModel(BaseModel):
    prediction: str
    confidence: float


@pytest.mark.parametrize(
    "answer",
    [
        Said("late", 0.5),
        SaidModel(prediction="late", confidence=0.5),
        MappingProxyType({"prediction": "late", "confidence": 0.5}),
    ],
)
def test_objects_are_read_like_mappings(answer: Any) -> None:
    """Dataclasses, pydantic models and foreign mappings give the same event as a dict."""
    text = read_answer(answer, FIELDS)

    assert (text.label, text.confidence) == ("late", 0.5)
    assert orjson.loads(text.output) == {"prediction": "late", "confidence": 0.5}


@pytest.mark.parametrize("answer", [{"x": object()}, object(), {"x": 2**80}, {"x": "\ud800"}, b"bytes"])
def test_what_json_cannot_hold_raises(answer: Any) -> None:
    """The caller makes it an error of the arm."""
    with pytest.raises(TypeError):
        read_answer(answer, FIELDS)
