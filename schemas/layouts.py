"""Layout: how prediction events of one schema version lie in a record batch, read as Arrow columns.

A record of format v2 is itself Avro: zig-zag varints and length-prefixed bytes. So the body of a batch, its
count before it and a 0 after it, is an Avro array, and one call decodes Kafka framing, single-object header
(``C3 01`` is the int -98, the fingerprint a double) and event, with no Python object per record.

Law: what :meth:`Layout.read` returns is exactly what a record-by-record reader sees, or it raises. The proof
is the size law: the shortest encoding of what was decoded is as long as each record says, and all records
together are as long as the body. A decoder that went astray, a value with trailing bytes, headers or an
overlong varint break it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyruhvro

from paritygate.schemas.columns import I32, I64
from paritygate.schemas.registry import AvroSchema

_MAGIC = -98
_HEADER_BYTES = 10
#: Bound of timestamps and of their deltas: the sum of two such cannot overflow.
SAFE_MS = 1 << 62


class LayoutError(ValueError):
    """These batches are not as the layout says: read them record by record."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Decoded records of some whole batches of one partition, in their order.

    ``batch``: number of the batch in the call; ``start``: byte in its body at which the record begins.
    ``offset_delta``, ``delta_ms``, ``value_bytes``: as in the record. ``key``: the Kafka key as a string
    column. ``fields``: the event's columns by name.
    """

    batch: I64
    start: I64
    offset_delta: I64
    delta_ms: I64
    value_bytes: I64
    key: Any
    fields: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.batch)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One schema version of ``PredictionEvent`` as it lies in record batches."""

    schema: AvroSchema
    wire: str
    types: Mapping[str, Any]

    @classmethod
    def of(cls, schema: AvroSchema) -> Layout | None:
        """The layout of a schema, ``None`` where it has a type that this file cannot measure."""
        types = {f["name"]: f["type"] for f in schema.fields}
        if not all(_is_measurable(t) for t in types.values()):
            return None
        return cls(schema, _event_wire(types), types)

    def read(self, bodies: Sequence[tuple[int, bytes | memoryview]]) -> Rows:
        """Decode bodies of batches, given as (count of records, uncompressed body).

        :raises LayoutError: they are not what this layout says, down to the byte.
        """
        counts, sizes, table = _read_table(bodies, self.wire)
        number = {n: table[n].to_numpy().astype(np.int64) for n in _NUMBERS}
        fingerprints = table["__fingerprint"].to_numpy().view("<u8")
        if (
            (number["__magic"] != _MAGIC).any()
            or (fingerprints != np.uint64(self.schema.fingerprint)).any()
            or number["__attributes"].any()
            or number["__headers"].any()
        ):
            raise LayoutError("foreign header")
        fields = {name: table[name] for name in self.types}
        value: Any = _HEADER_BYTES + sum(_encoded_bytes(fields[n], t) for n, t in self.types.items())
        key = table["__key"]
        inner = 2 + sum(_varint_bytes(number[n]) for n in ("__delta_ms", "__offset_delta", "__value_bytes"))
        inner = inner + value + _encoded_bytes(key, "string")
        if (value != number["__value_bytes"]).any():
            raise LayoutError("size law")
        return _placed_rows(
            counts, sizes, number, inner=inner, value_bytes=number["__value_bytes"], key=key, fields=fields
        )


def _read_table(bodies: Sequence[tuple[int, bytes | memoryview]], wire: str) -> tuple[I64, I64, dict[str, Any]]:
    """Counts and sizes of the bodies, and the columns of all their records by name.

    :raises LayoutError: the decoder cannot read them, or finds another number of records.
    """
    counts = np.array([count for count, _ in bodies], np.int64)
    sizes = np.array([len(body) for _, body in bodies], np.int64)
    # A record has at least 7 bytes; the decoder must not reserve room for more than can be there.
    if (counts * 7 > sizes).any():
        raise LayoutError("more records declared than there are bytes")
    column = _decode([b"".join((_zigzag(n), body, b"\0")) for n, body in bodies], wire)
    if not np.array_equal(np.diff(column.offsets.to_numpy()), counts):
        raise LayoutError("number of records")
    names = (f.name for f in column.type.value_type)
    return counts, sizes, dict(zip(names, column.flatten().flatten(), strict=True))


def _placed_rows(
    counts: I64, sizes: I64, number: Mapping[str, I64], *, inner: Any, value_bytes: I64, key: Any,
    fields: Mapping[str, Any],
) -> Rows:  # fmt: skip
    """Rows by their place in the bodies. ``inner``: bytes of each record without its length.

    :raises LayoutError: the sizes do not add up, or timestamps are out of range.
    """
    if (number["__delta_ms"] > SAFE_MS).any() or (number["__delta_ms"] < -SAFE_MS).any():
        raise LayoutError("timestamps out of range")
    whole = inner + _varint_bytes(number["__length"])
    ends = np.cumsum(whole)
    last = np.cumsum(counts) - 1
    begins = np.repeat(ends[last] - sizes, counts)
    if (inner != number["__length"]).any() or not np.array_equal(np.diff(ends[last], prepend=0), sizes):
        raise LayoutError("size law")
    return Rows(
        batch=np.repeat(np.arange(len(counts)), counts),
        start=ends - whole - begins,
        offset_delta=number["__offset_delta"],
        delta_ms=number["__delta_ms"],
        value_bytes=value_bytes,
        key=key,
        fields=fields,
    )


def read_frames(bodies: Sequence[tuple[int, bytes | memoryview]]) -> Rows:
    """Records of any content, without headers; ``fields`` holds ``value``, a string column not yet proven UTF-8.

    :raises LayoutError: headers, a key or value that is null, or bytes that are no records.
    """
    counts, sizes, table = _read_table(bodies, _FRAMES)
    number = {n: table[n].to_numpy().astype(np.int64) for n in _FRAME_NUMBERS}
    if number["__attributes"].any() or number["__headers"].any():
        raise LayoutError("headers")
    key, value = table["__key"], table["__value"]
    inner = 2 + _varint_bytes(number["__delta_ms"]) + _varint_bytes(number["__offset_delta"])
    inner = inner + _encoded_bytes(key, "string") + _encoded_bytes(value, "string")
    return _placed_rows(
        counts, sizes, number, inner=inner, value_bytes=string_lengths(value), key=key, fields={"value": value}
    )


_NUMBERS = (
    "__length",
    "__attributes",
    "__delta_ms",
    "__offset_delta",
    "__value_bytes",
    "__magic",
    "__headers",
)


def _decode(values: list[bytes], wire: str) -> Any:
    """The one column of what pyruhvro makes of the values.

    :raises LayoutError: it cannot read them.
    """
    try:
        return pyruhvro.deserialize_array(values, wire).column(0)
    except ValueError as e:
        raise LayoutError("not decodable") from e
    except BaseException as e:
        # A panic of the Rust decoder arrives as PanicException, which derives from BaseException so that
        # nobody swallows it. Here it means "cannot take this batch"; Ctrl-C and exit must go on.
        if type(e).__name__ != "PanicException":
            raise
        raise LayoutError("decoder panic") from None


def _field(name: str, avro: Any) -> dict[str, Any]:
    return {"name": name, "type": avro}


def _wire(fields: Sequence[dict[str, Any]]) -> str:
    """The Avro schema of a whole batch body: an array of records with Kafka's framing around the value."""
    record = {
        "type": "record",
        "name": "KafkaRecord",
        "fields": [
            _field("__length", "int"),
            _field("__attributes", "int"),
            _field("__delta_ms", "long"),
            _field("__offset_delta", "int"),
            _field("__key", "string"),
            *fields,
            _field("__headers", "int"),
        ],
    }
    records = {"type": "array", "items": record}
    batch = {"type": "record", "name": "KafkaBatch", "fields": [_field("records", records)]}
    return orjson.dumps(batch).decode()


_FRAMES = _wire([_field("__value", "string")])
_FRAME_NUMBERS = ("__length", "__attributes", "__delta_ms", "__offset_delta", "__headers")


def _event_wire(types: Mapping[str, Any]) -> str:
    header = [_field("__value_bytes", "int"), _field("__magic", "int"), _field("__fingerprint", "double")]
    return _wire([*header, *(_field(name, avro) for name, avro in types.items())])


def _zigzag(count: int) -> bytes:
    """A count, not negative, as an Avro long."""
    rest, out = count << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_FIXED = {"boolean": 1, "float": 4, "double": 8}
_PLAIN = {*_FIXED, "string", "int", "long"}


def _is_measurable(avro: Any) -> bool:
    if isinstance(avro, list):
        return len(avro) == 2 and avro[0] == "null" and avro[1] in _PLAIN
    if isinstance(avro, dict):
        if avro["type"] == "enum":
            return len(avro["symbols"]) < 64
        return avro["type"] == "map" and avro["values"] in _PLAIN
    return avro in _PLAIN


def _encoded_bytes(column: Any, avro: Any) -> Any:
    """Bytes of the shortest Avro encoding per row: an array, or one number where all rows are alike."""
    if isinstance(avro, list):
        inner = _encoded_bytes(column, avro[1])
        # Arrow gives a null row no content, but a length or a width all the same.
        return 1 + (np.where(_is_valid(column), inner, 0) if column.null_count else inner)
    if isinstance(avro, dict):
        return 1 if avro["type"] == "enum" else _map_bytes(column, avro["values"])
    if avro in _FIXED:
        return _FIXED[avro]
    if avro == "string":
        lengths = string_lengths(column)
        return lengths + _varint_bytes(lengths)
    return _varint_bytes(column.fill_null(0).to_numpy().astype(np.int64))


def _map_bytes(column: Any, avro: str) -> Any:
    offsets = column.offsets.to_numpy().astype(np.int64)
    first, end = int(offsets[0]), int(offsets[-1])
    keys, items = column.keys.slice(first, end - first), column.items.slice(first, end - first)
    entries = np.zeros(end - first + 1, np.int64)
    np.cumsum(_encoded_bytes(keys, "string") + _encoded_bytes(items, avro), out=entries[1:])
    counts = np.diff(offsets)
    return np.diff(entries[offsets - first]) + np.where(counts > 0, 1 + _varint_bytes(counts), 1)


def string_lengths(column: Any) -> I64:
    """UTF-8 bytes of each row of an Arrow string column, 0 where it is null."""
    offsets = string_offsets(column)
    return np.subtract(offsets[1:], offsets[:-1], dtype=np.int64)


def string_offsets(column: Any) -> I32:
    """The ``len + 1`` positions of an Arrow string column's rows in its data buffer."""
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(len(column) + 1, np.int32)
    return np.frombuffer(buffer, np.int32, len(column) + 1, 4 * column.offset)


def _is_valid(column: Any) -> Any:
    return column.is_valid().to_numpy(zero_copy_only=False)


def _varint_bytes(numbers: I64) -> Any:
    """Bytes of each number as a zig-zag varint; one number where all are alike."""
    if not len(numbers):
        return 0
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest >= 0 and _bytes_of(2 * lowest) == (alike := _bytes_of(2 * highest)):
        return alike
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    fewest, most = _bytes_of(int(zigzag.min())), _bytes_of(int(zigzag.max()))
    if fewest == most:
        return fewest
    size = np.full(len(numbers), fewest, np.int64)
    for n in range(fewest, most):
        size += zigzag >= np.uint64(1 << 7 * n)
    return size


def _bytes_of(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)
