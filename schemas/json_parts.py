"""JSON parts: compiled functions that read a text or a number of JSON where it lies.

Law: what one of them takes, any reader of JSON takes, as the same characters and the same ``double``; what it does
not take may be JSON all the same. What lies from ``end`` on makes no difference. Source: RFC 8259.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from paritygate.schemas.compiled import byte, compiled, decimal, is_utf8, put, word, zeros_behind

QUOTE, COMMA, COLON, OPEN, CLOSE = (ord(c) for c in '",:{}')
_BACKSLASH, _SLASH, _MINUS, _PLUS, _POINT, _ZERO, _NINE = (ord(c) for c in "\\/-+.09")
_B, _E, _F, _N, _R, _T, _U = (ord(c) for c in "befnrtu")
#: Digits that 64 bits hold, and those of a power of ten that are looked at.
_MAX_DIGITS: Final = 19
_MAX_POWER_DIGITS: Final = 3
_EVERY: Final = 0x0101010101010101


@compiled
def behind_space(at: int, end: int) -> int:
    """Where white space ends."""
    while at < end:
        sign = byte(at)
        if sign > 0x20 or not (sign == 0x20 or sign == 0x0A or sign == 0x0D or sign == 0x09):  # noqa: PLR1714
            break
        at += 1
    return at


@compiled
def special_in(words: Any) -> Any:
    """A bit at the first byte that is a quote, a backslash or a control; and perhaps bits above."""
    quote = words ^ np.uint64(QUOTE * _EVERY)
    slash = words ^ np.uint64(_BACKSLASH * _EVERY)
    found = (quote - np.uint64(_EVERY)) & ~quote
    found |= (slash - np.uint64(_EVERY)) & ~slash
    found |= (words - np.uint64(0x20 * _EVERY)) & ~words
    return found & np.uint64(0x80 * _EVERY)


@compiled
def text(at: int, end: int, copy: int) -> Any:
    """The text that begins behind a quote: its bytes, and where its closing quote lies, -1 where it is none.

    Escapes are resolved in a copy of the buffer that lies ``copy`` bytes further, where nothing else is changed.
    """
    begin, met = at, np.uint64(0)
    while at < end:
        words = word(at)
        special = special_in(words)
        met |= words
        if special == np.uint64(0):
            at += 8
            continue
        at += zeros_behind(special) >> 3
        if at >= end or byte(at) < 0x20:
            break
        size, close = at - begin, at
        if byte(at) == _BACKSLASH:
            size, close = _unescaped(begin, at, end, copy)
        if close >= 0 and met & np.uint64(0x80 * _EVERY) != np.uint64(0) and not is_utf8(begin, at - begin):
            break
        return size, close
    return 0, -1


@compiled
def _unescaped(begin: int, at: int, end: int, copy: int) -> Any:
    """The rest of a text from its first backslash on; see :func:`text`.

    Whole words are written, and what they spoil is mended behind the last: what is not yet read is as it was.
    """
    to, close = at + copy, -1
    while end - at >= 2:
        # At a backslash.
        sign, after = byte(at + 1), at + 2
        if sign == QUOTE or sign == _BACKSLASH or sign == _SLASH:  # noqa: PLR1714, SIM109  no set in compiled code
            units, count = sign, 1
        elif sign == _U:
            units, count, after = _character(after, end)
        else:
            units, count = _control(sign), 1
        if units < 0:
            break
        put(to, np.uint64(units))
        at, to = after, to + count
        run, met, count = at, np.uint64(0), 8
        while count == 8 and at < end:
            words = word(at)
            special = special_in(words)
            met |= words
            count = 8 if special == np.uint64(0) else zeros_behind(special) >> 3
            put(to, words)
            at, to = at + count, to + count
        if at >= end or (met & np.uint64(0x80 * _EVERY) != np.uint64(0) and not is_utf8(run, at - run)):
            break
        if byte(at) != _BACKSLASH:
            close = at if byte(at) == QUOTE else -1
            break
    at = min(at, end)
    put(at + copy, word(at))
    return to - copy - begin, close


@compiled
def _control(sign: int) -> int:
    if sign == _N:
        return 0x0A
    if sign == _T:
        return 0x09
    if sign == _R:
        return 0x0D
    if sign == _B:
        return 0x08
    return 0x0C if sign == _F else -1


@compiled
def hexadecimal(at: int) -> int:
    """Four hexadecimal digits; -1 where they are none."""
    found = 0
    for place in range(at, at + 4):
        digit = byte(place)
        if _ZERO <= digit <= _NINE:
            found = found * 16 + digit - _ZERO
        elif 0x61 <= digit | 0x20 <= 0x66:
            found = found * 16 + (digit | 0x20) - 0x57
        else:
            return -1
    return found


@compiled
def _character(at: int, end: int) -> Any:
    r"""The character that four digits behind ``\u`` name, or eight in two halves: its bytes, -1 where it is none.

    And how many bytes it has, and where it ends in the JSON.
    """
    point = hexadecimal(at) if end - at >= 4 else -1
    at += 4
    if 0xD800 <= point < 0xE000:
        is_whole = point < 0xDC00 and end - at >= 6 and byte(at) == _BACKSLASH and byte(at + 1) == _U
        low = hexadecimal(at + 2) if is_whole else -1
        point = 0x10000 + ((point - 0xD800) << 10) + low - 0xDC00 if 0xDC00 <= low < 0xE000 else -1
        at += 6
    if point < 0x80:
        return point, 1, at
    if point < 0x800:
        return 0x80C0 | point >> 6 | (point & 0x3F) << 8, 2, at
    if point < 0x10000:
        return 0x8080E0 | point >> 12 | (point >> 6 & 0x3F) << 8 | (point & 0x3F) << 16, 3, at
    units = 0x808080F0 | point >> 18 | (point >> 12 & 0x3F) << 8 | (point >> 6 & 0x3F) << 16 | (point & 0x3F) << 24
    return units, 4, at


@compiled
def digits(at: int, end: int, number: Any, count: Any) -> Any:
    """More digits of a number: where they end, the number, and how many digits it has without leading zeros."""
    while at < end and _ZERO <= byte(at) <= _NINE:
        number = number * np.uint64(10) + np.uint64(byte(at) - _ZERO)
        count += count > 0 or number != np.uint64(0)
        at += 1
    return at, number, count


@compiled
def whole(at: int, end: int) -> Any:
    """A number of digits alone, and where it ends; -1 where it is none or too large."""
    begin = at
    at, number, count = digits(at, end, np.uint64(0), np.int64(0))
    if at == begin or count >= _MAX_DIGITS or (byte(begin) == _ZERO and at - begin > 1):
        return 0, -1
    return np.int64(number), at


@compiled
def double(at: int, end: int) -> Any:
    """The bits of the ``double`` nearest to a number, and where it ends; -1 where there is none or it is too long.

    A whole zero with a sign is none: readers differ.
    """
    none, sign = (np.uint64(0), -1), np.uint64(0)
    if at < end and byte(at) == _MINUS:
        sign = np.uint64(1) << np.uint64(63)
        at += 1
    first, power = at, 0
    at, number, count = digits(at, end, np.uint64(0), np.int64(0))
    if at == first or (byte(first) == _ZERO and at - first > 1):
        return none
    if at < end and byte(at) == _POINT:
        begin = at + 1
        at, number, count = digits(begin, end, number, count)
        if at == begin:
            return none
        power = begin - at
    if count > _MAX_DIGITS:
        return none
    if at < end and byte(at) | 0x20 == _E:
        at += 1
        is_below = at < end and byte(at) == _MINUS
        if is_below or (at < end and byte(at) == _PLUS):
            at += 1
        begin = at
        at, tens, _ = digits(at, end, np.uint64(0), np.int64(0))
        if at == begin or at - begin > _MAX_POWER_DIGITS:
            return none
        shift: Any = np.int64(tens)
        power += -shift if is_below else shift
    if sign != np.uint64(0) and at == first + 1 and number == np.uint64(0):
        return none
    bits, is_certain = decimal(number, power)
    return (bits | sign, at) if is_certain else none
