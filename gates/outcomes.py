"""Outcomes: gates on the mean paired difference of a score: review, KPI, correctness.

Law: only requests whose two answers were both scored count. Scores come late, so a stage begins without
any; that is "no data", never good. A fail is the mixture over onsets.
"""

from __future__ import annotations

import math

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import more_needed
from paritygate.comparators.tally import Counts, Tally
from paritygate.gates.evidence import Alphas, Sums, reached
from paritygate.gates.onsets import ALPHA, late_onset
from paritygate.gates.reasons import about, many, number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind


def assess_outcome(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a ``minimum_delta`` gate."""
    evidence = sums.evidence
    whole, stage = _deltas(evidence.whole, spec.measure), _deltas(evidence.stage, spec.measure)
    numbers: dict[str, float | int | None] = {
        "limit": spec.limit,
        "total": int(stage.sum()),
        "whole_total": int(whole.sum()),
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    if not whole.any():
        single = evidence.whole.totals.get("outcome_single", 0)
        tail = f"; {many(single, 'request')} had a score of one arm only" if single else ""
        return say(VerdictKind.INCONCLUSIVE, "no_data", f"no request has a score of both arms yet{tail}")
    starts = sums.histogram_since(f"scores.{spec.measure}", scores.BUCKETS)
    since = mean(spec.limit, "below").log_e(starts)
    log_e_bad = sums.over_starts(since)
    proof = mean(spec.limit, "above")
    log_e_ok = float(proof.log_e(stage))
    failed = reached(log_e_bad, alphas.rollback)
    shown = whole if failed or not stage.any() else stage
    value, low, high = _mean(shown)
    numbers |= {
        "value": number(value),
        "low": number(low),
        "high": number(high),
        "log_e_bad": number(log_e_bad),
        "log_e_ok": number(log_e_ok),
    }
    words = _words(shown, value, low, high)
    if failed:
        onset, tail = late_onset(sums, since), ""
        if onset is not None:
            later = starts[onset.start]
            value, low, high = _mean(later, onset.alpha)
            numbers |= onset.numbers(int(later.sum()), value, low, high)
            words, tail = f"{onset.since} {_words(later, value, low, high)}", f"; in all {words}"
        return say(VerdictKind.FAIL, "breached", f"{words}: below the {spec.limit:+g} allowed{tail}")
    if not stage.any():
        reason = f"no request of stage {evidence.stage_name} has a score of both arms yet"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    total = int(stage.sum())
    short = max(spec.minimum_samples - total, 0)
    if reached(log_e_ok, alphas.promote) and not short:
        return say(VerdictKind.PASS, "proven", f"{words}: proven at least {spec.limit:+g}")
    needed = more_needed(proof.wealth(stage), total, log_e_ok, math.log(1.0 / alphas.promote))
    if needed is None:
        reason = f"{words}: as things stand at least {spec.limit:+g} cannot be proven"
        return say(VerdictKind.INCONCLUSIVE, "more_data", reason)
    numbers["more_needed"] = max(needed, short)
    reason = f"{words}; {about(max(needed, short))} are needed to prove at least {spec.limit:+g}"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _mean(counts: Counts, alpha: float = ALPHA) -> tuple[float, float, float]:
    """Mean difference with its bounds."""
    return float((counts * scores.values()).sum()) / int(counts.sum()), *interval.mean(counts, alpha)


def _words(counts: Counts, value: float, low: float, high: float) -> str:
    bounds = f"surely {low:+.4f} to {high:+.4f}"
    return f"mean difference {value:+.4f} ({bounds}) on {many(int(counts.sum()), 'scored pair')}"


def _deltas(tally: Tally, measure: str) -> Counts:
    found = tally.histograms.get(f"scores.{measure}")
    return np.zeros(scores.BUCKETS, np.int64) if found is None else found
