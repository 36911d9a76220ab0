"""What the router reads out of a model's answer: label, confidence, extra numbers, the whole as JSON text.

Law: a field is taken only if it has the right type; a wrong type leaves it None here and stays visible in
the JSON text, where the output rules judge it. Nothing is repaired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFields:
    """Names of the fields of an answer: the label (text), the confidence (number), further numbers."""

    label: str = "prediction"
    confidence: str = "confidence"
    measures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerText:
    """An answer as it goes on the wire; ``None`` where the answer has no such field of the right type."""

    label: str | None
    confidence: float | None
    measures: Mapping[str, float]
    output: str


def read_answer(answer: Any, fields: AnswerFields) -> AnswerText:
    """Read an answer of any shape: mapping, dataclass, pydantic model, list, plain value.

    :raises TypeError: the answer cannot be written as JSON.
    """
    output = orjson.dumps(answer, default=_plain, option=_OPTIONS).decode()
    label = _field(answer, fields.label)
    measures = {name: _number(_field(answer, name)) for name in fields.measures}
    return AnswerText(
        label=label if isinstance(label, str) else None,
        confidence=_number(_field(answer, fields.confidence)),
        measures={name: value for name, value in measures.items() if value is not None},
        output=output,
    )


def _field(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    item = getattr(value, "item", None)  # a zero-dimensional array of any library
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
