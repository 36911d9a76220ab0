"""Numbers: gates on the mean of a number that events carry: tokens, citations, abstentions, whatever is declared.

Law: only pairs are compared. What is judged is the mean of the values held to ``0..cap``, and the reason says so:
heavy tails cost power, never validity. A fail is the mixture over onsets. A number that only one arm gave is no
evidence of harm, and counts against a pass as the worst that it could have been.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.mean import mean
from paritygate.comparators.evidence.mixture import F64, I64, Claim, more_needed
from paritygate.comparators.numbers import BUCKETS, PARTS, SUM_STEPS, NumberRule
from paritygate.comparators.tally import Tally
from paritygate.gates.evidence import Alphas, Sums, reached
from paritygate.gates.measures import Rule
from paritygate.gates.onsets import ALPHA, late_onset
from paritygate.gates.reasons import about, many, number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

Numbers = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class NumberCounts:
    """What one tally holds of a rule."""

    rule: NumberRule
    units: I64
    without_baseline: int
    without_candidate: int
    baseline: float
    candidate: float

    @classmethod
    def of(cls, tally: Tally, rule: NumberRule) -> NumberCounts:
        """Zeros where the tally holds none."""
        units = tally.histograms.get(rule.name)
        counts = np.zeros(BUCKETS, np.int64) if units is None else units
        pairs = int(counts.sum()) // PARTS
        means = (
            tally.totals.get(rule.total(f"sum_{arm}"), 0) * rule.cap / SUM_STEPS / max(pairs, 1)
            for arm in ("baseline", "candidate")
        )
        lacking = (tally.totals.get(rule.total(f"without_{arm}"), 0) for arm in ("baseline", "candidate"))
        return cls(rule, counts, *lacking, *means)

    @property
    def pairs(self) -> int:
        """Pairs of which both arms gave the number."""
        return int(self.units.sum()) // PARTS

    @property
    def lacking(self) -> int:
        """Pairs of which only one arm gave it."""
        return self.without_baseline + self.without_candidate

    @property
    def contradicts(self) -> bool:
        """Whether the units are not those of whole pairs."""
        return bool(int(self.units.sum()) % PARTS or (self.units < 0).any())

    def told(self) -> F64:
        """Pairs per bucket, in parts."""
        told: F64 = self.units / PARTS
        return told

    def at_worst(self, claim: Claim) -> F64:
        """The same with what is missing at the end that speaks most against ``claim``."""
        worst = self.told()
        worst[0 if claim == "above" else -1] += self.lacking
        return worst


def assess_number(spec: GateSpec, sums: Sums, alphas: Alphas) -> Verdict:
    """Judge a gate on a number of the events."""
    evidence = sums.evidence
    rule = spec.number_rule()
    if rule is None:
        raise ValueError(f"gate {spec.name} is on no number of the events")
    whole, stage = NumberCounts.of(evidence.whole, rule), NumberCounts.of(evidence.stage, rule)
    numbers: Numbers = {
        "limit": spec.limit,
        "total": stage.pairs,
        "whole_total": whole.pairs,
        "without_baseline": stage.without_baseline,
        "without_candidate": stage.without_candidate,
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    if whole.contradicts or stage.contradicts:
        return say(VerdictKind.ERROR, "source_broken", f"the counts of {spec.measure} are not those of whole pairs")
    if not whole.pairs:
        reason = f"no pair has {spec.measure} of both arms yet{_lacking(whole)}"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    good, bad = _claims(spec)
    limit = rule.on_buckets(0.0 if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT else spec.limit)
    since = mean(limit, bad).log_e(sums.histogram_since(rule.name, BUCKETS) / PARTS)
    log_e_bad = sums.over_starts(since)
    failed = reached(log_e_bad, alphas.rollback)
    shown = whole if failed or not stage.pairs else stage
    numbers |= {"log_e_bad": number(log_e_bad), **_values(spec, shown)}
    words, bound = _words(spec, shown, numbers), _bound(spec)
    if failed:
        onset, tail = late_onset(sums, since), ""
        if onset is not None:
            later = NumberCounts.of(sums.from_start(onset.start).evidence.whole, rule)
            found = _values(spec, later, onset.alpha)
            numbers |= {"onset_at_ms": onset.at_ms, "onset_total": later.pairs}
            numbers |= {f"onset_{name}": found[name] for name in ("value", "low", "high")}
            words, tail = f"{onset.since} {_words(spec, later, found)}", f"; in all {words}"
        return say(VerdictKind.FAIL, "breached", f"{words}; {bound} is allowed{tail}")
    if not stage.pairs:
        reason = f"no pair of stage {evidence.stage_name} has {spec.measure} of both arms yet{_lacking(stage)}"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    proof, counts = mean(limit, good), stage.at_worst(good)
    log_e_ok = float(proof.log_e(counts))
    numbers["log_e_ok"] = number(log_e_ok)
    short = max(spec.minimum_samples - stage.pairs, 0)
    if reached(log_e_ok, alphas.promote) and not short:
        return say(VerdictKind.PASS, "proven", f"{words}: proven {bound}")
    needed = more_needed(proof.wealth(counts), stage.pairs, log_e_ok, math.log(1.0 / alphas.promote))
    if needed is None:
        reason = f"{words}: as things stand {bound} cannot be proven"
    else:
        numbers["more_needed"] = max(needed, short)
        reason = f"{words}; {about(max(needed, short))} are needed to prove {bound}"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _claims(spec: GateSpec) -> tuple[Claim, Claim]:
    """What a pass and what a fail has to prove of the mean difference."""
    return ("above", "below") if spec.rule is Rule.MINIMUM_DELTA else ("below", "above")


def _values(spec: GateSpec, counts: NumberCounts, alpha: float = ALPHA) -> Numbers:
    """The means of both arms, and what is judged of them with its bounds."""
    low, high = (counts.rule.off_buckets(end) for end in interval.mean(counts.told(), alpha))
    value = counts.candidate - counts.baseline
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        value = 100.0 * value / counts.baseline if counts.baseline else math.inf
    return {
        "value": number(value),
        "low": number(low),
        "high": number(high),
        "baseline": number(counts.baseline),
        "candidate": number(counts.candidate),
    }


def _words(spec: GateSpec, counts: NumberCounts, numbers: Numbers) -> str:
    """``mean completion_tokens 331 against 300 (+10.3 %) on 2,000 pairs, each value held to 4,096``."""
    low, high = (numbers[name] or 0.0 for name in ("low", "high"))
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        change = "from nothing" if numbers["value"] is None else f"{numbers['value']:+.3g} %"
        change = f"{change}; less {counts.rule.slope:g} times the baseline's surely {low:+.4g} to {high:+.4g}"
        tail = f", each value held to at most {spec.cap:,g}"
    else:
        change, tail = f"{numbers['value']:+.4f}, surely {low:+.4f} to {high:+.4f}", ""
    means = f"mean {spec.measure} {_short(counts.candidate)} against {_short(counts.baseline)}"
    return f"{means} ({change}) on {many(counts.pairs, 'pair')}{tail}{_lacking(counts)}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000.0 else f"{value:.4g}"


def _bound(spec: GateSpec) -> str:
    match spec.rule:
        case Rule.MAXIMUM_REGRESSION_PERCENT:
            return f"at most +{spec.limit:g} %"
        case Rule.MINIMUM_DELTA:
            return f"at least {spec.limit:+g}"
        case _:
            return f"at most {spec.limit:+g}"


def _lacking(counts: NumberCounts) -> str:
    """What is missing, and how it counts; nothing where nothing is."""
    if not counts.lacking:
        return ""
    arms = (("baseline", counts.without_baseline), ("candidate", counts.without_candidate))
    named = " and ".join(f"{many(count, 'pair')} without the {arm}'s" for arm, count in arms if count)
    return f"; {named}, no proof of anything"
