"""What a check of ``paritygate doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of the doctor."""

    name: str
    result: Result
    detail: str
    mend: str = ""
