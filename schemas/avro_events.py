"""Columns of prediction events in Avro to an :class:`~paritygate.schemas.columns.EventBatch`.

Law: the rows that :func:`sound_rows` keeps are those that ``rules.check_prediction`` passes, and the batch
built of them equals, codes and vocabularies included, what ``EventBatch.of`` builds record by record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from paritygate.schemas.arrays import B1, I8, I64
from paritygate.schemas.avro_columns import Columns, Layout, are_utf8, codes
from paritygate.schemas.columns import Codes, EventBatch, untraced
from paritygate.schemas.frames import Frames, LayoutError
from paritygate.schemas.ids import Ids
from paritygate.schemas.prediction import ARMS, MAX_REQUEST_ID_BYTES, ROLES, STATUSES, PredictionEvent
from paritygate.schemas.registry import AvroSchema
from paritygate.schemas.rules import MAX_AT_MS, MAX_EVENT_BYTES

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
_SYMBOLS: Mapping[str, Sequence[StrEnum]] = {"arm": ARMS, "role": ROLES, "status": STATUSES}
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
        if name in _SYMBOLS and not {str(m) for m in _SYMBOLS[name]} <= set(expected[name]["type"]["symbols"]):
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
        return cls(layout, filled, {n: _symbol_codes(layout.types[n], members) for n, members in _SYMBOLS.items()})

    def read(self, frames: Frames) -> Columns:
        """The values of some records, enums as codes of their members.

        :raises LayoutError: they are not what the layout says.
        """
        columns = self.layout.read(frames)
        for name, symbols in self.symbols.items():
            columns.numbers[name] = symbols[columns.numbers[name]]
        return columns


def sound_rows(frames: Frames, columns: Columns) -> B1:
    """Which rows keep the rules on prediction events and on their key: true where sound.

    :raises LayoutError: an id that is not UTF-8.
    """
    ids = columns.texts["request_id"]
    at_ms, latency = columns.numbers["event_at_ms"], columns.reals["latency_ms"]
    # These two are not decoded, but must be text all the same.
    if not all(are_utf8(columns.texts[name]).all() for name in ("request_id", "trace_id") if name in columns.texts):
        raise LayoutError("an id that is not UTF-8")
    sound = ids.equal(Ids(frames.buffer, frames.key_at, frames.key_size))
    sound &= (ids.size > 0) & (ids.size <= MAX_REQUEST_ID_BYTES) & (frames.value_size <= MAX_EVENT_BYTES)
    sound &= columns.texts["rollout_id"].size > 0
    sound &= (at_ms >= 0) & (at_ms <= MAX_AT_MS) & (latency >= 0)
    for name in _SYMBOLS:
        sound &= columns.numbers[name] >= 0
    sound &= ~columns.has_nonfinite
    return sound


def event_batch(
    topic: str, partition: int, columns: Columns, *, offset: I64, appended_at_ms: I64, filled: Mapping[str, Any]
) -> EventBatch:
    """Sound rows as a batch.

    :raises LayoutError: text that is not UTF-8.
    """
    count = len(offset)

    def coded(name: str) -> Codes:
        if name in columns.texts:
            return codes(columns.texts[name])
        value = filled[name]
        return Codes(
            np.full(count, -1 if value is None else 0, np.int32), [] if value is None or not count else [value]
        )

    try:
        return EventBatch(
            topic=topic, partition=partition, offset=offset, appended_at_ms=appended_at_ms,
            request_id=columns.texts["request_id"],
            rollout_id=coded("rollout_id"),
            arm=columns.numbers["arm"],
            role=columns.numbers["role"],
            event_at_ms=columns.numbers["event_at_ms"],
            latency_ms=columns.reals["latency_ms"],
            status=columns.numbers["status"],
            model_version=coded("model_version"),
            label=coded("label"),
            confidence=columns.reals["confidence"] if "confidence" in columns.reals else np.full(count, np.nan),
            output=coded("output"),
            endpoint=coded("endpoint"),
            instance_id=coded("instance_id"),
            error_type=coded("error_type"),
            segments={name: codes(texts) for name, texts in columns.text_maps.get("segments", {}).items()},
            measures=dict(columns.real_maps.get("measures", {})),
            trace_of=columns.texts["trace_id"].text if "trace_id" in columns.texts else untraced,
        )  # fmt: skip
    except UnicodeDecodeError:
        raise LayoutError("text that is not UTF-8") from None


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
