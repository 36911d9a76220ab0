"""Avro columns: values of one schema version, read field by field into columns, for all records of a run at once.

Law: what :meth:`Layout.read` returns is exactly what the codec reads of each value, or it raises; then the codec
takes the records one by one. Source: Apache Avro 1.12, "Binary Encoding" and "Single-object encoding".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import I64, U8
from paritygate.schemas.compiled import (
    SPARE_BYTES,
    address,
    byte,
    compiled,
    is_ascii,
    is_same,
    is_utf8,
    real,
    varint,
    word,
)
from paritygate.schemas.event_columns import MAX_KEYS, Columns
from paritygate.schemas.frames import Frames, LayoutError
from paritygate.schemas.registry import AvroSchema
from paritygate.schemas.texts import Texts

_HEADER_BYTES: Final = 10

# How a field is read. A field that nobody asks for has column -1.
_INT, _LONG, _ENUM, _BOOLEAN, _FLOAT, _DOUBLE, _TEXT = range(7)
#: Added where the field is a union with null in the first place.
_NULLABLE: Final = 16
#: Added where the field is a map of such values.
_MAP: Final = 32
_PLAIN: Final = {
    "int": _INT, "long": _LONG, "boolean": _BOOLEAN, "float": _FLOAT, "double": _DOUBLE, "string": _TEXT,
}  # fmt: skip
_INT_BOUND: Final = 1 << 31
_NOWHERE: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One schema version of a record: its fields in the order in which they lie, and those that are wanted of it.

    ``steps[k]``: how field k is read, its column or -1 where nobody wants it, and how many symbols an enum has.
    """

    schema: AvroSchema
    types: Mapping[str, Any]
    wanted: tuple[str, ...]
    steps: I64

    @classmethod
    def of(cls, schema: AvroSchema, wanted: Collection[str]) -> Layout | None:
        """The layout of a schema, ``None`` where it has a type that is not read here."""
        types = {f["name"]: f["type"] for f in schema.fields}
        steps: list[tuple[int, int, int]] = []
        width = dict.fromkeys(("numbers", "reals", "texts"), 0)
        for name, avro in types.items():
            kind = _kind(avro)
            if kind is None:
                return None
            column = _NOWHERE
            if name in wanted:
                column = width[_family(kind)]
                width[_family(kind)] += MAX_KEYS if kind & _MAP else 1
            steps.append((kind, column, len(avro["symbols"]) if kind == _ENUM else 0))
        return cls(schema, types, tuple(n for n in types if n in wanted), np.array(steps, np.int64).reshape(-1, 3))

    def read(self, frames: Frames) -> Columns:
        """The wanted fields of all the records' values.

        :raises LayoutError: a value is not what this layout says, down to the byte.
        """
        room, count = self._room(), len(frames)
        numbers, reals = np.empty((room["numbers"], count), np.int64), np.empty((room["reals"], count), np.float64)
        at, size = np.empty((room["texts"], count), np.int64), np.empty((room["texts"], count), np.int32)
        keys, keys_found = np.zeros((len(self.steps), MAX_KEYS, 2), np.int64), np.zeros(len(self.steps), np.int64)
        nonfinite = np.zeros(count, np.bool_)
        header = np.frombuffer(self.schema.header + bytes(SPARE_BYTES), np.uint8)
        if not _read(
            frames.buffer, frames.value_at, frames.value_size, header, self.steps,
            numbers, reals, at, size, keys, keys_found, nonfinite,
        ):  # fmt: skip
            raise LayoutError("not as the schema says")
        columns = Columns({}, {}, {}, {}, {}, nonfinite)
        for (kind, column, _), name, own_keys, found in zip(
            self.steps.tolist(), self.types, keys, keys_found.tolist(), strict=True
        ):
            if column == _NOWHERE:
                continue
            places: dict[Any, int] = {name: column}
            if kind & _MAP:
                names = [_text(frames.buffer, *key) for key in own_keys[:found].tolist()]
                places = {key: column + k for k, key in enumerate(names)}
            family = _family(kind)
            if family == "texts":
                read: Any = {key: Texts(frames.buffer, at[k], size[k]) for key, k in places.items()}
            else:
                matrix = numbers if family == "numbers" else reals
                read = {key: matrix[k] for key, k in places.items()}
            if kind & _MAP:
                getattr(columns, f"{family[:-1]}_maps")[name] = read
            else:
                getattr(columns, family).update(read)
        return columns

    def _room(self) -> dict[str, int]:
        """How many columns the wanted fields take."""
        room = dict.fromkeys(("numbers", "reals", "texts"), 0)
        for kind, column, _ in self.steps.tolist():
            if column != _NOWHERE:
                room[_family(kind)] = column + (MAX_KEYS if kind & _MAP else 1)
        return room


def _text(buffer: U8, at: int, size: int) -> str:
    """:raises LayoutError: it is not UTF-8."""
    try:
        return buffer[at : at + size].tobytes().decode()
    except UnicodeDecodeError:
        raise LayoutError("a key of a map that is not UTF-8") from None


def _family(kind: int) -> str:
    plain = kind & ~(_NULLABLE | _MAP)
    return "texts" if plain == _TEXT else "reals" if plain == _DOUBLE else "numbers"


def _kind(avro: Any) -> int | None:
    if isinstance(avro, list):
        is_nullable = len(avro) == 2 and avro[0] == "null" and avro[1] in _PLAIN
        return _PLAIN[avro[1]] | _NULLABLE if is_nullable else None
    if isinstance(avro, dict):
        if avro["type"] == "enum":
            return _ENUM
        return _PLAIN[avro["values"]] | _MAP if avro["type"] == "map" and avro["values"] in _PLAIN else None
    return _PLAIN.get(avro)


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _number(at: int, end: int, kind: int, symbols: int) -> Any:
    """A number, a truth or a symbol, and where it ends, -1 where it is none; that of a float is not told."""
    if kind == _FLOAT:
        return (0, at + 4) if end - at >= 4 else (0, -1)
    if kind == _BOOLEAN:
        return (0, at + 1) if end - at >= 1 and byte(at) <= 1 else (0, -1)
    number, at = varint(at, end)
    if kind == _ENUM and not 0 <= number < symbols:
        return 0, -1
    if kind == _INT and not -_INT_BOUND <= number < _INT_BOUND:
        return 0, -1
    return number, at


@compiled
def _read(
    buffer: Any, value_at: Any, value_size: Any, header: Any, steps: Any,
    numbers: Any, reals: Any, text_at: Any, text_size: Any, keys: Any, keys_found: Any, nonfinite: Any,
) -> bool:  # fmt: skip
    """Fill the columns; false where a value is not what the steps say."""
    base, marker = address(buffer), address(header)
    named = np.full((len(steps), MAX_KEYS), -1, np.int64)  # the last row that named a key
    for row in range(len(value_at)):
        at = base + value_at[row]
        end = at + value_size[row]
        if end - at < _HEADER_BYTES or not is_same(at, marker, _HEADER_BYTES):
            return False
        at += _HEADER_BYTES
        for k in range(len(steps)):
            kind, column = steps[k, 0], steps[k, 1]
            plain, target, values, expected = kind & ~(_NULLABLE | _MAP), column, 1, 0
            if kind & _NULLABLE:
                values, at = varint(at, end)
                if not 0 <= values <= 1:
                    return False
                if values == 0 and column >= 0:
                    if plain == _TEXT:
                        text_at[column, row], text_size[column, row] = 0, -1
                    elif plain == _DOUBLE:
                        reals[column, row] = np.nan
            elif kind & _MAP:
                values, at = varint(at, end)
                if not 0 <= values <= end - at:
                    return False
            while values > 0 and at >= 0:
                if kind & _MAP:
                    size, at = varint(at, end)
                    if at < 0 or not 0 <= size <= end - at:
                        return False
                    # Most maps name the same keys in the same order: begin with the one that followed last.
                    known, place = keys_found[k], -1
                    for ahead in range(known):
                        key = expected + ahead
                        key -= known if key >= known else 0
                        if keys[k, key, 1] == size and is_same(base + keys[k, key, 0], at, size):
                            place = key
                            break
                    if place < 0:
                        place = known
                        if place == MAX_KEYS:
                            return False
                        keys[k, place, 0], keys[k, place, 1] = at - base, size
                        keys_found[k] += 1
                        if column >= 0 and plain == _TEXT:
                            text_size[column + place, :] = -1
                        elif column >= 0 and plain == _DOUBLE:
                            reals[column + place, :] = np.nan
                    if named[k, place] == row:
                        return False
                    named[k, place] = row
                    expected = place + 1
                    target = column + place
                    at += size
                if plain == _TEXT:
                    size, at = varint(at, end)
                    if at < 0 or not 0 <= size <= end - at or not (is_ascii(at, size) or is_utf8(at, size)):
                        return False
                    if column >= 0:
                        text_at[target, row], text_size[target, row] = at - base, size
                    at += size
                elif plain == _DOUBLE:
                    if end - at < 8:
                        return False
                    value = real(word(at))
                    at += 8
                    if column >= 0:
                        reals[target, row] = value
                        nonfinite[row] |= not np.isfinite(value)
                else:
                    number, at = _number(at, end, plain, steps[k, 2])
                    if at >= 0 and column >= 0:
                        numbers[target, row] = number
                values -= 1
                if values == 0 and kind & _MAP:
                    values, at = varint(at, end)
                    if not 0 <= values <= end - at:
                        return False
            if at < 0:
                return False
        if at != end:
            return False
    return True
