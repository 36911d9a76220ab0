"""Verdict: what a gate says, and how verdicts combine.

Law: four words, from best to worst: pass, inconclusive, error, fail. Gates combine by worst-of over the
required ones. Nothing that could not be measured is ever a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique


@unique
class VerdictKind(StrEnum):
    """What a gate can say."""

    PASS = "pass"  # noqa: S105  proven within the limit
    INCONCLUSIVE = "inconclusive"  # not enough evidence either way
    ERROR = "error"  # could not be measured
    FAIL = "fail"  # proven beyond the limit


ORDER: tuple[VerdictKind, ...] = (
    VerdictKind.PASS,
    VerdictKind.INCONCLUSIVE,
    VerdictKind.ERROR,
    VerdictKind.FAIL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One gate's answer.

    ``reason``: one sentence with the numbers. ``reason_code``: a stable word for machines
    (``proven``, ``breached``, ``more_data``, ``no_data``, ``environment``, …). ``segment``: ``all``, or
    ``dimension=value & dimension=value`` for the worst segment. ``numbers``: value, limit, counts, e-values
    (natural logs: ``log_e_bad``, ``log_e_ok``) and, where known, ``more_needed``.
    """

    gate: str
    kind: VerdictKind
    reason: str
    reason_code: str
    required: bool = True
    segment: str = "all"
    numbers: Mapping[str, float | int | None] = field(default_factory=dict)


def worst(kinds: Iterable[VerdictKind]) -> VerdictKind:
    """The worst of some verdicts; ``INCONCLUSIVE`` of none (no gate is no proof)."""
    found = [ORDER.index(o) for o in kinds]
    return ORDER[max(found)] if found else VerdictKind.INCONCLUSIVE
