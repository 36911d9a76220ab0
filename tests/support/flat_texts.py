"""Texts that are, or nearly are, one JSON object of plain values, as models of all kinds write them."""

from __future__ import annotations

import json

from hypothesis import strategies as st

NUMBERS = (
    "0", "1", "-1", "1.0", "1.00", "0.5", "5e-1", "1e3", "1E+3", "1000", "-0", "-0.0", "0e5", "0.1", "0.10", "27.0",
    "9007199254740992", "9007199254740993", "9007199254740993.0", "18446744073709551615", "18446744073709551616",
    "9223372036854775808", "-9223372036854775808", "0.30000000000000004", "0.3000000000000000444", "0.3",
    "1.7976931348623157e308", "5e-324", "1e288", "1e289", "1e999", "1e-999",
    "0.9999999999999999", "1.0000000000000002",
    "0.99999999999999999999", "0" * 30 + "1", "0." + "0" * 30 + "1", "1" + "0" * 40, "100000000000000000000e-20",
    "8.5e-08", "0.50000000000000000", "123.4000000000000000000", "10.0",
    "123456789012345678", "0.1234567890123456789",
)  # fmt: skip
NO_NUMBERS = ("01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity", "1 2", "--1", "1_0")
TEXTS = (
    '""', '"yes"', '"no"', '"no "', '"y\\u0065s"', '"\\u00c5"', '"Å"', '"A\u030a"', '"\\ud83d\\ude00"', '"😀"',
    '"\\ud800"', '"\\n"', '"a\\\\"', '"\\\\"', '"\\""', '"\\x"', '"\\u12g4"', '"\\', '"\t"', '"\x00"', '"\x7f"',
    '"ends', '"eight777"', '"nine88888"', '"eight777"\\', "'yes'", '"\u2028"',
)  # fmt: skip
OTHERS = (
    "true",
    "false",
    "null",
    "True",
    "nul",
    "[]",
    "{}",
    "[1]",
    '{"x":1}',
    "[1,]",
    "",
    "truefalse",
    "nulll",
    "[[],{}]",
    '[ 1 , "]" ]',
    '{"x":1,"x":2}',
    '{"x" : [ ] }',
    "[1e999]",
    '["\\ud800"]',
    "[nul]",
    "[" * 40 + "]" * 40,
)
VALUES = (
    st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.sampled_from((*NO_NUMBERS, *OTHERS))
    | st.floats().map(repr) | st.integers(-(2**65), 2**65).map(str)
    | st.text('[]{},:"a1 ', max_size=8) | st.text('[]{},', max_size=6).map(lambda text: f"[{text}]")
    | st.decimals(-1, 2, allow_nan=False, allow_infinity=False).map(str)
)  # fmt: skip
NESTED = st.recursive(
    st.sampled_from([None, True, 1, 0.5, "a", "]", '"', "Å"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "}", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
).map(json.dumps)
PLAIN = NESTED | st.sampled_from(NUMBERS[:20]) | st.sampled_from(TEXTS[:9]) | st.sampled_from(OTHERS[:3])
SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r ", "\x0b", "\u00a0"])


@st.composite
def flat_texts(draw: st.DrawFn, keys: st.SearchStrategy[str]) -> str:
    """An object with some keys, perhaps twice, with odd values, spaces, and perhaps cut off."""
    names = draw(st.lists(keys, max_size=5, unique=draw(st.booleans())))
    values = draw(st.sampled_from([PLAIN, PLAIN, VALUES]))
    space = draw(SPACE)
    fields = [f'{space}"{name}"{space}:{space}{draw(values)}{space}' for name in names]
    text = f"{space}{{{','.join(fields)}}}{space}"
    cut = draw(st.integers(0, 20 * len(text)))
    return text[:cut] + draw(st.sampled_from(["", "", "", "", "}", "x", ","]))
