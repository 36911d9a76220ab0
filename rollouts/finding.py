"""Finding: one problem of a plan that can be read, its place in the file, and the common mistake that it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from paritygate.rollouts.yaml_source import Path, YamlSource, dotted


@unique
class Mistake(StrEnum):
    """The common mistakes of rollouts, in words."""

    NO_SHADOW = "no shadow stage"
    NO_SEGMENTS = "no per-segment analysis"
    NO_VALIDATION = "no output validation"
    NO_WARM_ROLLBACK = "no warm rollback path"
    TOO_QUICK = "promoting too quickly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem. ``path``: keys from the root of the plan. ``refused``: the plan is not to begin as it is.

    ``mistake``: the common mistake that it is; None where it is a fault of this plan alone.
    """

    path: Path
    what: str
    refused: bool
    mistake: Mistake | None = None

    def line(self, source: YamlSource) -> str:
        """``file:line:column path: mistake: what``; warnings say so."""
        line, column = source.place_of_value(self.path)
        place = f"{source.file}:{line}:{column}" if line else source.file
        return f"{place} {dotted(self.path)}: {'' if self.refused else 'warning: '}{self.said}"

    @property
    def said(self) -> str:
        """What it is, the mistake first."""
        return self.what if self.mistake is None else f"{self.mistake}: {self.what}"


def refuse(path: Path, what: str, mistake: Mistake | None = None) -> Finding:
    """A finding that stops the plan."""
    return Finding(path=path, what=what, refused=True, mistake=mistake)


def warn(path: Path, what: str, mistake: Mistake | None = None) -> Finding:
    """A finding that may only be unwise."""
    return Finding(path=path, what=what, refused=False, mistake=mistake)
