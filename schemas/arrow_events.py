"""Arrow columns of prediction events to an :class:`~paritygate.schemas.columns.EventBatch`.

Law: the rows that :func:`sound_rows` keeps are those that ``rules.check_prediction`` passes, and the batch
built of them equals, codes and vocabularies included, what ``EventBatch.of`` builds record by record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from paritygate.schemas.columns import B1, F64, I8, I64, Codes, EventBatch, TraceOf
from paritygate.schemas.layouts import Layout, LayoutError, Rows, string_lengths, string_offsets
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


def sound_rows(rows: Rows) -> B1:
    """Which rows keep the rules on prediction events and on their key: true where sound."""
    f = rows.fields
    id_bytes = string_lengths(f["request_id"])
    at_ms, latency = f["event_at_ms"].to_numpy(), f["latency_ms"].to_numpy()
    sound: B1 = _is_same(rows.key, f["request_id"])
    sound &= (id_bytes > 0) & (id_bytes <= MAX_REQUEST_ID_BYTES) & (rows.value_bytes <= MAX_EVENT_BYTES)
    sound &= string_lengths(f["rollout_id"]) > 0
    sound &= (at_ms >= 0) & (at_ms <= MAX_AT_MS) & (latency >= 0) & (latency < np.inf)
    for name, members in _SYMBOLS.items():
        sound &= _symbol_codes(f[name], members) >= 0
    if "confidence" in f:
        sound &= np.isfinite(f["confidence"].fill_null(0.0).to_numpy())
    if "measures" in f:
        row, _, items = _entries(f["measures"])
        sound[row[~np.isfinite(items.to_numpy())]] = False
    return sound


def event_batch(
    topic: str,
    partition: int,
    rows: Rows,
    *,
    kept: B1,
    offset: I64,
    appended_at_ms: I64,
    filled: Mapping[str, Any],
) -> EventBatch:
    """The kept rows as a batch; ``offset`` and ``appended_at_ms`` are those of all rows.

    :raises LayoutError: text that is not UTF-8, or a map that names a key twice in one row.
    :raises pyarrow.ArrowInvalid: the same in a column that nobody reads.
    """
    columns = dict(rows.fields)
    if not kept.all():
        columns = {n: c.filter(kept) for n, c in columns.items()}
        offset, appended_at_ms = offset[kept], appended_at_ms[kept]
    count = len(offset)
    try:
        batch = EventBatch(
            topic=topic, partition=partition, offset=offset, appended_at_ms=appended_at_ms,
            request_id=_texts(columns.pop("request_id")),
            rollout_id=_codes(columns.pop("rollout_id")),
            arm=_symbol_codes(columns.pop("arm"), ARMS),
            role=_symbol_codes(columns.pop("role"), ROLES),
            event_at_ms=_own(columns.pop("event_at_ms").to_numpy()),
            latency_ms=_own(columns.pop("latency_ms").to_numpy()),
            status=_symbol_codes(columns.pop("status"), STATUSES),
            model_version=_codes(columns.pop("model_version")),
            label=_codes_or(columns, "label", filled, count),
            confidence=_confidence(columns, count),
            output=[filled["output"]] * count if "output" in filled else _texts(columns.pop("output")),
            endpoint=_codes_or(columns, "endpoint", filled, count),
            instance_id=_codes_or(columns, "instance_id", filled, count),
            error_type=_codes_or(columns, "error_type", filled, count),
            segments={} if "segments" in filled else _segments(columns.pop("segments"), count),
            measures={} if "measures" in filled else _measures(columns.pop("measures"), count),
        )  # fmt: skip
    except UnicodeDecodeError:
        raise LayoutError("text that is not UTF-8") from None
    # What nobody reads (trace ids, fields of newer versions) must be text all the same.
    for column in columns.values():
        column.validate(full=True)
    batch.trace_of = _traces(columns.get("trace_id"), filled)
    return batch


def _traces(column: Any, filled: Mapping[str, Any]) -> TraceOf:
    """Trace ids as they lie in the Arrow column, which lives as long as its batch."""
    if column is None:
        return lambda _row: filled["trace_id"]
    return lambda row: column[row].as_py()


def _is_expected(name: str, avro: Any) -> bool:
    expected = _TYPES[name]
    if expected == "enum":
        return isinstance(avro, dict) and avro["type"] == "enum"
    return bool(avro == expected)


def _class_default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _is_same(left: Any, right: Any) -> B1:
    """Row by row equality of two string columns, without nulls."""
    a, b = string_offsets(left), string_offsets(right)
    if np.array_equal(np.diff(a), np.diff(b)) and np.array_equal(_content(left, a), _content(right, b)):
        return np.ones(len(left), np.bool_)
    return np.array([x == y for x, y in zip(_raw(left), _raw(right), strict=True)], np.bool_)


def _content(column: Any, offsets: Any) -> Any:
    buffer = column.buffers()[2]
    return np.frombuffer(b"" if buffer is None else buffer, np.uint8)[int(offsets[0]) : int(offsets[-1])]


def _is_constant(column: Any) -> bool:
    """Whether a string column is known to say the same in all of some rows."""
    count = len(column)
    if not count or column.null_count:
        return False
    offsets = string_offsets(column)
    size = int(offsets[1] - offsets[0])
    if int(offsets[-1] - offsets[0]) != size * count or (offsets[1:] - offsets[:-1] != size).any():
        return False
    return _repeats(_content(column, offsets), size)


def _repeats(content: Any, size: int) -> bool:
    """Whether some bytes are the same ``size`` bytes again and again: then each is that of ``size`` before."""
    # The ends are looked at first: most columns that vary differ there.
    ends = np.array_equal(content[:size], content[len(content) - size :])
    return ends and np.array_equal(content[size:], content[: len(content) - size])


def _raw(column: Any) -> list[bytes]:
    """The rows as bytes: they may not be UTF-8 yet."""
    return column.view("binary").to_pylist()  # type: ignore[no-any-return]


def _texts(column: Any) -> list[str]:
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def _codes(column: Any) -> Codes:
    if _is_constant(column):
        return Codes(np.zeros(len(column), np.int32), _texts(column.slice(0, 1)))
    encoded = column.dictionary_encode()
    index = encoded.indices
    if index.null_count:
        index = index.fill_null(-1)
    return Codes(_own(index.to_numpy()), _texts(encoded.dictionary))


def _codes_or(columns: dict[str, Any], name: str, filled: Mapping[str, Any], count: int) -> Codes:
    """Codes of a column that may be lacking, which has one value then."""
    if name not in filled:
        return _codes(columns.pop(name))
    value = filled[name]
    if value is None:
        return Codes(np.full(count, -1, np.int32), [])
    return Codes(np.zeros(count, np.int32), [value] if count else [])


def _confidence(columns: dict[str, Any], count: int) -> F64:
    if "confidence" not in columns:
        return np.full(count, np.nan)
    numbers: F64 = _own(columns.pop("confidence").fill_null(np.nan).to_numpy())
    return numbers


def _symbol_codes(column: Any, members: Sequence[StrEnum]) -> I8:
    """Codes into ``members``, -1 for symbols that are not among them."""
    names = [str(m) for m in members]
    if _is_constant(column):
        symbol = column[0].as_py()
        return np.full(len(column), names.index(symbol) if symbol in names else -1, np.int8)
    encoded = column.dictionary_encode()
    table = np.array([names.index(s) if s in names else -1 for s in encoded.dictionary.to_pylist()], np.int8)
    codes: I8 = table[encoded.indices.to_numpy()] if len(table) else np.zeros(0, np.int8)
    return codes


def _entries(column: Any) -> tuple[I64, Any, Any]:
    """Row number, key and value of every entry of a map column."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    row = np.repeat(np.arange(len(column)), np.diff(offsets))
    return row, column.keys.slice(first, count), column.items.slice(first, count)


def _by_key(column: Any) -> list[tuple[str, I64, I64, Any]]:
    """``(key, rows, entries, items)`` per key, in order of first appearance.

    :raises LayoutError: a row names a key twice.
    """
    repeated = _repeated_keys(column)
    if repeated:
        size, first = len(repeated), column.offsets[0].as_py()
        items = column.items.slice(first, len(column) * size)
        every = np.arange(len(column))
        return [(key, every, every * size + place, items) for place, key in enumerate(repeated)]
    row, keys, items = _entries(column)
    codes = _codes(keys)
    found: list[tuple[str, I64, I64, Any]] = []
    for code, key in enumerate(codes.values):
        entries = np.flatnonzero(codes.index == code)
        rows = row[entries]
        if (np.diff(rows) == 0).any():
            raise LayoutError("a key twice in one map")
        found.append((key, rows, entries, items))
    return found


def _repeated_keys(column: Any) -> list[str] | None:
    """The keys of each row where all rows are known to have the same ones in the same order, each once."""
    starts = column.offsets.to_numpy()
    rows, first = len(column), int(starts[0])
    size = int(starts[1]) - first if rows else 0
    if not size or (starts[1:] - starts[:-1] != size).any():
        return None
    keys = column.keys.slice(first, rows * size)
    offsets = string_offsets(keys)
    lengths = (offsets[1:] - offsets[:-1]).reshape(rows, size)
    if (lengths != lengths[0]).any() or not _repeats(_content(keys, offsets), int(lengths[0].sum())):
        return None
    names = _texts(keys.slice(0, size))
    return names if len(set(names)) == size else None


def _segments(column: Any, count: int) -> dict[str, Codes]:
    dimensions: dict[str, Codes] = {}
    for key, rows, entries, items in _by_key(column):
        values = _codes(items.take(entries))
        index = np.full(count, -1, np.int32)
        index[rows] = values.index
        dimensions[key] = Codes(index, values.values)
    return dimensions


def _measures(column: Any, count: int) -> dict[str, F64]:
    measures: dict[str, F64] = {}
    for key, rows, entries, items in _by_key(column):
        numbers = np.full(count, np.nan)
        numbers[rows] = items.to_numpy()[entries]
        measures[key] = numbers
    return measures


def _own(view: Any) -> Any:
    """A copy: views into Arrow memory are read-only and keep the whole decoded fetch alive."""
    return np.array(view)
