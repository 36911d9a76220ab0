"""Output validation: does an answer keep the contract of its consumers?

Law: a check never raises, whatever the model wrote, and names the rules that failed. The set of names is
bounded by the rules, not by the outputs: array indexes, and keys that the user's schema does not name, are
written as ``*``. No reference is ever fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import orjson

from paritygate.schemas.errors import ConfigError

#: Longest rule name; a longer path is cut.
MAX_RULE_CHARS: Final = 120
#: Most rules that one output may fail; a broken output is not more broken by a thousandth reason.
MAX_FAILED_RULES: Final = 16
#: The rule that text breaks which is no JSON.
NOT_JSON: Final = "not_json"
#: Steps that a pattern of the user's schema may backtrack on one string.
_BACKTRACK_LIMIT: Final = 100_000


@dataclass(frozen=True, slots=True)
class OutputRules:
    """What a valid output is: a JSON object with these fields.

    ``required``: fields that must be there. ``confidence_field``: a number in 0..1 where it is there.
    ``labels``: allowed values of ``label_field``; empty allows all. ``json_schema``: a JSON Schema of the
    user, drafts 4 to 2020-12, without remote references. An empty field name switches that rule off.
    """

    required: tuple[str, ...] = ("prediction", "confidence", "model_version")
    confidence_field: str = "confidence"
    label_field: str = "prediction"
    labels: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None


class OutputValidator:
    """Checks outputs against :class:`OutputRules`, one by one or many at once.

    :raises ConfigError: the JSON Schema is none, or refers to another document.
    """

    def __init__(self, rules: OutputRules) -> None:
        self.rules = rules
        self._labels = frozenset(rules.labels)
        self._schema = None if rules.json_schema is None else schema_validator(rules.json_schema)
        self._names = frozenset(_property_names(rules.json_schema))
        self._suspicions = [_by_fields(rules)]
        if self._labels:
            self._suspicions.append(_by_label(rules.label_field, rules.labels[0], self._labels))
        if self._schema is not None:
            self._suspicions.append(_by_schema(self._schema))

    def check(self, output: str) -> tuple[str, ...]:
        """Names of the failed rules, each once, empty where the output is valid.

        ``not_json`` (NaN, Infinity and nesting beyond 1024 included), ``not_object``, ``missing.<field>``,
        ``confidence.type`` (a bool is no number), ``confidence.range``, ``label.unknown``,
        ``schema.<Keyword>.<path>``. Never raises.
        """
        try:
            value = orjson.loads(output)
        except orjson.JSONDecodeError:
            return (NOT_JSON,)
        return self.check_value(value)

    def check_value(self, value: Any) -> tuple[str, ...]:
        """:meth:`check` for an output that has been read."""
        if not isinstance(value, dict):
            return ("not_object",)
        failed = dict.fromkeys((*self._field_failures(value), *self._schema_failures(value)))
        return tuple(failed)[:MAX_FAILED_RULES]

    def failures(self, values: Sequence[Any]) -> dict[int, tuple[str, ...]]:
        """:meth:`check_value` of many values at once: by place, only those that fail a rule."""
        suspects: list[int] = []
        for suspicion in self._suspicions:
            suspects.extend(suspicion(values))
        return {place: failed for place in sorted(set(suspects)) if (failed := self.check_value(values[place]))}

    def _field_failures(self, value: Mapping[str, Any]) -> Iterator[str]:
        rules = self.rules
        for name in rules.required:
            if name not in value:
                yield f"missing.{name}"[:MAX_RULE_CHARS]
        if rules.confidence_field in value:
            confidence = value[rules.confidence_field]
            if isinstance(confidence, bool) or not isinstance(confidence, int | float):
                yield "confidence.type"
            elif not 0 <= confidence <= 1:
                yield "confidence.range"
        if self._labels and rules.label_field in value:
            label = value[rules.label_field]
            if not isinstance(label, str) or label not in self._labels:
                yield "label.unknown"

    def _schema_failures(self, value: Mapping[str, Any]) -> Iterator[str]:
        if self._schema is None:
            return
        try:
            # iter_errors() is lazy: a huge broken output costs no more than the reasons we keep.
            for error in islice(self._schema.iter_errors(dict(value)), MAX_FAILED_RULES):
                keyword = type(error.kind).__name__
                path = ".".join(p if isinstance(p, str) and p in self._names else "*" for p in error.instance_path)
                yield f"schema.{keyword}.{path}".rstrip(".")[:MAX_RULE_CHARS]
        except ValueError:  # nested deeper than the validator follows
            yield "schema.TooDeep"


#: Places of the values that may fail a rule: no failing one is left out. The rules by name are asked of these
#: only, so a batch of valid outputs costs one tight loop per kind of rule.
_Suspicion = Callable[[Sequence[Any]], list[int]]


def _by_fields(rules: OutputRules) -> _Suspicion:
    required, field = frozenset(rules.required), rules.confidence_field

    def suspects(values: Sequence[Any]) -> list[int]:
        return [
            place
            for place, value in enumerate(values)
            if type(value) is not dict
            or not required <= value.keys()
            or not (type(sure := value.get(field, 0.5)) is float or type(sure) is int)
            or not 0 <= sure <= 1
        ]

    return suspects


def _by_label(field: str, absent: str, labels: frozenset[str]) -> _Suspicion:
    def suspects(values: Sequence[Any]) -> list[int]:
        return [
            place
            for place, value in enumerate(values)
            if type(value) is dict and not (type(label := value.get(field, absent)) is str and label in labels)
        ]

    return suspects


def _by_schema(schema: jsonschema_rs.Validator) -> _Suspicion:
    def suspects(values: Sequence[Any]) -> list[int]:
        valid, found = schema.is_valid, []
        for place, value in enumerate(values):
            try:
                if not valid(value):
                    found.append(place)
            except ValueError:  # nested deeper than the validator follows
                found.append(place)
        return found

    return suspects


def schema_validator(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a schema, with bounded patterns and without remote references.

    :raises ConfigError: it is none, or refers to another document.
    """
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT)
    try:
        return jsonschema_rs.validator_for(dict(schema), pattern_options=options, offline=True)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"json_schema cannot be used: {reason}") from error


def _property_names(schema: object) -> Iterator[str]:
    """Every property name that the schema spells out, at any depth."""
    open_parts = [schema]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, Mapping):
            properties = part.get("properties")
            if isinstance(properties, Mapping):
                yield from properties
            required = part.get("required")
            if isinstance(required, list | tuple):
                yield from (name for name in required if isinstance(name, str))
            open_parts.extend(part.values())
        elif isinstance(part, list | tuple):
            open_parts.extend(part)
