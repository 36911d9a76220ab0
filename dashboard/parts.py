"""Parts: the named pieces of a page. What changes is pushed part by part.

Law: a part is a function of what it shows; equal content is equal bytes, so that nothing is pushed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.dashboard.blocks import block
from paritygate.dashboard.document import Block
from paritygate.dashboard.elements import Html, element
from paritygate.gates.reasons import instant

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a page: ``html`` is an element whose id is ``name``."""

    name: str
    html: Html


def part(name: str, title: str, *content: Html | Block, link: tuple[str, str] | None = None) -> Part:
    """A section with a heading; ``link``: text and path of a line at its end."""
    told = [c if isinstance(c, Html) else block(c) for c in content]
    if link is not None:
        told.append(element("p", element("a", link[0], href=link[1]), class_="more"))
    heading = element("h2", title, id=f"{name}-title")
    return Part(name, element("section", heading, *told, id=name, aria_labelledby=f"{name}-title"))


def notices(complaints: Sequence[str]) -> Part:
    """What is stale; an empty region that is announced when something comes into it."""
    lines = [element("p", text) for text in complaints]
    return Part("notices", element("div", *lines, id="notices", class_="notices", role="status"))


def page(
    title: str,
    parts: Sequence[Part],
    *,
    trail: Sequence[tuple[str, str]],
    now_ms: int,
    events: str = "",
    version: str = "",
) -> str:
    """The whole document. ``trail``: text and path of the pages above; ``events``: where changes are pushed."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title} · paritygate"),
        element("link", rel="stylesheet", href="/static/page.css"),
        element("link", rel="stylesheet", href="/static/live.css"),
        element("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        element("script", src="/static/page.js", type="module"),
    )
    crumbs = [element("a", text, href=path) for text, path in trail]
    bar = element(
        "header",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("nav", element("strong", "paritygate"), *crumbs, aria_label="You are here", class_="trail"),
        element("span", "", id="connection", class_="connection", role="status"),
        class_="top",
    )
    main = element("main", *(p.html for p in parts), id="content", tabindex="-1")
    told = {"data_events": events, "data_version": version} if events else {}
    body = element("body", bar, main, data_now=instant(now_ms), **told)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
