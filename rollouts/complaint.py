"""Complaint: from a pydantic error to one line that an editor can jump to and a person can act on.

Law: one error at a time, the most telling first: an unknown key before a missing one, because a misspelt key
is usually both.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from paritygate.rollouts.yaml_source import Path, YamlSource, dotted
from paritygate.schemas.errors import PlanError

_WORDS = {
    "string_type": "must be text, in quotes if it looks like a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_pattern_mismatch": "may hold letters, digits, '.', '_' and '-' and starts with a letter or digit",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
}


def gate_problem(what: str) -> str:
    """The text of a gate error with its hint in quotes, as all hints of a plan are."""
    return re.sub(r"did you mean ([\w.]+)\?", r'did you mean "\1"?', what)


def problem(path: Sequence[str | int], what: str) -> PydanticCustomError:
    """An error of a validator of ours about the value at ``path``, counted from the model that raises it."""
    # The text goes in as context: pydantic would read braces in it as a template.
    return PydanticCustomError("plan", "{what}", {"what": what, "path": tuple(path)})


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``, did you mean "x"?`` where one of ``known`` is close to ``word``, else an empty text."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f', did you mean "{close[0]}"?' if close else ""


def complain(error: ValidationError, model: type[BaseModel], source: YamlSource) -> PlanError:
    """The most telling problem of ``error`` as a :class:`PlanError` with its place in ``source``."""
    found = error.errors(include_url=False)
    found.sort(key=lambda e: (e["type"] != "extra_forbidden", source.place_of_key(_path(e))))
    first: Any = found[0]
    path = _path(first)
    # A plan error that speaks of a key ("unknown key …") points at the key, all others at the value.
    at_key = first["type"] == "extra_forbidden" or _words(first, model).startswith("unknown key")
    line, column = source.place_of_key(path) if at_key else source.place_of_value(path)
    return PlanError(_words(first, model), file=source.file, line=line, column=column, path=dotted(path))


def _path(error: Any) -> Path:
    return (*error["loc"], *error.get("ctx", {}).get("path", ()))


def _words(error: Any, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "plan":
        return str(context["what"])
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(error["loc"][-1], _model_at(model, error["loc"][:-1]).model_fields)
    if kind == "missing":
        about = _model_at(model, error["loc"][:-1]).model_fields[error["loc"][-1]].description
        return f"missing: {about}" if about else "missing"
    if kind == "literal_error":
        return f"must be {context['expected']}" + did_you_mean(error["input"], context["expected"].split("'")[1::2])
    return _WORDS[kind].format(**context) if kind in _WORDS else str(error["msg"])


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    """The model that the mapping at ``loc`` is read into."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
