"""What the command line prints: data to stdout, everything else to stderr.

Law: with ``--json`` stdout holds JSON and nothing else, one document or one per line. Text from records goes
out as it is: no terminal control characters, no console markup.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Control characters (a record may carry an escape sequence that clears the auditor's screen).
_CONTROL = {c: f"\\x{c:02x}" for c in (*range(0x20), *range(0x7F, 0xA0)) if c not in (0x09,)}


def clean(text: str) -> str:
    """``text`` on one line with control characters made visible."""
    return text.translate(_CONTROL)


def print_line(text: str) -> None:
    """One line to stdout, at once, so that ``paritygate tail --follow | grep`` works."""
    sys.stdout.write(f"{clean(text)}\n")
    sys.stdout.flush()


def print_json(data: Any, *, indent: bool = True) -> None:
    """One JSON document to stdout; ``indent=False`` for one per line."""
    import orjson  # noqa: PLC0415  (only verbs that print JSON pay for it)

    option = orjson.OPT_INDENT_2 if indent else 0
    sys.stdout.write(orjson.dumps(data, option=option).decode() + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line to stderr: progress and warnings."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()


def console() -> Console:
    """A rich console on stdout, for tables. In a pipe it is wide: nothing must be cut for a screen not there."""
    from rich.console import Console  # noqa: PLC0415

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240)


def new_table(*columns: str) -> Table:
    """A plain table: the first column stays whole, the others fold; nothing is cut."""
    from rich.table import Column, Table  # noqa: PLC0415

    first, *others = columns
    return Table(
        Column(first, no_wrap=True), *(Column(c, overflow="fold") for c in others), box=None, pad_edge=False
    )
