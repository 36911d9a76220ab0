"""JSON as no writer writes it, but readers must take: any escapes, any white space, odd numbers."""

from __future__ import annotations

import json

from hypothesis import strategies as st

#: What is a number of JSON, sensible or not.
ODD_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,21})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
SPACES = st.sampled_from(["", "", "", "", " ", "\n  ", "\r\n\t"])
_SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@st.composite
def spelled(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text in quotes, each character as it is or in one of its escapes."""
    parts = []
    for character in draw(texts):
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        ways = [plain, plain, plain, json.dumps(character)[1:-1], _SHORT.get(character, plain)]
        if ord(character) < 0x10000:
            ways.append(f"\\u{ord(character):04X}")
        parts.append(draw(st.sampled_from(ways)))
    return '"' + "".join(parts) + '"'
