"""Drift: gates on how far the candidate's confidence has moved away from the baseline's.

Law: the size of the gap is judged, not whether there is any. Its bounds hold at every look (time-uniform), on the
whole rollout for a fail and on the stage for a pass. A confidence that only one arm gave is a difference.
"""

from __future__ import annotations

import numpy as np

from paritygate.comparators import confidence
from paritygate.comparators.evidence.distribution import gap_radius, largest_gap, pairs_until
from paritygate.comparators.tally import Counts, Tally
from paritygate.gates.evidence import Alphas, Evidence
from paritygate.gates.reasons import about, between, many, number, percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

FAMILY = "confidence"


def assess_drift(spec: GateSpec, evidence: Evidence, alphas: Alphas) -> Verdict:
    """Judge a ``maximum`` on the largest gap of the two distributions of confidence."""
    whole, stage = _sides(evidence.whole), _sides(evidence.stage)
    in_whole, in_stage = int(whole[0].sum()), int(stage[0].sum())
    numbers: dict[str, float | int | None] = {"limit": spec.limit, "total": in_stage, "whole_total": in_whole}

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    if not in_whole:
        return say(
            VerdictKind.INCONCLUSIVE, "no_data", "no pair with a confidence has been answered by both arms yet"
        )
    whole_gap, whole_radius = largest_gap(*whole), gap_radius(in_whole, alphas.rollback)
    failed = whole_gap - whole_radius > spec.limit
    if not failed and not in_stage:
        reason = f"no pair of stage {evidence.stage_name} has a confidence yet"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    gap, radius = (
        (whole_gap, whole_radius) if failed else (largest_gap(*stage), gap_radius(in_stage, alphas.promote))
    )
    low, high = max(0.0, gap - radius), min(1.0, gap + radius)
    none = int((whole if failed else stage)[1][confidence.STEPS])
    numbers |= {"value": number(gap), "low": number(low), "high": number(high), "candidate_without": none}
    pairs = many(in_whole if failed else in_stage, "pair")
    words = f"confidence apart by {percent(gap)} (surely {between(low, high)}) on {pairs}"
    if failed:
        return say(VerdictKind.FAIL, "breached", f"{words}: more than the {percent(spec.limit)} allowed")
    short = max(spec.minimum_samples - in_stage, 0)
    if high < spec.limit and not short:
        return say(VerdictKind.PASS, "proven", f"{words}: proven below {percent(spec.limit)}")
    until = pairs_until(gap, spec.limit, alphas.promote)
    if until is None:
        reason = f"{words}: as things stand below {percent(spec.limit)} cannot be proven"
        return say(VerdictKind.INCONCLUSIVE, "more_data", reason)
    numbers["more_needed"] = max(until - in_stage, short)
    reason = f"{words}; {about(max(until - in_stage, short))} are needed to prove below {percent(spec.limit)}"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _sides(tally: Tally) -> tuple[Counts, Counts]:
    nothing = np.zeros(confidence.BUCKETS, np.int64)
    ours, theirs = (tally.histograms.get(f"{FAMILY}.{arm}", nothing) for arm in ("baseline", "candidate"))
    return ours, theirs
