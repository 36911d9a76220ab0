"""Prediction events in Avro: which schema versions are read by columns, and what fills the fields they lack."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from paritygate.schemas.arrays import I8
from paritygate.schemas.avro_columns import Layout
from paritygate.schemas.event_columns import SYMBOLS, Columns
from paritygate.schemas.frames import Frames
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import AvroSchema

_TYPES: Mapping[str, Any] = {
    "request_id": "string",
    "rollout_id": "string",
    "arm": "enum",
    "role": "enum",
    "event_at_ms": "long",
    "latency_ms": "double",
    "status": "enum",
    "model_version": "string",
    "label": ["null", "string"],
    "confidence": ["null", "double"],
    "output": "string",
    "endpoint": "string",
    "instance_id": "string",
    "trace_id": "string",
    "error_type": "string",
    "segments": {"type": "map", "values": "string"},
    "measures": {"type": "map", "values": "double"},
}
#: Fields that an old or new version may lack, so that the whole column is its default.
_MAY_LACK = (
    "label",
    "confidence",
    "output",
    "endpoint",
    "instance_id",
    "trace_id",
    "error_type",
    "segments",
    "measures",
)


def defaults(layout: Layout, reader: AvroSchema) -> dict[str, Any] | None:
    """What the fields are that the layout lacks and a reader fills in; ``None``: it needs schema resolution.

    A version qualifies when every field it shares with :class:`PredictionEvent` has the same type in the
    layout, the reader and the class, and those that it lacks are plain or empty.
    """
    expected = {f["name"]: f for f in reader.fields}
    filled: dict[str, Any] = {}
    for field in dataclasses.fields(PredictionEvent):
        name = field.name
        if name in expected and not _is_expected(name, expected[name]["type"]):
            return None
        if name in SYMBOLS and not {str(m) for m in SYMBOLS[name]} <= set(expected[name]["type"]["symbols"]):
            return None
        if name in layout.types and name in expected:
            if not _is_expected(name, layout.types[name]):
                return None
            continue
        if name not in _MAY_LACK:
            return None
        filled[name] = expected[name].get("default") if name in expected else _class_default(field)
        if filled[name] and not isinstance(filled[name], str):
            return None
    return filled


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class AvroLayout:
    """A schema version whose records are read by columns.

    ``filled``: what the fields are that it lacks. ``symbols``: by enum field, the code of each of its symbols, -1
    for those that are not known here.
    """

    layout: Layout
    filled: Mapping[str, Any]
    symbols: Mapping[str, I8]

    @classmethod
    def of(cls, schema: AvroSchema, reader: AvroSchema) -> AvroLayout | None:
        """``None`` where the version must go record by record: a type that is not read here, or resolution."""
        layout = Layout.of(schema, _TYPES)
        filled = None if layout is None else defaults(layout, reader)
        if layout is None or filled is None:
            return None
        return cls(layout, filled, {n: _symbol_codes(layout.types[n], members) for n, members in SYMBOLS.items()})

    def read(self, frames: Frames) -> Columns:
        """The values of some records, enums as codes of their members.

        :raises LayoutError: they are not what the layout says.
        """
        columns = self.layout.read(frames)
        for name, symbols in self.symbols.items():
            columns.numbers[name] = symbols[columns.numbers[name]]
        return columns


def _is_expected(name: str, avro: Any) -> bool:
    expected = _TYPES[name]
    if expected == "enum":
        return isinstance(avro, dict) and avro["type"] == "enum"
    return bool(avro == expected)


def _class_default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _symbol_codes(avro: Any, members: Sequence[StrEnum]) -> I8:
    """By symbol of an Avro enum its code into ``members``, -1 for those that are not among them."""
    names = [str(m) for m in members]
    return np.array([names.index(s) if s in names else -1 for s in avro["symbols"]], np.int8)
