"""Outputs that are one object of plain values: what the compiled reader finds is what a JSON reader finds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.flat import (
    ESCAPED,
    FALSE,
    INTEGER,
    LIST,
    MAX_OTHER_KEYS,
    NULL,
    OBJECT,
    REAL,
    TEXT,
    TRUE,
    Flat,
    Names,
)
from paritygate.schemas.texts import Texts
from tests.support.flat_texts import flat_texts

NAMES = Names.of(("prediction", 'say "a"', "", "x", "\ud800"), ("an option",))
KEYS = st.sampled_from(["prediction", "confidence", "x", "", "Å", "\\u0061", "a", 'a"', "eight888", "nine99999"])


def fields(flat: Flat, row: int) -> dict[str, Any]:
    """One flat output, out of the columns."""
    found: dict[str, Any] = {}
    raw = flat.buffer.tobytes()
    for key, kind, value, size in flat.fields[flat.outputs[row, 2] : flat.outputs[row + 1, 2]].tolist():
        number = struct.unpack("<d", struct.pack("<q", value))[0]
        plain = {NULL: None, FALSE: False, TRUE: True, INTEGER: number, REAL: number}
        text = raw[value : value + size].decode() if kind in (TEXT, ESCAPED) else ""
        at, length = flat.keys[key].tolist()
        if kind in (LIST, OBJECT):
            plain[kind] = orjson.loads(raw[value : value + size])
        found[raw[at : at + length].decode()] = (
            plain[kind] if kind in plain else orjson.loads(f'"{text}"') if kind == ESCAPED else text
        )
    return found


def as_read(value: Any) -> Any:
    """A value with its type; numbers as the ``double`` that they are, minus zero apart from zero."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number", float(value), type(value) is float and str(value).startswith("-")
    return type(value), value


def told(value: dict[str, Any]) -> dict[str, Any]:
    return {key: as_read(one)[:2] for key, one in value.items()}


@settings(max_examples=600, derandomize=True, deadline=None)
@given(texts=st.lists(flat_texts(KEYS), max_size=6))
def test_what_is_flat_is_read_to_the_last_bit(texts: list[str]) -> None:
    """Keys, types, numbers and texts are those of the JSON reader, in the same order."""
    flat = Flat.read(Texts.of(texts), NAMES)

    for row in np.flatnonzero(flat.plain).tolist():
        value = orjson.loads(texts[row])
        assert list(told(fields(flat, row)).items()) == list(told(value).items())


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    values=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "prediction", "Å", "c" * 9]),
            st.none()
            | st.booleans()
            | st.text(max_size=9)
            | st.integers(-(2**50), 2**50)
            | (st.floats(1e-200, 1e14) | st.floats(1e17, 1e200)).map(lambda number: float(f"{number:.14g}")),
        ),
        max_size=6,
    ),
    spaced=st.booleans(),
)
def test_plain_objects_are_flat(values: list[dict[str, Any]], spaced: bool) -> None:
    """What a JSON writer makes of an object of plain values is not left to others."""
    texts = [orjson.dumps(value, option=orjson.OPT_INDENT_2 if spaced else 0).decode() for value in values]

    assert Flat.read(Texts.of(texts), NAMES).plain.all()


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"a":[01]}', '{"a":{1}}', '{"a":{"b"}}', '{"a":[1,]}', '{"a":[,1]}', '{"a":[}',
        '{"a":{]}', '{"a":[1 2]}', '{"a":{"b":1,}}', '{"a":' + "[" * 33 + "]" * 33 + "}", '{"\\u0061":1}',
        "{", '{"a"}', '{"a":1,}', "[]", "1", "",
        '{"a":"\\ud83d\\ude00"}', '{"a":12345678901234567890}', '{"a":1e-289}', '{"a":1}}', '{"a":1}\x00',
    ],
)  # fmt: skip
def test_anything_else_is_left_to_others(text: str) -> None:
    """Also where JSON could say more of it."""
    assert not Flat.read(Texts.of([text]), NAMES).plain.any()


def test_keys_beyond_the_bound_are_left_to_others() -> None:
    """A hostile batch with new keys in each output has a bounded table of them."""
    texts = [f'{{"k{number}":1}}' for number in range(MAX_OTHER_KEYS + 2)]
    flat = Flat.read(Texts.of([*texts, '{"x":1}']), NAMES)

    assert flat.plain.tolist() == [True] * MAX_OTHER_KEYS + [False] * 2 + [True]
