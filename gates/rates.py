"""Rates: gates on the share of requests, outputs or labels that went wrong.

Law: a fail needs E_bad of the whole rollout: the mean of the tests of "all requests" and of "answers that
users saw", then the weighted mean with every segment's own test. A pass needs E_ok of the stage. An absolute
limit broken while the baseline is just as sick is the environment's doing: it holds. Being worse than the
baseline is no fault of an absolute gate while the candidate keeps its limit; relative evidence condemns
under a relative rule, and tells the candidate's fault from the environment's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import log_mixture, more_needed, uniform
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.share import share
from paritygate.gates.bursts import (
    burst_parts,
    exclusion,
    log_e_all,
    rate_bursts,
    struck_numbers,
    worse_than_baseline,
)
from paritygate.gates.columns import COLUMNS, Columns
from paritygate.gates.dropout import worst_case, worst_case_rate
from paritygate.gates.evidence import Alphas, Sums, floored, reached
from paritygate.gates.findings import (
    SegmentFinding,
    bad_limit,
    describe,
    gate_log_e,
    outstanding,
    worst,
    worst_words,
)
from paritygate.gates.measures import Rule
from paritygate.gates.onsets import Onset, late_onset
from paritygate.gates.rate_reasons import RateReasons, target_unhealthy
from paritygate.gates.reasons import about, number, percent, some
from paritygate.gates.segment_proof import Unproven, own_limit, unproven
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

F64 = npt.NDArray[np.float64]
Numbers = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class RateJudgement:
    """A verdict and the segments that stand out, best explanation first."""

    verdict: Verdict
    findings: tuple[SegmentFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """One gate and the counts before it."""

    spec: GateSpec
    sums: Sums
    alphas: Alphas
    columns: Columns
    reasons: RateReasons
    numbers: Numbers
    tests: dict[str, float]
    segments: F64

    @property
    def relative(self) -> bool:
        return self.spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT

    def say(self, kind: VerdictKind, code: str, reason: str, segment: str = "all", **more: float | None) -> Verdict:
        return Verdict(
            gate=self.spec.name,
            kind=kind,
            reason=reason,
            reason_code=code,
            required=self.spec.required,
            segment=segment,
            numbers=self.numbers | more,
        )

    def wait(self, code: str, reason: str, segment: str = "all", **more: float | None) -> Verdict:
        return self.say(VerdictKind.INCONCLUSIVE, code, reason, segment, **more)


def assess_rate(
    spec: GateSpec, sums: Sums, alphas: Alphas, minimum_segment_share: float, prove_segments_above_ratio: float
) -> RateJudgement:
    """Judge a gate on a rate."""
    columns = COLUMNS[spec.measure]
    parts = burst_parts(spec, sums) if spec.tolerate_bursts else {}
    tests = _tests(spec, sums, columns, log_e_all(spec, sums, parts) if parts else None)
    segments = gate_log_e(spec, sums)
    overall = float(log_mixture(uniform(len(tests)), np.array(list(tests.values()))))
    # A burst strikes segments like everything else: under tolerate_bursts they only hold, and keep E = 1 here.
    told = np.zeros(len(segments)) if spec.tolerate_bursts else segments
    log_e_bad = sums.segments.with_all(overall, told)
    numbers = _numbers(spec, sums, columns) | {
        "log_e_bad": number(log_e_bad),
        "log_e_segments": number(sums.segments.alone(told)),
        **{f"log_e_{name}": number(value) for name, value in (tests | parts).items()},
        **(struck_numbers(spec, sums) if parts else {}),
    }
    case = _Case(spec, sums, alphas, columns, RateReasons(spec, sums), numbers, tests, told)
    if not sums.in_whole(columns.total):
        return RateJudgement(case.wait("no_data", f"no {columns.noun} has been measured yet"))
    found = outstanding(sums, segments, alphas.rollback, minimum_segment_share)
    if reached(log_e_bad, alphas.rollback):
        return _failed(case, found)
    return _flagged(case, found) if found else RateJudgement(_stage_verdict(case, prove_segments_above_ratio))


def _tests(spec: GateSpec, sums: Sums, columns: Columns, overall: float | None) -> dict[str, float]:
    """log E of each test of "all requests"; how many there are never depends on the data.

    ``overall``: log E where minutes are judged and not requests; None where the gate tolerates no bursts.
    """
    tests = {"overall": sums.over_starts(_log_e_since(spec, sums, columns)) if overall is None else overall}
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        if columns.within is None:  # live batches hold errors of every kind: their share tells nothing of timeouts
            tests["share"] = _share(spec, sums, 1.0 + spec.limit / 100.0)
    elif columns.live is not None:
        tests["live"] = sums.over_starts(_absolute(spec, sums, *columns.live))
    return tests


def _log_e_since(spec: GateSpec, sums: Sums, columns: Columns) -> F64:
    """log E of "all requests" since each possible onset."""
    if spec.rule is not Rule.MAXIMUM_REGRESSION_PERCENT or columns.paired is None:
        return _absolute(spec, sums, columns.bad, columns.total)
    bad, (worse, better) = sums.since(columns.bad), (sums.since(name) for name in columns.paired)
    log_e = paired_ratio(1.0 + spec.limit / 100.0, "above").log_e(worse, better, bad - worse)
    return floored(log_e, bad, spec.minimum_bad_events)


def _absolute(spec: GateSpec, sums: Sums, bad_name: str, total_name: str) -> F64:
    """log E of an absolute rule since each possible onset."""
    bad, total = sums.since(bad_name), sums.since(total_name)
    return floored(bernoulli(bad_limit(spec), "above").log_e(bad, total), bad, spec.minimum_bad_events)


def _share(spec: GateSpec, sums: Sums, ratio: float) -> float:
    """log E of "more of the live errors than its share of the live traffic" (times ``ratio``)."""
    batches = sums.evidence.live_batches
    if batches is None or not len(batches):
        return 0.0
    log_e = np.asarray(share(ratio).log_e(batches))
    return float(floored(log_e, np.asarray(batches[:, 2].sum()), spec.minimum_bad_events))


def _failed(case: _Case, found: list[int]) -> RateJudgement:
    """E_bad has spoken: the candidate's fault, or everybody's."""
    sick_since = _environment(case)
    if sick_since is not None:
        reason = f"{case.reasons.both_sick(sick_since)}{case.reasons.apart()}"
        return RateJudgement(case.wait("environment", reason))
    onset = _onset(case)
    if onset is not None:
        return _failed_since(case, onset)
    table = case.sums.segments
    named = worst(case.spec.measure, case.sums)
    place = "all" if named is None else table.name(named)
    findings = describe(case.spec.measure, case.sums, case.segments, found if named is None else [named, *found])
    reason = f"{_breach(case, named)}{worst_words(findings)}{case.reasons.apart()}{case.reasons.target()}"
    return RateJudgement(case.say(VerdictKind.FAIL, "breached", reason, place, **_of_worst(findings)), findings)


def _onset(case: _Case) -> Onset | None:
    """Since when the test that says most speaks; None from the rollout's start on, and of tests without onsets."""
    sums, strongest = case.sums, _strongest(case)
    if strongest == "live" and case.columns.live is not None:
        return late_onset(sums, _absolute(case.spec, sums, *case.columns.live))
    if strongest == "overall" and not case.spec.tolerate_bursts:
        return late_onset(sums, _log_e_since(case.spec, sums, case.columns))
    return None


def _failed_since(case: _Case, onset: Onset) -> RateJudgement:
    """A fail that began late: the numbers, the segment and the findings are those since then."""
    spec, live = case.spec, _strongest(case) == "live"
    told = later = case.sums.from_start(onset.start)
    segments, named = gate_log_e(spec, later), worst(spec.measure, later)
    if named is None:  # Everything since then is alike; what is elsewhere in the whole may show where it is.
        told, segments, named = case.sums, case.segments, worst(spec.measure, case.sums)
    found = outstanding(told, segments, case.alphas.rollback, math.inf)
    findings = describe(spec.measure, told, segments, found if named is None else [named, *found])
    where = "" if named is None else f"; worst: {RateReasons(spec, told).segment(named)}"
    in_all = f"; in all {case.reasons.whole()}"
    words = f"{case.reasons.since(onset, live=live)}, {case.reasons.limit()} may{RateReasons(spec, later).rules()}"
    reason = words + (where + in_all if told is later else in_all + where)
    reason += f"{worst_words(findings)}{RateReasons(spec, later).apart()}{case.reasons.target()}"
    place = "all" if named is None else told.segments.name(named)
    numbers = {**case.reasons.numbers_since(onset, live=live), **_of_worst(findings)}
    verdict = case.say(VerdictKind.FAIL, "breached", reason, place, **numbers)
    return RateJudgement(verdict, findings)


def _environment(case: _Case) -> int | None:
    """The onset (a row of ``Sums.starts``) since which the baseline is above the limit as well; None where the
    candidate alone is, or where relative evidence speaks.

    Asked of the onset that speaks loudest: a good past must not hide that both arms fell sick together. Then
    the candidate needs to be proven worse than the baseline: in an incident of both arms, evidence that merely
    leans would lean to "worse" sooner or later.
    """
    columns, sums, spec = case.columns, case.sums, case.spec
    if case.relative or columns.baseline is None or columns.paired is None:
        return None
    live = _share(spec, sums, 1.0) if spec.measure == "error_rate" else 0.0
    if reached(sums.segments.with_all(live, case.segments), case.alphas.rollback):
        return None
    unlike = worse_than_baseline(spec, sums, case.alphas) if spec.tolerate_bursts else None
    if unlike is None:
        worse, better = (sums.since(name) for name in columns.paired)
        log_e = sums.over_starts(paired(0.0, "above").log_e(worse, better, 0))
        unlike = reached(log_e, case.alphas.rollback)
    if unlike:
        return None
    counted = (columns.bad, columns.total)
    if columns.live is not None and case.tests["live"] > case.tests["overall"]:
        counted = columns.live
    onset = sums.loudest_start(_absolute(spec, sums, *counted))
    bad, total = (int(sums.since(name)[onset]) for name in columns.baseline)
    return onset if bad > bad_limit(spec) * total else None


def _breach(case: _Case, named: int | None) -> str:
    """Why it failed, in the words of the test that says most."""
    reasons, strongest = case.reasons, _strongest(case)
    if strongest == "segments":
        shown = int(np.argmax(case.segments)) if named is None else named
        return f"{reasons.segment(shown)}; in all {reasons.whole()}{reasons.rules()}"
    tail = f"{reasons.rules()}" + ("" if named is None else f"; worst: {reasons.segment(named)}")
    if strongest == "live":
        return f"{reasons.live()}, {reasons.limit()} may; in all {reasons.whole()}{tail}"
    if strongest == "share":
        return f"{reasons.share()}; in all {reasons.whole()}{tail}"
    return f"{reasons.whole()}, {reasons.limit()} may{tail}"


def _strongest(case: _Case) -> str:
    """The test that says most; ``segments`` where they do together."""
    strongest = max(case.tests, key=lambda name: case.tests[name])
    weighed = case.tests[strongest] - math.log(2.0 * len(case.tests))
    return "segments" if case.sums.segments.alone(case.segments) > weighed else strongest


def _flagged(case: _Case, found: list[int]) -> RateJudgement:
    """No fail, but a segment that must not be there at a promotion."""
    explains = worst(case.spec.measure, case.sums)
    shown = found[0] if explains is None else explains
    reason = f"a segment stands out: {case.reasons.segment(shown)}; in all {case.reasons.whole()}"
    place = "all" if explains is None else case.sums.segments.name(explains)
    findings = describe(case.spec.measure, case.sums, case.segments, [shown, *found])
    reason = f"{reason}{worst_words(findings)}"
    return RateJudgement(case.wait("segment_flagged", reason, place, **_of_worst(findings)), findings)


def _of_worst(findings: tuple[SegmentFinding, ...]) -> Numbers:
    """Numbers of the first finding."""
    if not findings:
        return {}
    first = findings[0]
    bounds = {"segment_effect_low": first.effect_low, "segment_effect_high": first.effect_high}
    return {"segment_effect": first.effect, **bounds, "segment_damage_ratio": first.damage_ratio}


def _stage_verdict(case: _Case, prove_segments_above_ratio: float) -> Verdict:
    """What the stage proves when nothing speaks for a fail."""
    columns, reasons = case.columns, case.reasons
    total = case.sums.in_stage(columns.total)
    if not total:
        stage = case.sums.evidence.stage_name
        return case.wait("no_data", f"no {columns.noun} has been measured in stage {stage} yet")
    log_e_ok, needed = _proof(case)
    shown = number(log_e_ok)
    short = max(case.spec.minimum_samples - total, 0)
    slow = unproven(case.spec, case.sums, case.alphas.promote, prove_segments_above_ratio)
    if reached(log_e_ok, case.alphas.promote) and not short:
        if slow is not None:
            return _segment_unproven(case, slow, shown)
        return _proven(case, shown)
    if needed is None:
        return case.wait(
            "more_data", f"{reasons.stage()}: at this rate {reasons.limit()} cannot be proven", log_e_ok=shown
        )
    amount = max(needed, short, (slow.more or 0) if slow is not None else 0)
    reason = f"{reasons.stage()}; {about(amount)} are needed to prove {reasons.limit()}"
    return case.wait("more_data", reason, log_e_ok=shown, more_needed=amount)


def _proven(case: _Case, log_e_ok: float | None) -> Verdict:
    """A pass, unless what was lost could hide a breach, or live answers have begun to speak against it."""
    reasons = case.reasons
    lost = worst_case(case.spec, case.sums, case.alphas.rollback)
    if lost is not None:
        return case.wait("informative_dropout", f"{reasons.stage()}, but {lost}", log_e_ok=log_e_ok)
    if case.tests.get("live", 0.0) < math.log(1.0 / case.alphas.rollback) / 2.0:
        return _pass(case, f"{reasons.stage()}: proven {reasons.limit()}", log_e_ok)
    reason = f"{reasons.stage()}, but {reasons.live()}: waits for more of them"
    return case.wait("more_data", reason, log_e_ok=log_e_ok)


def _pass(case: _Case, reason: str, log_e_ok: float | None) -> Verdict:
    """A pass; of a gate that tolerates bursts it says what it excludes of them, and may have to wait for that."""
    if not case.spec.tolerate_bursts:
        return case.say(VerdictKind.PASS, "proven", reason, log_e_ok=log_e_ok)
    seen = rate_bursts(case.spec, case.sums)
    excluded, words, more = exclusion(case.spec, seen, case.alphas.promote)
    reason = f"{reason} outside of bursts; {words}"
    if excluded:
        return case.say(VerdictKind.PASS, "proven", reason, log_e_ok=log_e_ok)
    return case.wait("more_data", reason, log_e_ok=log_e_ok, more_hours_needed=more)


def _segment_unproven(case: _Case, slow: Unproven, log_e_ok: float | None) -> Verdict:
    """All requests together are proven, and a large segment is not."""
    reasons, columns = case.reasons, case.columns
    where = f"{some(slow.bad, slow.total, columns.noun)} {columns.verb} in {slow.name}"
    limit = reasons.limit() if case.relative else f"at most {percent(own_limit(case.spec))}"
    if slow.more is None:
        wanted = f"at this rate {limit} cannot be proven there"
    else:
        wanted = f"{about(slow.more)} in all are needed to prove {limit} there"
    reason = f"{reasons.stage()}: proven {reasons.limit()}, but {where}; {wanted}"
    numbers = {"segment_bad": slow.bad, "segment_total": slow.total, "segment_log_e_ok": number(slow.log_e_ok)}
    return case.wait("segment_unproven", reason, slow.name, log_e_ok=log_e_ok, more_needed=slow.more, **numbers)


def _proof(case: _Case) -> tuple[float, int | None]:
    """log E_ok of the stage, and about how many more observations would prove it."""
    columns, sums, spec = case.columns, case.sums, case.spec
    bad, total = sums.in_stage(columns.bad), sums.in_stage(columns.total)
    if case.relative and columns.paired is not None:
        worse, better = (sums.in_stage(name) for name in columns.paired)
        test = paired_ratio(1.0 + spec.limit / 100.0, "below")
        log_e, wealth = test.log_e(worse, better, bad - worse), test.wealth(worse, better, bad - worse)
    else:
        absolute = bernoulli(bad_limit(spec), "below")
        log_e, wealth = absolute.log_e(bad, total), absolute.wealth(bad, total)
    return float(log_e), more_needed(wealth, total, float(log_e), math.log(1.0 / case.alphas.promote))


def _numbers(spec: GateSpec, sums: Sums, columns: Columns) -> Numbers:
    """Value with its bounds in the stage, and all counts behind it."""
    bad, total = sums.in_stage(columns.bad), sums.in_stage(columns.total)
    bounds: tuple[float | None, float | None, float | None] = (None, None, None)
    if total:
        low, high = interval.rate(bad, total)
        bounds = bad / total, low, high
        if spec.rule is Rule.MINIMUM:
            bounds = 1.0 - bad / total, 1.0 - high, 1.0 - low
    value, low_, high_ = (number(v) for v in bounds)
    worst_rate = worst_case_rate(spec, sums)
    numbers: Numbers = {"value": value, "limit": spec.limit, "low": low_, "high": high_, "bad": bad, "total": total}
    if worst_rate is not None:
        numbers["worst_case"] = number(1.0 - worst_rate if spec.rule is Rule.MINIMUM else worst_rate)
    shown = {"whole_bad": columns.bad, "whole_total": columns.total}
    for prefix, names in (("whole_baseline", columns.baseline), ("live", columns.live)):
        if names is not None:
            shown |= {f"{prefix}_bad": names[0], f"{prefix}_total": names[1]}
    numbers |= {key: sums.in_whole(name) for key, name in shown.items()}
    if columns.paired is not None and columns.baseline is not None:
        only = [sums.in_whole(name) for name in columns.paired]
        numbers |= {"whole_candidate_only": only[0], "whole_baseline_only": only[1]}
        numbers["whole_both"] = max(sums.in_whole(columns.bad) - only[0], 0)
        if spec.rule is not Rule.MAXIMUM_REGRESSION_PERCENT:
            numbers["target_unhealthy"] = int(target_unhealthy(spec, sums))
    return numbers
