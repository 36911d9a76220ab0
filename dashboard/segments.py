"""Segments: where the candidate is worse, ranked, and one segment's counts by themselves.

Law: only what the gates flagged is marked; the order of the rest is description. It is the largest surplus of the
candidate's bad ones over the baseline's on the same requests, in standard errors of chance, so that a small segment
with one failure does not stand above a large one with hundreds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.tally import INDEX, Tally
from paritygate.gates.assess import SegmentFinding
from paritygate.gates.segments import SegmentTable
from paritygate.rollouts.regression import Sample

#: Rows of the whole ranking; what comes after is counted, not shown.
MOST: Final = 1000
#: Pairs in which one arm alone was bad: (candidate only, baseline only).
_PAIRED: Final = (
    ("candidate_only_errors", "baseline_only_errors"),
    ("candidate_only_invalid", "baseline_only_invalid"),
    ("slower", "faster"),
)
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One segment: its dimensions and counts, how far from chance, what the gates say of it (empty: nothing)."""

    name: str
    where: tuple[tuple[str, str], ...]
    requests: int
    baseline_errors: int
    candidate_errors: int
    candidate_invalid: int
    label_changes: int
    labels_compared: int
    slower: int
    faster: int
    surplus: float
    finding: str = ""


def ranking(tally: Tally, findings: Sequence[SegmentFinding], most: int = MOST) -> tuple[tuple[Ranked, ...], int]:
    """The worst segments first, at most ``most``, and how many there are. Flagged ones stand above all others."""
    table = SegmentTable(tally)
    if not len(table):
        return (), 0
    flagged = {f.segment: f"{f.measure}: {f.words.removeprefix(f'{f.segment}: ')}" for f in reversed(findings)}
    surplus = _surplus(table)
    order = np.lexsort((np.arange(len(table)), table.depth, -np.round(surplus, 6)))
    names = {table.name(int(i)): int(i) for i in order[:most]}
    if missing := set(flagged) - set(names):
        names |= {name: i for i in range(len(table)) if (name := table.name(i)) in missing}
    ranked = [_row(table, i, name, float(surplus[i]), flagged.get(name, "")) for name, i in names.items()]
    ranked.sort(key=lambda r: not r.finding)
    return tuple(ranked[:most]), len(table)


def _surplus(table: SegmentTable) -> F64:
    parts = [_paired(table, worse, better) for worse, better in _PAIRED]
    changes, compared = table.count("label_changes"), table.count("labels_compared")
    if every := int(table.total[INDEX["labels_compared"]]):
        expected = compared * (int(table.total[INDEX["label_changes"]]) / every)
        parts.append((changes - expected) / np.sqrt(expected + 1.0))
    best: F64 = np.max(np.stack(parts), axis=0)
    return best


def _paired(table: SegmentTable, worse: str, better: str) -> F64:
    more, fewer = table.count(worse), table.count(better)
    found: F64 = (more - fewer) / np.sqrt(more + fewer + 1.0)
    return found


def _row(table: SegmentTable, at: int, name: str, surplus: float, finding: str) -> Ranked:
    def count(of: str) -> int:
        return int(table.count(of)[at])

    return Ranked(
        name=name, where=table.values(at), requests=count("requests"),
        baseline_errors=count("baseline_errors"), candidate_errors=count("candidate_errors"),
        candidate_invalid=count("candidate_invalid"), label_changes=count("label_changes"),
        labels_compared=count("labels_compared"), slower=count("slower"), faster=count("faster"),
        surplus=surplus, finding=finding,
    )  # fmt: skip


def within(tally: Tally, where: Mapping[str, str]) -> Tally:
    """The cells of ``tally`` that lie in one segment; histograms and totals have no segment, and are left out.

    :raises KeyError: a dimension that the tally does not have.
    """
    places = [(tally.dimensions.index(d), v) for d, v in where.items() if d in tally.dimensions]
    if len(places) != len(where):
        raise KeyError(next(d for d in where if d not in tally.dimensions))
    held = {values: counts for values, counts in tally.cells.items() if all(values[i] == v for i, v in places)}
    return Tally(tally.dimensions, held)


def samples_in(samples: Sequence[Sample], where: Mapping[str, str]) -> list[Sample]:
    """The examples of one segment."""
    return [s for s in samples if all(s.segments.get(d) == v for d, v in where.items())]
