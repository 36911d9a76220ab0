"""Demands: what rules ask of flat outputs, in tables that compiled loops go through.

Law: an output that keeps all demands keeps all rules; of one that does not nothing is said, it must be asked of the
rules themselves. So a schema may be written as demands that are too hard, never as demands that are too weak, and
one with a word that has no demand is not written at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isfinite, nextafter
from typing import Any, Final, Self

import numpy as np
import orjson

from paritygate.comparators.flat import (
    ESCAPED,
    FALSE,
    INTEGER,
    LIST,
    NULL,
    OBJECT,
    REAL,
    TEXT,
    TRUE,
    Flat,
    Names,
)
from paritygate.comparators.validation import OutputRules, schema_validator
from paritygate.schemas.arrays import B1, F64, I64
from paritygate.schemas.codes import Codes
from paritygate.schemas.compiled import address as address_of
from paritygate.schemas.compiled import byte, compiled, is_same, real
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.texts import Texts

#: Most keys that rules may name, and most values that they may list, to be asked here.
MAX_NAMED: Final = 256
#: Above it numbers are not told apart here.
_MAX_NUMBER: Final = 2.0**53
_ANY: Final = (1 << (OBJECT + 1)) - 1
_KINDS: Final = {
    "null": 1 << NULL, "boolean": 1 << FALSE | 1 << TRUE, "integer": 1 << INTEGER,
    "number": 1 << INTEGER | 1 << REAL, "string": 1 << TEXT | 1 << ESCAPED,
    "object": 1 << OBJECT, "array": 1 << LIST,
}  # fmt: skip
#: Words that ask for nothing.
_SAYINGS: Final = frozenset(
    {"title", "description", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)
_OF_OBJECT: Final = _SAYINGS | {"$schema", "$id", "type", "properties", "required", "additionalProperties"}
_NO_LIMIT: Final = 1 << 62
_NO_DIALECT: Final = "https://json-schema.org/"
#: Verdicts that a judge remembers.
_MAX_KNOWN: Final = 10_000

Option = tuple[int, int, str]


class _Unwritable(Exception):  # noqa: N818  a word of a schema, not a fault
    """A schema asks for something that no demand says."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one rule asks of the value of one key, where it is there.

    ``kinds``: bit k where kind k is allowed. ``low`` to ``high`` of numbers, ``shortest`` to ``longest`` in
    characters of texts. ``options``: the values that are allowed as (kind, bits, text); None: all.
    """

    key: str
    kinds: int = _ANY
    low: float = -inf
    high: float = inf
    shortest: int = 0
    longest: int = _NO_LIMIT
    options: tuple[Option, ...] | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """All that is asked of an output.

    ``closed``: it may have no key but ``listed``. ``judges``: by key, who is asked for a verdict on each text, list
    and object.
    """

    needed: frozenset[str]
    each: tuple[Demand, ...]
    listed: frozenset[str] = frozenset()
    closed: bool = False
    judges: tuple[tuple[str, Judge], ...] = ()

    @classmethod
    def of(cls, rules: OutputRules) -> Self | None:
        """The demands of some rules; None where they cannot be written as such."""
        each = [Demand(rules.confidence_field, kinds=_KINDS["number"], low=0, high=1)]
        if rules.labels:
            options = tuple((TEXT, 0, label) for label in rules.labels)
            each.append(Demand(rules.label_field, options=options))
        needed, listed, closed = set(rules.required), frozenset[str](), False
        judges: list[tuple[str, Judge]] = []
        if rules.json_schema is not None:
            try:
                for demand, judge in _of_schema(rules.json_schema):
                    each.append(demand)
                    if judge is not None:
                        judges.append((demand.key, judge))
            except _Unwritable:
                return None
            needed.update(rules.json_schema.get("required", ()))
            listed = frozenset(rules.json_schema.get("properties", {}))
            closed = rules.json_schema.get("additionalProperties", True) is False
        demands = cls(frozenset(needed), tuple(each), listed, closed, tuple(judges))
        return demands if max(len(demands.keys()), len(demands.texts())) <= MAX_NAMED else None

    def keys(self) -> tuple[str, ...]:
        """The keys that are spoken of."""
        return tuple(dict.fromkeys([*sorted(self.needed), *(d.key for d in self.each), *sorted(self.listed)]))

    def texts(self) -> tuple[str, ...]:
        """The texts of all options, one by one."""
        return tuple(text for demand in self.each for _, _, text in demand.options or ())


class Judge:
    """Verdicts of a part of a schema on single values, by their JSON text; most of them come again and again."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """:raises ConfigError: it is none."""
        self._schema = schema_validator(schema)
        self._known: dict[str, bool] = {}

    def is_valid(self, text: str) -> bool:
        """Whether a value is valid; not where that cannot be said."""
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            try:
                known = self._schema.is_valid(orjson.loads(text))
            except ValueError:
                known = False
            self._known[text] = known
        return known


class Table:
    """Demands by the numbers that names have."""

    def __init__(self, demands: Demands, keys: tuple[str, ...]) -> None:
        """``keys``: the demands' keys first."""
        self.names = Names.of(keys, demands.texts())
        each = sorted(demands.each, key=lambda demand: keys.index(demand.key))
        of_key = [keys.index(demand.key) for demand in each]
        self._begin = np.searchsorted(of_key, np.arange(len(keys) + 1)).astype(np.int64)
        self._range: F64 = np.array([(d.low, d.high) for d in each], np.float64)
        options: list[tuple[int, int, int]] = []
        place: dict[str, int] = {}
        for number, text in enumerate(demands.texts()):
            place.setdefault(text, len(keys) + number)
        rows: list[tuple[int, int, int, int, int]] = []
        for demand in each:
            first = len(options) if demand.options is not None else -1
            for kind, bits, text in demand.options or ():
                at, size = int(self.names.at[place[text]]), int(self.names.size[place[text]])
                options.append((kind, at if kind == TEXT else bits, size if kind == TEXT else 0))
            rows.append((demand.kinds, demand.shortest, demand.longest, first, len(options)))
        self._each: I64 = np.array(rows, np.int64)
        self._options: I64 = np.array(options, np.int64).reshape(-1, 3)
        self._judges = {keys.index(key): judge for key, judge in demands.judges}
        self._needed = np.array([key in demands.needed for key in keys], np.int64)
        self._barred = np.array([demands.closed and key not in demands.listed for key in (*keys, None)], np.bool_)

    def kept(self, flat: Flat) -> B1:
        """Which outputs are flat and keep all demands."""
        kept: B1 = np.zeros(len(flat.outputs) - 1, np.bool_)
        _kept(
            flat.buffer, flat.outputs, flat.fields, self._begin, self._each, self._range, self._options,
            self._needed, int(self._needed.sum()), self._barred, kept,
        )  # fmt: skip
        for number, judge in self._judges.items():
            kept[_misjudged(flat, number, judge)] = False
        return kept


def _misjudged(flat: Flat, number: int, judge: Judge) -> I64:
    """The outputs of which a judge does not call the text, list or object of a key valid."""
    fields = flat.fields[: flat.outputs[-1, 2]]
    mine = np.flatnonzero((fields[:, 0] == number) & (fields[:, 1] >= TEXT))
    quotes = fields[mine, 1] <= ESCAPED
    texts = Codes.of(Texts(flat.buffer, fields[mine, 2] - quotes, (fields[mine, 3] + 2 * quotes).astype(np.int32)))
    sound = np.array([judge.is_valid(text) for text in texts.values], np.bool_)
    wrong = mine[~sound[texts.index]]
    return np.searchsorted(flat.outputs[:, 2], wrong, side="right") - 1


def _of_schema(schema: Mapping[str, Any]) -> Iterator[tuple[Demand, Judge | None]]:
    """The demands of a JSON Schema on the values of single keys, and who judges what they cannot say.

    :raises _Unwritable: it asks for something else.
    """
    types = schema.get("type", "object")
    dialect = schema.get("$schema", _NO_DIALECT)
    if (
        not schema.keys() <= _OF_OBJECT
        or not (types == "object" or (isinstance(types, list) and "object" in types))
        or not isinstance(schema.get("additionalProperties", True), bool)
        or not str(dialect).startswith(("https://json-schema.org/", "http://json-schema.org/"))
    ):
        raise _Unwritable
    for key, asked in schema.get("properties", {}).items():
        try:
            yield _of_property(key, asked), None
        except _Unwritable:
            yield _judged(key, asked, dialect)


def _judged(key: str, asked: Any, dialect: str) -> tuple[Demand, Judge]:
    """A part of a schema that stands for itself, with a judge of its own."""
    if not isinstance(asked, Mapping) or not _stands_alone(asked):
        raise _Unwritable
    try:
        judge = Judge({"$schema": dialect, **asked} if dialect != _NO_DIALECT else asked)
    except ConfigError:
        raise _Unwritable from None
    kinds = 1 << TEXT | 1 << ESCAPED | 1 << LIST | 1 << OBJECT
    for kind, text in ((NULL, "null"), (FALSE, "false"), (TRUE, "true")):
        kinds |= int(judge.is_valid(text)) << kind
    return Demand(key, kinds), judge


def _stands_alone(part: Any) -> bool:
    """Whether a part of a schema has no name that others could use, and uses none."""
    if isinstance(part, Mapping):
        return all(
            not name.startswith("$") and name not in ("id", "definitions") and _stands_alone(inner)
            for name, inner in part.items()
        )
    return not isinstance(part, list | tuple) or all(map(_stands_alone, part))


def _of_property(key: str, asked: Any) -> Demand:
    if asked is True:
        return Demand(key)
    if not isinstance(asked, Mapping):
        raise _Unwritable
    kinds, low, high, shortest, longest = _ANY, -inf, inf, 0, _NO_LIMIT
    options: tuple[Option, ...] | None = None
    for word, value in asked.items():
        if word == "type":
            kinds = 0
            for name in value if isinstance(value, list) else [value]:
                kinds |= _KINDS[name]
        elif word in ("enum", "const"):
            found = tuple(_options(value if word == "enum" else [value]))
            options = found if options is None else tuple(option for option in options if option in found)
        elif word in ("minimum", "exclusiveMinimum"):
            limit = _number(value)
            low = max(low, limit if word == "minimum" else nextafter(limit, inf))
        elif word in ("maximum", "exclusiveMaximum"):
            limit = _number(value)
            high = min(high, limit if word == "maximum" else nextafter(limit, -inf))
        elif word == "minLength":
            shortest = _count(value)
        elif word == "maxLength":
            longest = _count(value)
        elif word not in _SAYINGS:
            raise _Unwritable
    return Demand(key, kinds, low, high, shortest, longest, options)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise _Unwritable
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _NO_LIMIT:
        raise _Unwritable
    return value


def _options(values: Any) -> Iterator[Option]:
    """Those of some values that a flat output can have."""
    for value in values:
        if value is None or isinstance(value, bool):
            yield {None: NULL, False: FALSE, True: TRUE}[value], 0, ""
        elif isinstance(value, str):
            yield TEXT, 0, value
        elif isinstance(value, int | float) and abs(value) <= _MAX_NUMBER and isfinite(value):
            bits = int.from_bytes(struct.pack(">d", value), "big", signed=True)
            yield (INTEGER if isinstance(value, int) else REAL), bits, ""


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _characters(at: Any, size: Any) -> int:
    """Characters of a text in UTF-8."""
    found = 0
    for place in range(at, at + size):
        if byte(place) & 0xC0 != 0x80:
            found += 1
    return found


@compiled
def _kept(
    buffer: Any, outputs: Any, fields: Any, begin: Any, each: Any, span: Any, options: Any, needed: Any, most: int,
    barred: Any, kept: Any,
) -> None:  # fmt: skip
    """Fill which outputs are flat and keep all demands."""
    base, named = address_of(buffer), len(needed)
    for row in range(len(kept)):
        found, sound = 0, outputs[row, 3] > 0
        for field in range(outputs[row, 2], outputs[row + 1, 2]):
            name = min(fields[field, 0], named)
            if barred[name]:
                sound = False
            if not sound:
                break
            if name == named:
                continue
            found += needed[name]
            kind, value, size = fields[field, 1], fields[field, 2], fields[field, 3]
            for d in range(begin[name], begin[name + 1]):
                if not (each[d, 0] >> kind) & 1:
                    sound = False
                elif kind in (TEXT, ESCAPED):
                    if size > each[d, 2] or size < 4 * each[d, 1]:
                        count = _characters(base + value, size)
                        sound = sound and kind == TEXT and each[d, 1] <= count <= each[d, 2]
                elif kind in (INTEGER, REAL):
                    number = real(np.uint64(value))
                    sound = sound and span[d, 0] <= number <= span[d, 1] and abs(number) <= _MAX_NUMBER
                if each[d, 3] < 0:
                    continue
                listed = False
                for o in range(each[d, 3], each[d, 4]):
                    if options[o, 0] != kind or options[o, 2] != size:
                        continue
                    if kind == TEXT:
                        listed = listed or is_same(base + options[o, 1], base + value, size)
                    else:
                        listed = listed or options[o, 1] == value
                sound = sound and listed
        kept[row] = sound and found == most
