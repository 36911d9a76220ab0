"""Drift: gates on how far the candidate's confidence has moved away from the baseline's.

Law: the size of the gap is judged, not whether there is any. Its bounds hold at every look (time-uniform), on the
stage for a pass and since any onset for a fail: each onset has its own part of alpha. A confidence that only one
arm gave is a difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from paritygate.comparators import confidence
from paritygate.comparators.evidence.distribution import gap_radius, largest_gap, pairs_until
from paritygate.comparators.tally import Counts, Tally
from paritygate.gates.evidence import Alphas, Sums
from paritygate.gates.onsets import onset_at
from paritygate.gates.reasons import about, between, many, number, percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

FAMILY = "confidence"


@dataclass(frozen=True, slots=True)
class _Gap:
    """The largest gap on so many pairs, and how far the true one may lie from it."""

    size: float
    radius: float
    pairs: int
    without: int

    @classmethod
    def of(cls, baseline: Counts, candidate: Counts, alpha: float) -> _Gap:
        pairs = int(baseline.sum())
        without = int(candidate[confidence.STEPS])
        return cls(float(largest_gap(baseline, candidate)), gap_radius(pairs, alpha), pairs, without)

    @property
    def low(self) -> float:
        return max(0.0, self.size - self.radius)

    @property
    def high(self) -> float:
        return min(1.0, self.size + self.radius)

    @property
    def words(self) -> str:
        bounds = between(self.low, self.high)
        return f"confidence apart by {percent(self.size)} (surely {bounds}) on {many(self.pairs, 'pair')}"


def assess_drift(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a ``maximum`` on the largest gap of the two distributions of confidence."""
    whole = _Gap.of(*_sides(sums.evidence.whole), alphas.rollback)
    stage = _Gap.of(*_sides(sums.evidence.stage), alphas.promote)
    numbers: dict[str, float | int | None] = {
        "limit": spec.limit,
        "total": stage.pairs,
        "whole_total": whole.pairs,
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    if not whole.pairs:
        return say(
            VerdictKind.INCONCLUSIVE, "no_data", "no pair with a confidence has been answered by both arms yet"
        )
    since, start = _since(sums, alphas.rollback)
    failed = since.low > spec.limit
    if not failed and not stage.pairs:
        reason = f"no pair of stage {sums.evidence.stage_name} has a confidence yet"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    shown = whole if failed else stage
    numbers |= {"value": number(shown.size), "low": number(shown.low), "high": number(shown.high)}
    numbers["candidate_without"] = shown.without
    words = shown.words
    if failed:
        tail = ""
        if start:
            onset = onset_at(sums, start)
            numbers |= onset.numbers(since.pairs, since.size, since.low, since.high)
            words, tail = f"{onset.since} {since.words}", f"; in all {words}"
        return say(VerdictKind.FAIL, "breached", f"{words}: more than the {percent(spec.limit)} allowed{tail}")
    short = max(spec.minimum_samples - stage.pairs, 0)
    if stage.high < spec.limit and not short:
        return say(VerdictKind.PASS, "proven", f"{words}: proven below {percent(spec.limit)}")
    until = pairs_until(stage.size, spec.limit, alphas.promote)
    if until is None:
        reason = f"{words}: as things stand below {percent(spec.limit)} cannot be proven"
        return say(VerdictKind.INCONCLUSIVE, "more_data", reason)
    numbers["more_needed"] = more = max(until - stage.pairs, short)
    reason = f"{words}; {about(more)} are needed to prove below {percent(spec.limit)}"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _since(sums: Sums, alpha: float) -> tuple[_Gap, int]:
    """The gap that is most surely large since any onset, and that onset; each has its part of ``alpha``."""
    baseline, candidate = (
        sums.histogram_since(f"{FAMILY}.{arm}", confidence.BUCKETS) for arm in ("baseline", "candidate")
    )
    alphas = [alpha * math.exp(sums.start_log_weight(start)) for start in range(len(baseline))]
    radius = [gap_radius(pairs, part) for pairs, part in zip(baseline.sum(axis=1).tolist(), alphas, strict=True)]
    start = int(np.argmax(np.round(largest_gap(baseline, candidate) - radius, 6)))
    return _Gap.of(baseline[start], candidate[start], alphas[start]), start


def _sides(tally: Tally) -> tuple[Counts, Counts]:
    nothing = np.zeros(confidence.BUCKETS, np.int64)
    ours, theirs = (tally.histograms.get(f"{FAMILY}.{arm}", nothing) for arm in ("baseline", "candidate"))
    return ours, theirs
