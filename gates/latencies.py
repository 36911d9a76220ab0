"""Latencies: gates on a quantile of the candidate's latency, against the baseline's or against a limit in ms.

Law: a request that the candidate did not answer took forever, so slow and missing answers cannot hide. Only
pairs whose baseline answered are compared. Arrays that contradict each other are an error, never a pass.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import Claim, more_needed
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.quantile import AtEdge, quantile_ratio
from paritygate.comparators.latency import BUCKETS, NEVER, edges, quantile_ms, shifts
from paritygate.comparators.tally import Tally
from paritygate.gates.evidence import Alphas, Evidence, Sums, reached
from paritygate.gates.measures import QUANTILES, Rule
from paritygate.gates.reasons import about, many, milliseconds, number, percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

I64 = npt.NDArray[np.int64]
Numbers = dict[str, float | int | None]
_EDGES: Final = edges()


class LatencyCounts:
    """Histograms and difference arrays of one tally; zeros where it holds none."""

    def __init__(self, tally: Tally) -> None:
        self._histograms = tally.histograms
        self.baseline, self.candidate = self.named("latency.baseline"), self.named("latency.candidate")
        self.pairs = int(self.candidate.sum())

    def named(self, name: str) -> I64:
        """A dense array of the tally."""
        found = self._histograms.get(name)
        return np.zeros(BUCKETS, np.int64) if found is None else found

    def exceed(self, shift: int) -> tuple[I64, I64]:
        """Difference arrays (up, down) at a bucket shift."""
        return self.named(f"exceed.{shift}.up"), self.named(f"exceed.{shift}.down")

    def contradiction(self, shift: int) -> str | None:
        """What is wrong with the arrays at a shift: at every edge, up - down is candidate - baseline."""
        if int(self.baseline.sum()) != self.pairs:
            return "the two latency histograms hold different numbers of pairs"
        up, down = (np.cumsum(part) for part in self.exceed(shift))
        place = np.clip(np.arange(BUCKETS) + shift, 0, NEVER)
        reaching = np.cumsum(self.candidate[::-1])[::-1][place] - np.cumsum(self.baseline[::-1])[::-1]
        if (up - down != reaching).any():
            return f"the paired counts exceed.{shift} do not belong to the latency histograms"
        return None


def assess_latency(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a gate on a latency quantile."""
    evidence = sums.evidence
    whole, stage = LatencyCounts(evidence.whole), LatencyCounts(evidence.stage)
    if not whole.pairs:
        return _say(spec, VerdictKind.INCONCLUSIVE, "no_data", "no pair with both latencies has come yet", {})
    if spec.rule is Rule.MAXIMUM:
        return _absolute(spec, evidence, alphas, whole, stage)
    return _relative(spec, sums, alphas, whole, stage)


def _relative(spec: GateSpec, sums: Sums, alphas: Alphas, whole: LatencyCounts, stage: LatencyCounts) -> Verdict:
    p, evidence = QUANTILES[spec.measure], sums.evidence
    bad_shift, ok_shift = shifts(spec.limit)
    broken = whole.contradiction(bad_shift) or stage.contradiction(ok_shift)
    if broken:
        reason = f"{broken}: was the join started with another plan?"
        return _say(spec, VerdictKind.ERROR, "source_broken", reason, {"total": stage.pairs})
    bad = _at_edge(whole, p, spec.limit, "above")
    failed = reached(bad.log_e, alphas.rollback)
    ok = _at_edge(stage, p, spec.limit, "below") if stage.pairs else AtEdge(0.0, 0)
    proven = stage.pairs > 0 and reached(ok.log_e, alphas.promote)
    shown = whole if failed or not stage.pairs else stage
    numbers = _numbers(spec, shown, whole)
    ratio, low, high = _ratio(shown, p)
    limit = 1.0 + spec.limit / 100.0
    # What the paired test has proven, people may see: the interval from the two histograms is wider.
    low, high = max(low, limit if failed else 0.0), min(high, limit if proven and not failed else math.inf)
    numbers |= {
        "ratio": number(ratio),
        "ratio_low": number(low),
        "ratio_high": number(high),
        "log_e_bad": number(bad.log_e),
        "log_e_ok": number(ok.log_e),
    }
    words = _ratio_words(shown, p, ratio, low, high)
    bound = f"at most +{spec.limit:g} %"
    if failed and _both_fail(sums, whole, 1.0 - p, alphas):
        reason = f"{words}: too many requests failed in both arms to compare latencies"
        return _say(spec, VerdictKind.INCONCLUSIVE, "environment", reason, numbers)
    if failed:
        return _say(
            spec, VerdictKind.FAIL, "breached", f"{words}: more than the +{spec.limit:g} % allowed", numbers
        )
    if not stage.pairs:
        reason = f"no pair has come in stage {evidence.stage_name} yet"
        return _say(spec, VerdictKind.INCONCLUSIVE, "no_data", reason, numbers)
    test = quantile_ratio(p, spec.limit, "below")
    target = math.log(1.0 / alphas.promote)
    needed = 0 if proven else test.more_needed(*stage.exceed(test.shift), stage.pairs, ok, target)
    return _stand(spec, numbers, pairs=stage.pairs, needed=needed, words=words, bound=bound)


def _stand(spec: GateSpec, numbers: Numbers, *, pairs: int, needed: int | None, words: str, bound: str) -> Verdict:
    """The stage's verdict: proven where nothing more is ``needed`` and the floor is met."""
    if needed is None:
        reason = f"{words}: as things stand {bound} cannot be proven"
        return _say(spec, VerdictKind.INCONCLUSIVE, "more_data", reason, numbers)
    needed = max(needed, spec.minimum_samples - pairs)
    if needed <= 0:
        return _say(spec, VerdictKind.PASS, "proven", f"{words}: proven {bound}", numbers)
    reason = f"{words}; {about(needed)} pairs are needed to prove {bound}"
    return _say(spec, VerdictKind.INCONCLUSIVE, "more_data", reason, numbers | {"more_needed": needed})


def _both_fail(sums: Sums, whole: LatencyCounts, tau: float, alphas: Alphas) -> bool:
    """Whether unanswered requests move the quantile while the baseline fails about as often.

    Requests that the baseline failed are left out of the pairs, those that the candidate failed are not; in
    an incident of both arms that alone makes the candidate look slow.
    """
    unanswered = int(whole.candidate[NEVER]) / whole.pairs
    requests, base_errors = sums.in_whole("requests"), sums.in_whole("baseline_errors")
    if unanswered < tau / 4.0 or base_errors < unanswered * requests / 2.0:
        return False
    worse, better = sums.in_whole("candidate_only_errors"), sums.in_whole("baseline_only_errors")
    return not reached(float(paired(0.0, "above").log_e(worse, better, requests)), alphas.rollback)


def _absolute(
    spec: GateSpec, evidence: Evidence, alphas: Alphas, whole: LatencyCounts, stage: LatencyCounts
) -> Verdict:
    """One-sample test "exceeds the limit more often than 1-p", from the edge on the side that errs safely."""
    p = QUANTILES[spec.measure]
    # E_bad counts from the first edge at or above the limit, E_ok from the last one at or below it.
    first = int(np.searchsorted(_EDGES, spec.limit, side="left"))
    last = int(np.searchsorted(_EDGES, spec.limit, side="right")) - 1
    bad = float(bernoulli(1.0 - p, "above").log_e(int(whole.candidate[first:].sum()), whole.pairs))
    failed = reached(bad, alphas.rollback)
    test, slow = bernoulli(1.0 - p, "below"), int(stage.candidate[last:].sum())
    ok = float(test.log_e(slow, stage.pairs))
    shown = whole if failed or not stage.pairs else stage
    numbers = _numbers(spec, shown, whole)
    low, high = interval.quantile(shown.candidate, p)
    value = quantile_ms(shown.candidate, p)
    numbers |= {
        "value": number(value),
        "low": number(low),
        "high": number(high),
        "slow": int(shown.candidate[first:].sum()),
        "log_e_bad": number(bad),
        "log_e_ok": number(ok),
    }
    words = f"{_name(p)} is {_ms(value)} on {many(shown.pairs, 'pair')}"
    if failed:
        slow_share = percent(int(whole.candidate[first:].sum()) / whole.pairs)
        if int(whole.baseline[first:].sum()) > (1.0 - p) * whole.pairs:
            base = _ms(quantile_ms(whole.baseline, p))
            reason = f"{words}, the baseline's {base}: above {milliseconds(spec.limit)} in both arms"
            return _say(spec, VerdictKind.INCONCLUSIVE, "environment", reason, numbers)
        reason = f"{words}: {slow_share} take longer than {milliseconds(spec.limit)}"
        return _say(spec, VerdictKind.FAIL, "breached", reason, numbers)
    bound = f"at most {milliseconds(spec.limit)}"
    if not stage.pairs:
        reason = f"no pair has come in stage {evidence.stage_name} yet"
        return _say(spec, VerdictKind.INCONCLUSIVE, "no_data", reason, numbers)
    target = math.log(1.0 / alphas.promote)
    needed = (
        0 if reached(ok, alphas.promote) else more_needed(test.wealth(slow, stage.pairs), stage.pairs, ok, target)
    )
    return _stand(spec, numbers, pairs=stage.pairs, needed=needed, words=words, bound=bound)


def _at_edge(counts: LatencyCounts, p: float, percent_: float, claim: Claim) -> AtEdge:
    test = quantile_ratio(p, percent_, claim)
    return test.paired(*counts.exceed(test.shift), counts.baseline, counts.candidate)


def _ratio(counts: LatencyCounts, p: float) -> tuple[float | None, float, float]:
    """Candidate over baseline at the quantile, with bounds; None where the candidate's lies with the failed."""
    base, candidate = quantile_ms(counts.baseline, p), quantile_ms(counts.candidate, p)
    low, high = interval.quantile_ratio(counts.baseline, counts.candidate, p)
    return (candidate / base if base and candidate is not None else None), low, high


def _numbers(spec: GateSpec, counts: LatencyCounts, whole: LatencyCounts) -> Numbers:
    shown = sorted({0.50, 0.95, QUANTILES[spec.measure]})
    numbers: Numbers = {
        "limit": spec.limit,
        "total": counts.pairs,
        "whole_total": whole.pairs,
        "unanswered": int(counts.candidate[NEVER]),
    }
    for arm, histogram in (("baseline", counts.baseline), ("candidate", counts.candidate)):
        numbers |= {f"{arm}_p{100 * p:.0f}_ms": number(quantile_ms(histogram, p)) for p in shown}
    return numbers


def _ratio_words(counts: LatencyCounts, p: float, ratio: float | None, low: float, high: float) -> str:
    """``p95 is 46.2 ms against 43.1 ms (+7.2 %, surely -3 % to +18 %) on 2,031 pairs``."""
    base, candidate = quantile_ms(counts.baseline, p), quantile_ms(counts.candidate, p)
    change = ""
    if ratio is not None and math.isfinite(ratio):
        bounds = f"{100 * (low - 1):+.0f} % to {100 * (high - 1):+.0f} %"
        if not math.isfinite(high):
            bounds = f"over {100 * (low - 1):+.0f} %"
        change = f" ({100 * (ratio - 1):+.1f} %, surely {bounds})"
    return f"{_name(p)} is {_ms(candidate)} against {_ms(base)}{change} on {many(counts.pairs, 'pair')}"


def _name(p: float) -> str:
    return f"p{100 * p:.0f}"


def _ms(value: float | None) -> str:
    if value is None:
        return "unknown"
    return milliseconds(value) if math.isfinite(value) else "never (it failed too often)"


def _say(spec: GateSpec, kind: VerdictKind, code: str, reason: str, numbers: Numbers) -> Verdict:
    return Verdict(
        gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
    )
