"""Document: the blocks that a report is made of, so that page and Markdown hold the same content.

Law: text in a block is plain text, whoever wrote it; how it is escaped is the matter of what writes it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.rollouts.histories import GateHistory

#: What a word means: good, bad, undecided, or nothing of these.
GOOD, BAD, OPEN, PLAIN = "good", "bad", "open", "plain"
TONES = {
    "pass": GOOD, "fail": BAD, "inconclusive": OPEN, "error": OPEN,
    "promote": GOOD, "rollback": BAD, "hold": PLAIN,
    "promoted": GOOD, "rolled back": BAD, "paused": OPEN, "running": PLAIN,
    "fresh": GOOD, "stale": BAD, "away": BAD, "quiet": PLAIN, "behind": OPEN, "worse": BAD,
    "killed": BAD, "breaker": BAD, "lapsed": OPEN,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with a tone; ``after`` follows it plainly."""

    text: str
    after: str = ""

    @property
    def tone(self) -> str:
        """How the word is meant."""
        return TONES.get(self.text, PLAIN)


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of the largest, 0..1, with its words."""

    ratio: float
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text that is to be read letter by letter: an id, a digest, a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Text that leads to another place on the same server.

    :raises ValueError: the path could lead elsewhere.
    """

    text: str
    path: str

    def __post_init__(self) -> None:
        if not self.path.startswith(("/", "#")) or self.path.startswith(("//", "/\\")):
            raise ValueError(f"no path of this server: {self.path!r}")


@dataclass(frozen=True, slots=True)
class When:
    """An instant in epoch milliseconds, None where it is not known."""

    at_ms: int | None


Cell = str | Mark | Bar | Code | Link | When


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or two."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what belongs to them."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; ``numeric``: places of columns of numbers, ``whole``: of those that are not broken."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Items:
    """A numbered list."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gates:
    """Gates with their histories."""

    gates: tuple[GateHistory, ...]


@dataclass(frozen=True, slots=True)
class Commands:
    """Lines for a shell."""

    lines: tuple[str, ...]


Block = Paragraph | Facts | Table | Items | Gates | Commands


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report: the title, how it ended, why, and the sections."""

    title: str
    ending: Mark
    headline: str
    sections: tuple[Section, ...]
