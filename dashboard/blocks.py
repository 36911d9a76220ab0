"""Blocks: what a page is made of, as HTML.

Law: text is escaped, whoever wrote it; only :mod:`paritygate.dashboard.elements` makes markup.
"""

from __future__ import annotations

from paritygate.dashboard.charts import bar, gate_chart
from paritygate.dashboard.document import (
    TONES,
    Bar,
    Block,
    Cell,
    Code,
    Commands,
    Facts,
    Gates,
    Items,
    Link,
    Mark,
    Paragraph,
    Table,
    When,
)
from paritygate.dashboard.elements import Html, element
from paritygate.gates.reasons import UNKNOWN, instant
from paritygate.rollouts.histories import GateHistory


def block(given: Block) -> Html:
    """One block."""
    match given:
        case Paragraph(text):
            return element("p", text)
        case Items(texts):
            return element("ol", *(element("li", text) for text in texts))
        case Commands(lines):
            return element("pre", element("code", "\n".join(lines)))
        case Facts(rows):
            pairs = [part for name, cell in rows for part in (element("dt", name), element("dd", cell_html(cell)))]
            return element("dl", *pairs)
        case Gates(gates):
            return element("div", *map(_gate, gates), class_="gates")
        case Table():
            return _table(given)


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
    return element("td", cell_html(cell), data_label=table.columns[place], **attributes)


def cell_html(cell: Cell) -> Html:
    """What stands in one cell."""
    match cell:
        case Mark():
            return mark_html(cell)
        case Bar(ratio, text):
            return element("span", bar(ratio), element("span", text), class_="barred")
        case Code(text):
            return element("code", text)
        case Link(text, path):
            return element("a", text, href=path)
        case When(at_ms):
            return when_html(at_ms)
        case _:
            return element("span", cell)


def when_html(at_ms: int | None) -> Html:
    """An instant; the page's module adds how long ago it was."""
    if at_ms is None:
        return element("span", UNKNOWN)
    return element("time", instant(at_ms), datetime=instant(at_ms), class_="when")


def mark_html(mark: Mark) -> Html:
    """A word in its tone."""
    word = element("strong", mark.text, class_=f"mark {mark.tone}")
    return element("span", word, f" {mark.after}") if mark.after else word


def _gate(history: GateHistory) -> Html:
    chart = gate_chart(history)
    told = history.declared if history.required else f"{history.declared}, advisory"
    return element(
        "article",
        element("h3", history.gate, " ", mark_html(Mark(history.verdict))),
        element("p", told, class_="quiet"),
        element("p", "No value was ever measured.", class_="quiet") if chart is None else chart,
        element("p", history.reason),
        class_=f"gate {TONES.get(history.verdict, 'plain')}",
    )
