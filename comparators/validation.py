"""Output validation: does an answer keep the contract of its consumers?

Law: a check never raises, whatever the model wrote, and names the rules that failed. The set of names is
bounded by the rules, not by the outputs: array indexes, and keys that the user's schema does not name, are
written as ``*``. No reference is ever fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import orjson

from paritygate.schemas.errors import ConfigError

#: Longest rule name; a longer path is cut.
MAX_RULE_CHARS: Final = 120
#: Most rules that one output may fail; a broken output is not more broken by a thousandth reason.
MAX_FAILED_RULES: Final = 16
#: Results remembered, and the longest output that is worth remembering.
_CACHED_OUTPUTS: Final = 2_048
_CACHED_CHARS: Final = 4_096
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
    """Checks outputs against :class:`OutputRules`. Remembers its answers to the outputs seen last.

    :raises ConfigError: the JSON Schema is none, or refers to another document.
    """

    def __init__(self, rules: OutputRules) -> None:
        self.rules = rules
        self._labels = frozenset(rules.labels)
        self._schema = None if rules.json_schema is None else _compile(rules.json_schema)
        self._names = frozenset(_property_names(rules.json_schema))
        self._remembered: Callable[[str], tuple[str, ...]] = lru_cache(_CACHED_OUTPUTS)(self._check)

    def check(self, output: str) -> tuple[str, ...]:
        """Names of the failed rules, each once, empty where the output is valid.

        ``not_json`` (NaN, Infinity and nesting beyond 1024 included), ``not_object``, ``missing.<field>``,
        ``confidence.type`` (a bool is no number), ``confidence.range``, ``label.unknown``,
        ``schema.<Keyword>.<path>``. Never raises.
        """
        return self._remembered(output) if len(output) <= _CACHED_CHARS else self._check(output)

    def _check(self, output: str) -> tuple[str, ...]:
        try:
            value = orjson.loads(output)
        except orjson.JSONDecodeError:
            return ("not_json",)
        if not isinstance(value, dict):
            return ("not_object",)
        failed = dict.fromkeys((*self._field_failures(value), *self._schema_failures(value)))
        return tuple(failed)[:MAX_FAILED_RULES]

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


def _compile(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
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
