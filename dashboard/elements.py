"""Elements: HTML and SVG built as values, so that no text can become markup.

Law: what is not :class:`Html` is escaped, always; only :func:`element` makes ``Html``. Control characters and those
that turn the direction of writing are made visible.
"""

from __future__ import annotations

import re
from html import escape

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
#: Elements without an end.
_VOID = frozenset({"meta", "br", "link"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def visible(text: str) -> str:
    """``text`` with characters that hide or reorder others written out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def markup(content: str) -> Html:
    """``content`` as markup: itself if it is, else escaped."""
    return content if isinstance(content, Html) else Html(escape(visible(content)))


def element(name: str, /, *content: str, **attributes: str) -> Html:
    """One element. In names of attributes a trailing ``_`` is dropped and others become ``-``.

    :raises ValueError: a name that is none.
    """
    told = []
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if not _NAME.fullmatch(attribute):
            raise ValueError(f"no name of an attribute: {attribute!r}")
        told.append(f' {attribute}="{escape(visible(value))}"')
    opened = f"<{name}{''.join(told)}>"
    return Html(opened if name in _VOID else f"{opened}{''.join(map(markup, content))}</{name}>")


def style(css: str) -> Html:
    """A style sheet of ours; not for text from elsewhere.

    :raises ValueError: it would end its element.
    """
    if "</" in css:
        raise ValueError("a style sheet cannot hold '</'")
    return Html(f"<style>{css}</style>")
