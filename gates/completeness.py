"""Completeness: are the pairs that were judged all of the requests, or only the lucky ones?

Law: it is always asked, and never bad evidence against the candidate: what is missing holds. Everything that
was sent and is no pair counts against it. A request may be counted twice, as an event that came too late and as
the arm that it left alone; that can only hold. ``best_case`` and ``worst_case`` bound the candidate's error rate
whatever became of the rest: none of it failed, or all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from paritygate.comparators.tally import INDEX, Counts, Tally
from paritygate.gates.evidence import Sums
from paritygate.gates.reasons import many, number, percent
from paritygate.gates.verdict import Verdict, VerdictKind

NAME: Final = "join_completeness"
#: Least share of the requests of a stage whose two answers were both joined, and that lie in a named segment.
LEAST_RATIO: Final = 0.99
#: Below this share of joined requests the evidence has a hole, and what is live is as good as unwatched.
BROKEN_RATIO: Final = 0.9
_BASELINE: Final = "missing_baseline"
_CANDIDATE: Final = "missing_candidate"
_UNREADABLE: Final = "poison"
#: Counts of requests that are no pairs, and how they are called.
_COUNTS: Final = {
    _CANDIDATE: "without the candidate's answer",
    _BASELINE: "without the baseline's answer",
    "shed": "shed",
}
#: Totals of events that no count of requests holds, and how they are called.
_TOTALS: Final = {
    "late": "too late",
    "dropped.baseline": "dropped by the baseline's publisher",
    "dropped.candidate": "dropped by the candidate's publisher",
    _UNREADABLE: "unreadable",
    "lost": "lost",
    "evicted": "crowded out of the join",
}
_NAMES: Final = _COUNTS | _TOTALS


@dataclass(frozen=True, slots=True)
class Joined:
    """How many requests were joined, and how many were not, by why."""

    pairs: int
    lost: Mapping[str, int]

    @property
    def total(self) -> int:
        """Everything that is known to have been sent."""
        return self.pairs + sum(self.lost.values())

    @property
    def unknown(self) -> int:
        """What is missing and is no failure of the candidate yet: nobody knows how it would have answered."""
        return self.total - self.pairs - self.lost[_CANDIDATE]

    @property
    def unjoined(self) -> int:
        """What is missing while the baseline answered, or may have: its own silence is not in it."""
        return sum(count for name, count in self.lost.items() if name != _BASELINE)


def joined(tally: Tally, overall: Counts | None = None) -> Joined:
    """What became of the requests of some windows. ``overall``: counts over all cells, where known already."""
    overall = tally.overall() if overall is None else overall
    counts = {name: int(overall[INDEX[name]]) for name in _COUNTS}
    totals = {name: max(0, tally.totals.get(name, 0)) for name in _TOTALS}
    return Joined(int(overall[INDEX["pairs"]]), counts | totals)


def assess_completeness(sums: Sums) -> Verdict:
    """Judge the share of joined pairs in the stage."""
    found = joined(sums.evidence.stage, sums.stage)
    pairs, total = found.pairs, found.total
    unnamed = sums.evidence.stage.totals.get("segment_overflow", 0)
    numbers: dict[str, float | int | None] = {
        "value": number(pairs / total) if total else None,
        "limit": LEAST_RATIO,
        "pairs": pairs,
        "total": total,
        **{name.replace(".", "_"): count for name, count in found.lost.items()},
        "segment_overflow": unnamed,
        "best_case": number(sums.in_stage("candidate_errors") / total) if total else None,
        "worst_case": number((sums.in_stage("candidate_errors") + found.unknown) / total) if total else None,
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(gate=NAME, kind=kind, reason=reason, reason_code=code, numbers=numbers)

    if not total:
        stage = sums.evidence.stage_name
        return say(VerdictKind.INCONCLUSIVE, "no_data", f"no request has been settled in stage {stage} yet")
    words = f"{pairs:,} of {many(total, 'request')} have both answers ({percent(pairs / total)})"
    if pairs < LEAST_RATIO * total:
        missing = ", ".join(f"{count:,} {_NAMES[name]}" for name, count in found.lost.items() if count)
        unreadable = found.lost[_UNREADABLE] > (1.0 - LEAST_RATIO) * total
        code = "unreadable" if unreadable else "incomplete"
        return say(VerdictKind.INCONCLUSIVE, code, f"{words}, {percent(LEAST_RATIO)} must: {missing}")
    if unnamed > (1.0 - LEAST_RATIO) * total:
        where = f"{unnamed:,} of {many(total, 'request')} lie in no named segment"
        mend = "declare coarser segments, or raise join.max_values_per_dimension"
        return say(VerdictKind.INCONCLUSIVE, "segment_overflow", f"{where}: {mend}")
    ahead = sums.evidence.stage.totals.get("future", 0)
    if ahead > (1.0 - LEAST_RATIO) * total:
        # They were counted at the broker's time, so nobody knows how they lie to what else happened.
        numbers["future"] = ahead
        where = f"{ahead:,} events of {many(total, 'request')} came with a time ahead of the broker's"
        return say(VerdictKind.INCONCLUSIVE, "clock_skew", f"{where}: set the clocks of the services right")
    return say(VerdictKind.PASS, "complete", words)
