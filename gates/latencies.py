"""Latencies: gates on a quantile of the candidate's latency, against the baseline's or against a limit in ms.

Law: a request that the candidate did not answer took forever, so slow and missing answers cannot hide. Only
pairs whose baseline answered are compared. Arrays that contradict each other are an error, never a pass. A fail is
the mixture over onsets, so what begins late in a long good rollout is seen soon.
"""

from __future__ import annotations

import math

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.mixture import Claim
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.quantile import AtEdge, quantile_ratio
from paritygate.comparators.latency import BUCKETS, NEVER, quantile_ms, shifts
from paritygate.gates.evidence import F64, Alphas, Sums, reached
from paritygate.gates.latency_bursts import outside_of_bursts, tolerant_log_e
from paritygate.gates.latency_counts import (
    LatencyCounts,
    Numbers,
    counts_since,
    in_ms,
    name,
    onset_quantiles,
    quantiles,
    say,
    stand,
)
from paritygate.gates.latency_limits import assess_limit
from paritygate.gates.measures import QUANTILES, Rule
from paritygate.gates.onsets import ALPHA, late_onset
from paritygate.gates.reasons import many, number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind


def assess_latency(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a gate on a latency quantile."""
    evidence = sums.evidence
    whole, stage = LatencyCounts(evidence.whole), LatencyCounts(evidence.stage)
    if not whole.pairs:
        return say(spec, VerdictKind.INCONCLUSIVE, "no_data", "no pair with both latencies has come yet", {})
    if spec.rule is Rule.MAXIMUM:
        return assess_limit(spec, sums, alphas, whole, stage)
    return _relative(spec, sums, alphas, whole, stage)


def _relative(spec: GateSpec, sums: Sums, alphas: Alphas, whole: LatencyCounts, stage: LatencyCounts) -> Verdict:
    p, evidence = QUANTILES[spec.measure], sums.evidence
    bad_shift, ok_shift = shifts(spec.limit)
    broken = whole.contradiction(bad_shift) or stage.contradiction(ok_shift)
    if broken:
        reason = f"{broken}: was the join started with another plan?"
        return say(spec, VerdictKind.ERROR, "source_broken", reason, {"total": stage.pairs})
    since = _log_e_since(sums, p, spec.limit)
    log_e_bad = sums.over_starts(since)
    parts: Numbers = {}
    if spec.tolerate_bursts:
        log_e_bad, parts = tolerant_log_e(sums, log_e_bad, lambda c: _at_edge(c, p, spec.limit, "above").log_e)
    failed = reached(log_e_bad, alphas.rollback)
    onset = late_onset(sums, since) if failed else None
    ok = _at_edge(stage, p, spec.limit, "below") if stage.pairs else AtEdge(0.0, 0)
    proven = stage.pairs > 0 and reached(ok.log_e, alphas.promote)
    shown = whole if failed or not stage.pairs else stage
    numbers = quantiles(spec, shown, whole) | parts
    ratio, low, high = _ratio(shown, p)
    limit = 1.0 + spec.limit / 100.0
    # What the paired test has proven, people may see: the interval from the two histograms is wider.
    if failed and onset is None and not parts:
        low = max(low, limit)
    elif proven and not failed:
        high = min(high, limit)
    numbers |= {
        "ratio": number(ratio),
        "ratio_low": number(low),
        "ratio_high": number(high),
        "log_e_bad": number(log_e_bad),
        "log_e_ok": number(ok.log_e),
    }
    words = _ratio_words(shown, p, ratio, low, high)
    bound = f"at most +{spec.limit:g} %"
    tail = ""
    if onset is not None:
        later, all_words = counts_since(sums, onset.start), words
        ratio, low, high = _ratio(later, p, onset.alpha)
        if not parts and reached(float(since[onset.start]) + sums.start_log_weight(onset.start), alphas.rollback):
            low = max(low, limit)
        numbers |= onset_quantiles(onset, later, p)
        numbers |= {"onset_ratio": number(ratio), "onset_ratio_low": number(low), "onset_ratio_high": number(high)}
        words = f"{onset.since} {_ratio_words(later, p, ratio, low, high)}"
        tail = f"; in all {all_words}"
    if failed and _both_fail(sums, 0 if onset is None else onset.start, 1.0 - p, alphas):
        reason = f"{words}: too many requests failed in both arms to compare latencies"
        return say(spec, VerdictKind.INCONCLUSIVE, "environment", reason, numbers)
    if failed:
        reason = f"{words}: more than the +{spec.limit:g} % allowed{tail}"
        return say(spec, VerdictKind.FAIL, "breached", reason, numbers)
    if not stage.pairs:
        reason = f"no pair has come in stage {evidence.stage_name} yet"
        return say(spec, VerdictKind.INCONCLUSIVE, "no_data", reason, numbers)
    test = quantile_ratio(p, spec.limit, "below")
    target = math.log(1.0 / alphas.promote)
    needed = 0 if proven else test.more_needed(*stage.exceed(test.shift), stage.pairs, ok, target)
    verdict = stand(spec, numbers, pairs=stage.pairs, needed=needed, words=words, bound=bound)
    return outside_of_bursts(spec, sums, alphas, verdict)


def _both_fail(sums: Sums, start: int, tau: float, alphas: Alphas) -> bool:
    """Whether unanswered requests move the quantile while the baseline fails about as often, since an onset.

    Requests that the baseline failed are left out of the pairs, those that the candidate failed are not; in
    an incident of both arms that alone makes the candidate look slow.
    """
    counts = counts_since(sums, start)
    unanswered = int(counts.candidate[NEVER]) / max(counts.pairs, 1)
    requests, base_errors = (int(sums.since(name)[start]) for name in ("requests", "baseline_errors"))
    if unanswered < tau / 4.0 or base_errors < unanswered * requests / 2.0:
        return False
    worse, better = sums.since("candidate_only_errors"), sums.since("baseline_only_errors")
    return not reached(sums.over_starts(paired(0.0, "above").log_e(worse, better, 0)), alphas.rollback)


def _log_e_since(sums: Sums, p: float, percent_: float) -> F64:
    """log E of the relative rule since each possible onset."""
    test = quantile_ratio(p, percent_, "above")
    names = (f"exceed.{test.shift}.up", f"exceed.{test.shift}.down", "latency.baseline", "latency.candidate")
    log_e, _ = test.paired_rows(*(sums.histogram_since(name, BUCKETS) for name in names))
    return log_e


def _at_edge(counts: LatencyCounts, p: float, percent_: float, claim: Claim) -> AtEdge:
    test = quantile_ratio(p, percent_, claim)
    return test.paired(*counts.exceed(test.shift), counts.baseline, counts.candidate)


def _ratio(counts: LatencyCounts, p: float, alpha: float = ALPHA) -> tuple[float | None, float, float]:
    """Candidate over baseline at the quantile, with bounds; None where the candidate's lies with the failed."""
    base, candidate = quantile_ms(counts.baseline, p), quantile_ms(counts.candidate, p)
    low, high = interval.quantile_ratio(counts.baseline, counts.candidate, p, alpha)
    return (candidate / base if base and candidate is not None else None), low, high


def _ratio_words(counts: LatencyCounts, p: float, ratio: float | None, low: float, high: float) -> str:
    """``p95 is 46.2 ms against 43.1 ms (+7.2 %, surely -3 % to +18 %) on 2,031 pairs``."""
    base, candidate = quantile_ms(counts.baseline, p), quantile_ms(counts.candidate, p)
    change = ""
    if ratio is not None and math.isfinite(ratio):
        bounds = f"{100 * (low - 1):+.0f} % to {100 * (high - 1):+.0f} %"
        if not math.isfinite(high):
            bounds = f"over {100 * (low - 1):+.0f} %"
        change = f" ({100 * (ratio - 1):+.1f} %, surely {bounds})"
    return f"{name(p)} is {in_ms(candidate)} against {in_ms(base)}{change} on {many(counts.pairs, 'pair')}"
