"""Page: a document as one HTML file that needs nothing else.

Law: no script, no address, no resource: the policy in the page forbids all of them, and allows the one style sheet
by its hash. The same document gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from paritygate.dashboard.blocks import block, mark_html
from paritygate.dashboard.document import Document, Section
from paritygate.dashboard.elements import Html, element, style


def page(document: Document) -> str:
    """The whole file."""
    css = files("paritygate.dashboard").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{document.title}: {document.ending.text}"),
        style(css),
    )
    header = element(
        "header",
        element("p", "paritygate review", class_="kicker"),
        element("h1", document.title, " ", mark_html(document.ending)),
        element("p", document.headline, class_="headline"),
    )
    links = [element("a", section.title, href=f"#part-{i}") for i, section in enumerate(document.sections, start=1)]
    sections = [_section(i, section) for i, section in enumerate(document.sections, start=1)]
    body = element("body", element("main", header, element("nav", *links), *sections))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _section(number: int, section: Section) -> Html:
    return element("section", element("h2", section.title), *map(block, section.blocks), id=f"part-{number}")
