"""Completeness: are the pairs that were judged all of the requests, or only the lucky ones?

Law: it is always asked, and never bad evidence against the candidate: what is missing holds.
"""

from __future__ import annotations

from typing import Final

from paritygate.gates.evidence import Sums
from paritygate.gates.reasons import many, number, percent
from paritygate.gates.verdict import Verdict, VerdictKind

NAME: Final = "join_completeness"
#: Least share of the requests of a stage whose two answers were both joined.
LEAST_RATIO: Final = 0.99
_LOST: Final = {
    "missing_candidate": "without the candidate's answer",
    "missing_baseline": "without the baseline's answer",
    "shed": "shed",
}


def assess_completeness(sums: Sums) -> Verdict:
    """Judge the share of joined pairs in the stage."""
    pairs = sums.in_stage("pairs")
    lost = {name: sums.in_stage(name) for name in _LOST}
    total = pairs + sum(lost.values())
    totals = sums.evidence.stage.totals
    numbers: dict[str, float | int | None] = {
        "value": number(pairs / total) if total else None,
        "limit": LEAST_RATIO,
        "pairs": pairs,
        "total": total,
        **lost,
        **{f"dropped_{arm}": totals.get(f"dropped.{arm}", 0) for arm in ("baseline", "candidate")},
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(gate=NAME, kind=kind, reason=reason, reason_code=code, numbers=numbers)

    if not total:
        stage = sums.evidence.stage_name
        return say(VerdictKind.INCONCLUSIVE, "no_data", f"no request has been settled in stage {stage} yet")
    words = f"{pairs:,} of {many(total, 'request')} have both answers ({percent(pairs / total)})"
    if pairs < LEAST_RATIO * total:
        missing = ", ".join(f"{count:,} {_LOST[name]}" for name, count in lost.items() if count)
        return say(VerdictKind.INCONCLUSIVE, "incomplete", f"{words}, {percent(LEAST_RATIO)} must: {missing}")
    return say(VerdictKind.PASS, "complete", words)
