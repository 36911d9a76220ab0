"""Flat: outputs that are one object, read by compiled loops into columns; a list or object in it is one piece.

Law: what is read here is exactly what a JSON reader reads: numbers to the last bit, texts to the last character. An
output with anything odd in it (keys twice or with escapes, more digits than a number holds, deep nesting) is not
flat, and neither is one that is no JSON: it is left to whoever reads values one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, I64, U8
from paritygate.schemas.compiled import address as address_of
from paritygate.schemas.compiled import (
    byte,
    compiled,
    is_same,
    word,
    zeros_behind,
)
from paritygate.schemas.json_parts import (
    CLOSE,
    COLON,
    COMMA,
    OPEN,
    QUOTE,
    behind_space,
    double,
    hexadecimal,
    special_in,
)
from paritygate.schemas.texts import Texts

#: Keys that the outputs of one reading may have beside those that are named beforehand.
MAX_OTHER_KEYS: Final = 64
#: Kinds of value. An escaped text is a text, but not character by character; lists and objects are not looked into.
NULL, FALSE, TRUE, INTEGER, REAL, TEXT, ESCAPED, LIST, OBJECT = range(9)
#: Deepest nesting that is looked through.
_MAX_DEPTH: Final = 32
#: Size of a name that no key is equal to.
_NEVER: Final = 1 << 30
_BACKSLASH, _OPEN_LIST, _CLOSE_LIST = 0x5C, 0x5B, 0x5D
_MINUS, _POINT, _ZERO, _NINE, _SMALL_E, _SMALL_U = 0x2D, 0x2E, 0x30, 0x39, 0x65, 0x75
_TRUE_WORD, _FALSE_WORD, _NULL_WORD = 0x65757274, 0x736C6166, 0x6C6C756E
_SHORT_ESCAPES: Final = tuple(b'"\\/bfnrt')


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Texts that rules speak of, in one piece: text k is ``size[k]`` bytes from ``at[k]`` on.

    The first ``keys`` of them are keys of outputs; key k has number k.
    """

    raw: bytes
    at: I64
    size: I64
    keys: int

    @classmethod
    def of(cls, keys: Sequence[str], others: Sequence[str] = ()) -> Names:
        """Some keys and some other texts. One that JSON must escape is never met in a flat output."""
        texts = [*keys, *others]
        raw = [b"" if _is_odd(text) else text.encode() for text in texts]
        size = [_NEVER if _is_odd(text) else len(part) for text, part in zip(texts, raw, strict=True)]
        ends = np.cumsum([len(part) for part in raw], dtype=np.int64)
        at = np.array([0, *ends[:-1].tolist()], np.int64)[: len(texts)]
        return cls(b"".join(raw), at, np.array(size, np.int64), len(keys))


def _is_odd(text: str) -> bool:
    return any(c in '"\\' or c < " " or "\ud800" <= c <= "\udfff" for c in text)


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """Outputs, and the fields of those that are flat.

    ``outputs[i]``: where output i lies, its bytes, its first field, and whether it is flat; its fields end where
    those of the next one begin. ``fields[k]``: the number of the key, the kind, the value, and bytes of a text; the
    value is the bits of a number as a ``double``, or where a text lies without its quotes, or a list or object with
    its brackets. ``keys[n]``: where key n lies, and its bytes.
    """

    buffer: U8
    outputs: I64
    fields: I64
    keys: I64

    @classmethod
    def read(cls, texts: Texts, names: Names) -> Flat:
        """Read some outputs; they are copied behind the names."""
        own = texts.copied(behind=names.raw)
        outputs = np.zeros((len(texts) + 1, 4), np.int64)
        outputs[:-1, 0], outputs[:-1, 1] = own.at, own.size
        fields = np.empty((int(np.count_nonzero(own.buffer == COLON)), 4), np.int64)
        keys = np.zeros((names.keys + MAX_OTHER_KEYS, 2), np.int64)
        keys[: names.keys, 0], keys[: names.keys, 1] = names.at[: names.keys], names.size[: names.keys]
        met, follows = np.full(len(keys), -1), np.zeros(len(keys) + 1, np.int64)
        found = _read(own.buffer, outputs, fields, keys, names.keys, met, follows)
        return cls(own.buffer, outputs, fields, keys[:found])

    @property
    def plain(self) -> B1:
        """Which outputs are flat."""
        plain: B1 = self.outputs[:-1, 3] > 0
        return plain

    def texts_of_keys(self, begin: int) -> list[bytes]:
        """The keys from one number on."""
        return [self.buffer[at : at + size].tobytes() for at, size in self.keys[begin:].tolist()]


# -- compiled ------------------------------------------------------------------------------------------------------


@compiled
def _text(at: int, end: int) -> Any:
    """Where a text ends that begins behind its quote, -1 where it does not; whether it has escapes."""
    escaped = False
    while at < end:
        special = special_in(word(at))
        if special == np.uint64(0):
            at += 8
            continue
        at += zeros_behind(special) >> 3
        if at >= end:
            return -1, escaped
        if byte(at) == QUOTE:
            return at, escaped
        if byte(at) != _BACKSLASH or end - at < 2:
            return -1, escaped
        escaped = True
        after = byte(at + 1)
        if after == _SMALL_U and end - at >= 6:
            number = hexadecimal(at + 2)
            if number < 0 or 0xD800 <= number <= 0xDFFF:  # half a character
                return -1, escaped
            at += 6
        elif after in _SHORT_ESCAPES:
            at += 2
        else:
            return -1, escaped
    return -1, escaped


@compiled
def _value(at: int, end: int) -> Any:
    """Where a plain value ends, -1 where it is none; its kind, its bits or where its text begins, and the size."""
    if at >= end:
        return -1, NULL, 0, 0
    begin = byte(at)
    if begin == QUOTE:
        close, escaped = _text(at + 1, end)
        return (close + 1 if close >= 0 else -1), (ESCAPED if escaped else TEXT), at + 1, close - at - 1
    if begin == _MINUS or _ZERO <= begin <= _NINE:
        bits, close = double(at, end)
        kind = INTEGER
        for place in range(at, close):
            kind = REAL if byte(place) == _POINT or byte(place) | 0x20 == _SMALL_E else kind
        return close, kind, np.int64(bits), 0
    if end - at >= 5:  # the object's end is behind it
        four = word(at) & np.uint64(0xFFFF_FFFF)
        if four == np.uint64(_TRUE_WORD):
            return at + 4, TRUE, 0, 0
        if four == np.uint64(_NULL_WORD):
            return at + 4, NULL, 0, 0
        if four == np.uint64(_FALSE_WORD) and byte(at + 4) == _SMALL_E:
            return at + 5, FALSE, 0, 0
    return -1, NULL, 0, 0


@compiled
def _piece(at: int, end: int) -> Any:
    """Where a list or object ends, -1 where it is none or nested too deep."""
    depth, objects = 0, 0  # of each open one a bit: whether it is an object
    while True:
        begin = byte(at) if at < end else 0
        if begin in (OPEN, _OPEN_LIST):
            if depth == _MAX_DEPTH:
                return -1
            depth += 1
            objects = (objects << 1) | (begin == OPEN)
            at = behind_space(at + 1, end)
            is_whole = at < end and byte(at) == (CLOSE if objects & 1 else _CLOSE_LIST)
        else:
            at, _, _, _ = _value(at, end)
            if at < 0:
                return -1
            is_whole = True
        while is_whole:  # the value, or what is open has nothing in it
            if depth == 0:
                return at
            at = behind_space(at, end)
            if at >= end:
                return -1
            if byte(at) == COMMA:
                at = behind_space(at + 1, end)
                break
            if byte(at) != (CLOSE if objects & 1 else _CLOSE_LIST):
                return -1
            at += 1
            depth -= 1
            objects >>= 1
        if objects & 1:
            if at >= end or byte(at) != QUOTE:
                return -1
            at, _ = _text(at + 1, end)
            if at < 0:
                return -1
            at = behind_space(at + 1, end)
            if at >= end or byte(at) != COLON:
                return -1
            at = behind_space(at + 1, end)


@compiled
def _key(at: int, end: int, base: int, keys: Any, count: int, guess: int) -> Any:
    """The number of a key that begins behind its quote, and where it ends; a new one is as large as there are keys.

    The guess is looked at first: most outputs have the same keys in the same order.
    """
    if guess < count:
        size = keys[guess, 1]
        if size < end - at and byte(at + size) == QUOTE and is_same(base + keys[guess, 0], at, size):
            return guess, at + size
    close, escaped = _text(at, end)
    if close < 0 or escaped:
        return -1, -1
    size, number = close - at, 0
    while number < count and not (keys[number, 1] == size and is_same(base + keys[number, 0], at, size)):
        number += 1
    return number, close


@compiled
def _read(buffer: Any, outputs: Any, fields: Any, keys: Any, count: int, met: Any, follows: Any) -> int:
    """Fill the fields; how many keys there are then.

    ``met``: by key, the last output that had it. ``follows``: by key, the one that came next last time, in front
    the one that came first.
    """
    base, field = address_of(buffer), 0
    for row in range(len(outputs) - 1):
        outputs[row, 2] = field
        at = base + outputs[row, 0]
        end = at + outputs[row, 1]
        at = behind_space(at, end)
        if at >= end or byte(at) != OPEN:
            continue
        begin, last, sound = field, 0, True
        while sound:
            at = behind_space(at + 1, end)  # behind the brace or a comma
            if at >= end or byte(at) != QUOTE:
                sound = at < end and byte(at) == CLOSE and field == begin
                break
            key_at = at + 1
            number, at = _key(key_at, end, base, keys, count, follows[last])
            if number < 0 or number == len(keys) or met[number] == row:
                sound = False
                break
            if number == count:
                keys[number, 0], keys[number, 1] = key_at - base, at - key_at
                count += 1
            met[number], follows[last] = row, number
            last = number + 1
            at = behind_space(at + 1, end)
            if at >= end or byte(at) != COLON:
                sound = False
                break
            value_at = behind_space(at + 1, end)
            if value_at < end and (byte(value_at) == OPEN or byte(value_at) == _OPEN_LIST):
                kind, value, at = LIST if byte(value_at) == _OPEN_LIST else OBJECT, value_at, _piece(value_at, end)
                size = at - value_at
            else:
                at, kind, value, size = _value(value_at, end)
            if at < 0:
                sound = False
                break
            fields[field, 0], fields[field, 1], fields[field, 3] = number, kind, size
            fields[field, 2] = value - base if kind >= TEXT else value
            field += 1
            at = behind_space(at, end)
            if at >= end or byte(at) != COMMA:
                sound = at < end and byte(at) == CLOSE
                break
        if sound and behind_space(at + 1, end) == end:
            outputs[row, 3] = 1
        else:
            field = begin
    outputs[len(outputs) - 1, 2] = field
    return count
