"""Markdown: the same document for a pull request, a ticket or a terminal.

Law: text cannot become markup: what Markdown or HTML would read is escaped, and a cell never ends its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from paritygate.dashboard.document import (
    Bar,
    Block,
    Cell,
    Code,
    Commands,
    Document,
    Facts,
    Gates,
    Items,
    Link,
    Mark,
    Paragraph,
    Table,
    When,
)
from paritygate.dashboard.elements import visible
from paritygate.dashboard.words import amount
from paritygate.gates.reasons import UNKNOWN, instant
from paritygate.rollouts.histories import GateHistory

_MARKUP = re.compile(r"([\\`*_\[\]|~]|:(?=//)|\.(?<=www\.))")
#: What begins a heading, a list, a quotation or a rule where it stands first.
_FIRST = re.compile(r"^(\d*)([#+>=.)-])")


def markdown(document: Document) -> str:
    """The whole file."""
    lines = [f"# {plain(document.title)}: {_cell(document.ending)}", "", plain(document.headline)]
    for section in document.sections:
        lines += ["", f"## {plain(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """``text`` as text on one line."""
    escaped = visible(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    return _FIRST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", escaped))


def _code(text: str) -> str:
    """A code span; one with backticks is fenced by more of them. A bar is escaped, or it would end a cell."""
    told = visible(" ".join(text.split())).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", told)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{told}{pad}{fence}" if told else ""


def _cell(cell: Cell) -> str:
    match cell:
        case Mark(text, after):
            return f"**{plain(text)}** {plain(after)}".rstrip()
        case Bar(_, text):
            return plain(text)
        case Code(text):
            return _code(text)
        case Link(text):
            return plain(text)
        case When(at_ms):
            return UNKNOWN if at_ms is None else instant(at_ms)
        case _:
            return plain(cell)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield plain(text)
        case Items(texts):
            yield from (f"{i}. {plain(text)}" for i, text in enumerate(texts, start=1))
        case Commands(lines):
            yield from ("```sh", *lines, "```")
        case Facts(rows):
            yield from (f"* {plain(name)}: {_cell(cell)}" for name, cell in rows)
        case Gates(gates):
            yield from _gates(gates)
        case Table():
            yield from _rows(block.columns, block.rows, block.numeric)


def _rows(columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], numeric: tuple[int, ...]) -> Iterator[str]:
    yield f"| {' | '.join(map(plain, columns))} |"
    yield f"|{'|'.join('---:' if i in numeric else '---' for i in range(len(columns)))}|"
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _gates(gates: tuple[GateHistory, ...]) -> Iterator[str]:
    columns = ("gate", "declared", "verdict", "value at the end", "bounds", "why")
    rows: list[tuple[Cell, ...]] = []
    for g in gates:
        last = g.points[-1]
        bounds = f"{amount(last.low, g.unit)} to {amount(last.high, g.unit)}" if last.low is not None else ""
        told = g.declared if g.required else f"{g.declared}, advisory"
        rows.append((g.gate, told, Mark(g.verdict), amount(last.value, g.unit), bounds, g.reason))
    yield from _rows(columns, tuple(rows), (3, 4))
