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

from paritygate.comparators.flat import (
    ESCAPED,
    FALSE,
    INTEGER,
    NULL,
    REAL,
    TEXT,
    TRUE,
    Flat,
    Names,
)
from paritygate.comparators.validation import OutputRules
from paritygate.schemas.arrays import B1, F64, I64
from paritygate.schemas.compiled import address as address_of
from paritygate.schemas.compiled import byte, compiled, is_same, real

#: Most keys that rules may name, and most values that they may list, to be asked here.
MAX_NAMED: Final = 256
#: Above it numbers are not told apart here.
_MAX_NUMBER: Final = 2.0**53
_ANY: Final = (1 << (ESCAPED + 1)) - 1
_KINDS: Final = {
    "null": 1 << NULL, "boolean": 1 << FALSE | 1 << TRUE, "integer": 1 << INTEGER,
    "number": 1 << INTEGER | 1 << REAL, "string": 1 << TEXT | 1 << ESCAPED, "object": 0, "array": 0,
}  # fmt: skip
#: Words that ask for nothing.
_SAYINGS: Final = frozenset(
    {"title", "description", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)
_OF_OBJECT: Final = _SAYINGS | {"$schema", "$id", "type", "properties", "required", "additionalProperties"}
_NO_LIMIT: Final = 1 << 62

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
    """All that is asked of an output. ``closed``: it may have no key but ``listed``."""

    needed: frozenset[str]
    each: tuple[Demand, ...]
    listed: frozenset[str] = frozenset()
    closed: bool = False

    @classmethod
    def of(cls, rules: OutputRules) -> Self | None:
        """The demands of some rules; None where they cannot be written as such."""
        each = [Demand(rules.confidence_field, kinds=_KINDS["number"], low=0, high=1)]
        if rules.labels:
            options = tuple((TEXT, 0, label) for label in rules.labels)
            each.append(Demand(rules.label_field, options=options))
        needed, listed, closed = set(rules.required), frozenset[str](), False
        if rules.json_schema is not None:
            try:
                each.extend(_of_schema(rules.json_schema))
            except _Unwritable:
                return None
            needed.update(rules.json_schema.get("required", ()))
            listed = frozenset(rules.json_schema.get("properties", {}))
            closed = rules.json_schema.get("additionalProperties", True) is False
        demands = cls(frozenset(needed), tuple(each), listed, closed)
        return demands if max(len(demands.keys()), len(demands.texts())) <= MAX_NAMED else None

    def keys(self) -> tuple[str, ...]:
        """The keys that are spoken of."""
        return tuple(dict.fromkeys([*sorted(self.needed), *(d.key for d in self.each), *sorted(self.listed)]))

    def texts(self) -> tuple[str, ...]:
        """The texts of all options, one by one."""
        return tuple(text for demand in self.each for _, _, text in demand.options or ())


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
        self._needed = np.array([key in demands.needed for key in keys], np.int64)
        self._barred = np.array([demands.closed and key not in demands.listed for key in (*keys, None)], np.bool_)

    def kept(self, flat: Flat) -> B1:
        """Which outputs are flat and keep all demands."""
        kept: B1 = np.zeros(len(flat.outputs) - 1, np.bool_)
        _kept(
            flat.buffer, flat.outputs, flat.fields, self._begin, self._each, self._range, self._options,
            self._needed, int(self._needed.sum()), self._barred, kept,
        )  # fmt: skip
        return kept


def _of_schema(schema: Mapping[str, Any]) -> Iterator[Demand]:
    """The demands of a JSON Schema on the values of single keys.

    :raises _Unwritable: it asks for something else.
    """
    types = schema.get("type", "object")
    dialect = schema.get("$schema", "https://json-schema.org/")
    if (
        not schema.keys() <= _OF_OBJECT
        or not (types == "object" or (isinstance(types, list) and "object" in types))
        or not isinstance(schema.get("additionalProperties", True), bool)
        or not str(dialect).startswith(("https://json-schema.org/", "http://json-schema.org/"))
    ):
        raise _Unwritable
    for key, asked in schema.get("properties", {}).items():
        yield _of_property(key, asked)


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
                elif kind >= TEXT:
                    if size > each[d, 2] or size < 4 * each[d, 1]:
                        count = _characters(base + value, size)
                        sound = sound and kind == TEXT and each[d, 1] <= count <= each[d, 2]
                elif kind >= INTEGER:
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
