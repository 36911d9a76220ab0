"""The compiled parts of JSON agree with Python's own reader, and read nothing behind what they are given."""

from __future__ import annotations

import json
import random
import struct
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paritygate.schemas.arrays import U8
from paritygate.schemas.compiled import SPARE_BYTES, address, compiled
from paritygate.schemas.json_parts import double, text, whole
from tests.support.json_texts import ODD_NUMBERS, spelled


@compiled
def _double(buffer: Any, size: int) -> Any:
    bits, at = double(address(buffer), address(buffer) + size)
    return bits, at - address(buffer)


@compiled
def _whole(buffer: Any, size: int) -> Any:
    number, at = whole(address(buffer), address(buffer) + size)
    return number, at - address(buffer)


@compiled
def _text(buffer: Any, copied: Any, at: int, size: int) -> Any:
    begin = address(buffer) + at
    found, close = text(begin, begin + size, address(copied) - address(buffer))
    return found, (close - begin if close >= 0 else -1)


def buffer_of(raw: bytes, behind: bytes = b"") -> U8:
    return np.frombuffer(raw + behind + bytes(SPARE_BYTES), np.uint8)


def bits_of(number: float) -> int:
    return int.from_bytes(struct.pack("<d", number), "little")


@settings(max_examples=400)
@given(
    ODD_NUMBERS | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from([b"", b"1", b"e1", b"."]),
)
@example("9007199254740993", b"")
@example("2.2250738585072014e-308", b"")
@example("0.1e-23", b"")
def test_a_number_is_the_nearest_double_or_left_to_another_reader(number: str, behind: bytes) -> None:
    """To the last bit as Python reads it; what follows is not looked at."""
    raw = number.encode()
    bits, size = _double(buffer_of(raw, behind), len(raw))

    if size > 0:
        assert size == len(raw)
        assert bits == bits_of(float(number))


def test_numbers_as_events_carry_them_are_read() -> None:
    """None of them is left to another reader."""
    rng = random.Random(1)
    for _ in range(2_000):
        latency = rng.lognormvariate(3, 2)
        small = rng.random() * 1e-9
        for number in (latency, round(latency, 2), rng.random(), small, -latency, rng.randint(0, 10**15)):
            raw = json.dumps(number).encode()
            assert _double(buffer_of(raw), len(raw)) == (bits_of(number), len(raw))


@given(ODD_NUMBERS | st.integers(0, 10**19).map(str))
def test_a_whole_number_is_digits_alone(number: str) -> None:
    """Up to eighteen of them, without a zero in front; of others nothing, or what stands before a point."""
    raw = number.encode()
    found, size = _whole(buffer_of(raw), len(raw))

    plain = number.partition(".")[0].lower().partition("e")[0]
    if not plain.isdigit() or len(plain) > 18 or (len(plain) > 1 and plain[0] == "0"):
        assert size < 0
    else:
        assert (found, size) == (int(plain), len(plain))


ODD_PARTS = [
    b"\\", b"u", b"d83d", b"\\ude00", b"\\ud83d", b'\\"', b"\\n", b"\\x", b"abcdefgh", b"\xc3", b"\xbc", b"\n",
    b"\x7f", b"\\u00fc", b"\\u20AC", b"0", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
]  # fmt: skip
BODIES = st.one_of(
    spelled(st.text(max_size=30)).map(lambda quoted: quoted[1:-1].encode("utf-8", "surrogatepass")),
    st.lists(
        st.sampled_from(ODD_PARTS),
        max_size=8,
    ).map(b"".join),
    st.binary(max_size=20),
)


def first_text(raw: bytes) -> tuple[bytes, int] | None:
    """The text at the begin of some JSON as Python reads it, and where its closing quote lies."""
    for at in range(1, len(raw)):
        with suppress(ValueError):
            return json.loads(raw[: at + 1].decode()).encode(), at
    return None


@settings(max_examples=500)
@given(BODIES, st.sampled_from([b'"', b'",', b'"}' + b"x" * 20, b""]), st.binary(max_size=12))
@example(b"\\ud83d\\ude00", b'"', b"")
@example(b"\\u12", b"", b'34"')
@example(b"\\", b"", b'"')
def test_a_text_is_what_python_reads(body: bytes, close: bytes, behind: bytes) -> None:
    """Escapes are resolved in the copy; where it is no text or does not end in time, there is none.

    No byte from the closing quote on changes, nor any before the text.
    """
    raw = b'"' + body + close
    buffer = buffer_of(raw, behind)
    copied = buffer.copy()
    size, end = _text(buffer, copied, 1, len(raw) - 1)
    expected = first_text(raw)
    if expected is None:
        assert end < 0
        assert copied[len(raw) :].tobytes() == buffer[len(raw) :].tobytes()
        return
    assert (copied[1 : 1 + size].tobytes(), 1 + end) == expected
    assert copied[1 + end :].tobytes() == buffer[1 + end :].tobytes()
