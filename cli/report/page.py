"""Page: a document as one HTML file that needs nothing else.

Law: no script, no address, no resource: the policy in the page forbids all of them, and allows the one style sheet
by its hash. The same document gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from paritygate.cli.report.charts import bar, gate_chart
from paritygate.cli.report.document import (
    TONES,
    Bar,
    Block,
    Cell,
    Code,
    Commands,
    Document,
    Facts,
    Gates,
    Items,
    Mark,
    Paragraph,
    Section,
    Table,
)
from paritygate.cli.report.elements import Html, element, style
from paritygate.rollouts.histories import GateHistory


def page(document: Document) -> str:
    """The whole file."""
    css = files("paritygate.cli").joinpath("report/page.css").read_text(encoding="utf-8")
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
        element("h1", document.title, " ", _mark(document.ending)),
        element("p", document.headline, class_="headline"),
    )
    links = [element("a", section.title, href=f"#part-{i}") for i, section in enumerate(document.sections, start=1)]
    sections = [_section(i, section) for i, section in enumerate(document.sections, start=1)]
    body = element("body", element("main", header, element("nav", *links), *sections))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _section(number: int, section: Section) -> Html:
    return element("section", element("h2", section.title), *map(_block, section.blocks), id=f"part-{number}")


def _block(block: Block) -> Html:
    match block:
        case Paragraph(text):
            return element("p", text)
        case Items(texts):
            return element("ol", *(element("li", text) for text in texts))
        case Commands(lines):
            return element("pre", element("code", "\n".join(lines)))
        case Facts(rows):
            pairs = [part for name, cell in rows for part in (element("dt", name), element("dd", _cell(cell)))]
            return element("dl", *pairs)
        case Gates(gates):
            return element("div", *map(_gate, gates), class_="gates")
        case Table():
            return _table(block)


def _table(table: Table) -> Html:
    head = [
        element("th", name, scope="col", **({"class_": "number"} if i in table.numeric else {}))
        for i, name in enumerate(table.columns)
    ]
    rows = [element("tr", *(_data(table, i, cell) for i, cell in enumerate(row))) for row in table.rows]
    return element(
        "div", element("table", element("thead", element("tr", *head)), element("tbody", *rows)), class_="wide"
    )


def _data(table: Table, place: int, cell: Cell) -> Html:
    """A cell with the name of its column, which the narrow layout shows; it leaves out empty ones."""
    told = {"number": place in table.numeric, "whole": place in table.whole, "empty": cell == ""}
    classes = [name for name, is_so in told.items() if is_so]
    attributes = {"class_": " ".join(classes)} if classes else {}
    return element("td", _cell(cell), data_label=table.columns[place], **attributes)


def _cell(cell: Cell) -> Html:
    match cell:
        case Mark():
            return _mark(cell)
        case Bar(ratio, text):
            return element("span", bar(ratio), element("span", text), class_="barred")
        case Code(text):
            return element("code", text)
        case _:
            return element("span", cell)


def _mark(mark: Mark) -> Html:
    word = element("strong", mark.text, class_=f"mark {mark.tone}")
    return element("span", word, f" {mark.after}") if mark.after else word


def _gate(history: GateHistory) -> Html:
    chart = gate_chart(history)
    told = history.declared if history.required else f"{history.declared}, advisory"
    return element(
        "article",
        element("h3", history.gate, " ", _mark(Mark(history.verdict))),
        element("p", told, class_="quiet"),
        element("p", "No value was ever measured.", class_="quiet") if chart is None else chart,
        element("p", history.reason),
        class_=f"gate {TONES.get(history.verdict, 'plain')}",
    )
