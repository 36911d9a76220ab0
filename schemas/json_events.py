"""Prediction events as flat JSON, read into columns, for all records of a run at once.

Law: a row that is not doubtful is exactly what the codec reads of its value. Whatever is not plain is doubtful:
fields that are not known, missing or there twice, values of other types, escapes in names of fields, numbers with
more digits than a ``double`` needs, and what is no JSON. Fields may come in any order; that of the row before is
tried first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

import numpy as np
import orjson

from paritygate.schemas.arrays import I64, U8
from paritygate.schemas.compiled import SPARE_BYTES, address, byte, compiled, is_same, word
from paritygate.schemas.event_columns import MAX_KEYS, SYMBOLS, Columns
from paritygate.schemas.frames import Frames, LayoutError
from paritygate.schemas.json_parts import CLOSE, COLON, COMMA, OPEN, QUOTE, behind_space, double, text, whole
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.rules import MAX_EVENT_BYTES
from paritygate.schemas.texts import Texts, read_only

# How a field is read. A text takes two columns: where it lies, and its size.
_TEXT, _REAL, _WHOLE, _SYMBOL = range(4)
#: Added where the field may be null.
_NULLABLE: Final = 4
#: Added where the field is a map of such values.
_MAP: Final = 8
_KINDS: Final = {
    "arm": _SYMBOL, "role": _SYMBOL, "status": _SYMBOL, "event_at_ms": _WHOLE, "latency_ms": _REAL,
    "label": _NULLABLE | _TEXT, "confidence": _NULLABLE | _REAL, "segments": _MAP | _TEXT, "measures": _MAP | _REAL,
}  # fmt: skip
_FIELDS: Final = dataclasses.fields(PredictionEvent)
_NOWHERE: Final = -1
_NULL: Final = int.from_bytes(b"null", "little")
_NAN: Final = int(np.array(np.nan).view(np.int64))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class JsonLayout:
    """The fields of prediction events in JSON.

    ``words``: names and symbols with their quotes, word k from ``ends[k]`` to ``ends[k + 1]``; the first are the
    fields'. ``steps[k]``: how field k is read, its column, its first symbol, and how many it has. ``filled`` is as
    of an Avro layout: no field is lacked by all.
    """

    words: U8
    ends: I64
    steps: I64
    needed: int
    width: int
    filled: Mapping[str, Any]

    @classmethod
    def of_predictions(cls) -> JsonLayout:
        """The layout of :class:`PredictionEvent`."""
        words, steps, width, needed = [f.name for f in _FIELDS], [], 0, 0
        for place, field in enumerate(_FIELDS):
            kind = _KINDS.get(field.name, _TEXT)
            steps.append((kind, width, len(words), len(SYMBOLS.get(field.name, ()))))
            words.extend(map(str, SYMBOLS.get(field.name, ())))
            width += (MAX_KEYS if kind & _MAP else 1) * _columns(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                needed |= 1 << place
        raw = [f'"{name}"'.encode() for name in words]
        return cls(
            np.frombuffer(b"".join([*raw, bytes(SPARE_BYTES)]), np.uint8),
            np.array([0, *accumulate(map(len, raw))], np.int64),
            np.array(steps, np.int64), needed, width, {},
        )  # fmt: skip

    def read(self, frames: Frames) -> Columns:
        """The fields of all the records' values.

        :raises LayoutError: maps of too many keys.
        """
        count, (first, last) = len(frames), _span(frames)
        texts = frames.buffer[first : last + SPARE_BYTES].copy()
        cells = np.empty((self.width, count), np.int64)
        keys, found = np.zeros((len(self.steps), MAX_KEYS, 3), np.int64), np.zeros(len(self.steps), np.int64)
        doubtful = np.zeros(count, np.bool_)
        if not _read(
            frames.buffer, frames.value_at, frames.value_size, texts, first, self.words, self.ends, self.steps,
            self.needed, cells, keys, found, doubtful,
        ):  # fmt: skip
            raise LayoutError("too many keys")
        texts = read_only(texts)
        columns = Columns({}, {}, {}, {}, {}, doubtful)

        def column(kind: int, place: int) -> Any:
            if kind == _TEXT:
                return Texts(texts, cells[place], cells[place + 1].astype(np.int32))
            return cells[place].view(np.float64) if kind == _REAL else cells[place]

        for step, field in enumerate(_FIELDS):
            kind, place = self.steps[step, :2].tolist()
            plain = kind & ~(_MAP | _NULLABLE)
            if kind & _MAP:
                maps: dict[str, Any] = columns.text_maps if plain == _TEXT else columns.real_maps
                maps[field.name] = {
                    texts[at : at + size].tobytes().decode(): column(plain, place + k * _columns(plain))
                    for k, (at, size, _) in enumerate(keys[step, : found[step]].tolist())
                }
            elif plain == _TEXT:
                columns.texts[field.name] = column(plain, place)
            elif plain == _REAL:
                columns.reals[field.name] = column(plain, place)
            else:
                numbers = column(plain, place)
                columns.numbers[field.name] = numbers.astype(np.int8) if plain == _SYMBOL else numbers
        return columns

    def rewritten(self, frames: Frames, events: Mapping[int, PredictionEvent]) -> Frames:
        """The same records, some rows as the plain JSON of events."""
        plain = [orjson.dumps(event) for event in events.values()]
        (first, last), rows = _span(frames), list(events)
        held = frames.buffer[first : last + SPARE_BYTES].tobytes()
        value_at, value_size = frames.value_at - first, frames.value_size.copy()
        value_at[rows] = list(accumulate(map(len, plain[:-1]), initial=len(held)))
        value_size[rows] = list(map(len, plain))
        return dataclasses.replace(
            frames, buffer=np.frombuffer(b"".join([held, *plain, bytes(SPARE_BYTES)]), np.uint8),
            key_at=frames.key_at - first, value_at=value_at, value_size=value_size,
        )  # fmt: skip


def _span(frames: Frames) -> tuple[int, int]:
    """Where the first key of some records begins, which lies before its value, and where the last value ends."""
    if not len(frames):
        return 0, 0
    return int(frames.key_at.min()), int((frames.value_at + frames.value_size).max())


def _columns(kind: int) -> int:
    return 2 if kind & ~(_MAP | _NULLABLE) == _TEXT else 1


#: The only one there is.
JSON: Final = JsonLayout.of_predictions()


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _number(at: int) -> Any:
    return np.int64(word(at))


@compiled
def _which(words: int, ends: int, count: int, guess: Any, at: int, end: int) -> Any:
    """Which of some words stands here, the guess looked at first, and where it ends; -1 where none does."""
    for k in range(guess, guess + count):
        found = k if k < count else k - count
        begin = _number(ends + 8 * found)
        size = _number(ends + 8 * found + 8) - begin
        if size <= end - at and is_same(words + begin, at, size):
            return found, at + size
    return 0, -1


@compiled
def _key(keys: int, known: int, guess: Any, base: int, at: int, end: int, copy: int) -> Any:
    """Which key begins behind a quote, a new one as large as there are; where it lies, its size, and its quote."""
    if guess < known:
        lies, size = _number(keys + 24 * guess), _number(keys + 24 * guess + 16)
        if 0 <= size < end - at and byte(at + size) == QUOTE and is_same(base + lies, at, size):
            return guess, lies, size, at + size
    size, close = text(at, end, copy)
    lies = at + copy - base
    for key in range(known if close >= 0 else 0):
        place = keys + 24 * key
        if _number(place + 8) == size and is_same(base + _number(place), base + lies, size):
            return key, lies, size, close
    return known, lies, size, close


@compiled
def _read(
    buffer: Any, value_at: Any, value_size: Any, texts: Any, first: int, words: Any, ends: Any, steps: Any,
    needed: int, cells: Any, keys: Any, keys_found: Any, doubtful: Any,
) -> bool:  # fmt: skip
    """Fill the columns; false where there are too many keys."""
    base, spelled, cuts = address(texts), address(words), address(ends)
    copy, fields = base - address(buffer) - first, len(steps)
    zero = np.int64(0)  # what takes a literal is compiled once more for it
    order = np.arange(fields + 1) % fields  # of the fields of the row before
    named = np.full((fields, MAX_KEYS), -1, np.int64)  # the last row that named a key
    for row in range(len(value_at)):
        at = address(buffer) + value_at[row]
        end = at + value_size[row]
        seen, place, inside, expected, step, kind, column, is_sound = 0, 0, _NOWHERE, zero, 0, 0, 0, False
        at = behind_space(at + 1, end) if value_size[row] <= MAX_EVENT_BYTES and byte(at) == OPEN else end
        while at < end and byte(at) == QUOTE:
            if inside == _NOWHERE:
                step, at = _which(spelled, cuts, fields, order[place], at, end)
                if at < 0 or seen >> step & 1:
                    break
                order[place] = step
                place += 1
                seen |= 1 << step
                kind, column = steps[step, 0], steps[step, 1]
            else:
                known = keys_found[inside]
                begin, own = at + 1, address(keys) + 24 * MAX_KEYS * inside
                key, lies, size, at = _key(own, known, expected, base, begin, end, copy)
                if at < 0 or (key < known and named[inside, key] == row):
                    break
                wide = 2 if kind == _TEXT else 1
                column = steps[inside, 1] + wide * key
                if key == known:
                    if key == MAX_KEYS:
                        return False
                    keys_found[inside] += 1
                    keys[inside, key, 0], keys[inside, key, 1] = lies, size
                    # Only what has no escapes is looked for as it stands in the JSON.
                    keys[inside, key, 2] = size if size == at - begin else -1
                    cells[column, :] = 0 if kind == _TEXT else _NAN
                    cells[column + wide - 1, :] = -1 if kind == _TEXT else _NAN
                named[inside, key] = row
                expected = key + 1
                at += 1
            at = behind_space(at, end)
            if at >= end or byte(at) != COLON:
                break
            at = behind_space(at + 1, end)
            if at >= end:
                break
            if kind & _MAP:
                if byte(at) != OPEN:
                    break
                inside, kind, expected = step, kind - _MAP, zero
                at = behind_space(at + 1, end)
                if at < end and byte(at) == QUOTE:
                    continue
                if at >= end or byte(at) != CLOSE:
                    break
            elif kind == _SYMBOL:
                cells[column, row], at = _which(spelled, cuts + 8 * steps[step, 2], steps[step, 3], zero, at, end)
            elif kind == _WHOLE:
                cells[column, row], at = whole(at, end)
            elif kind & _NULLABLE and end - at >= 4 and word(at) & np.uint64(0xFFFF_FFFF) == np.uint64(_NULL):
                cells[column, row] = _NAN
                if kind == _NULLABLE | _TEXT:
                    cells[column, row], cells[column + 1, row] = 0, -1
                at += 4
            elif kind & ~_NULLABLE == _TEXT:
                if byte(at) != QUOTE:
                    break
                size, close = text(at + 1, end, copy)
                cells[column, row], cells[column + 1, row] = at + 1 + copy - base, size
                at = close + 1 if close >= 0 else -1
            else:
                bits, at = double(at, end)
                cells[column, row] = np.int64(bits)
            if at < 0:
                break
            at = behind_space(at, end)
            while at < end and byte(at) == CLOSE:
                at = behind_space(at + 1, end)
                if inside == _NOWHERE:
                    is_sound = at == end and seen & needed == needed
                    at = end
                inside = _NOWHERE
            if at >= end or byte(at) != COMMA:
                break
            at = behind_space(at + 1, end)
        doubtful[row] = not is_sound
        for step in range(fields):
            if is_sound and seen >> step & 1:
                continue
            kind, column = steps[step, 0], steps[step, 1]
            if kind & ~_NULLABLE == _TEXT:
                cells[column, row], cells[column + 1, row] = 0, -1 if kind & _NULLABLE else 0
            elif not kind & _MAP:
                cells[column, row] = _NAN if kind & ~_NULLABLE == _REAL else -1
    return True
