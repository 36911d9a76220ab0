"""Segment proof: before a gate on a rate passes, every large segment must be proven within the limit by itself.

Law: intersection-union: the gate passes only where all requests and each of the large segments reach 1 / alpha
on their own, so a pass is false with chance alpha at most and nothing is shared out among the segments. Only
values of single dimensions are asked, never pairs and triples, and only those that hold a declared part of the
stage's requests: what is smaller cannot be proven in any time, and is only looked at for what stands out.

What is proven of a segment is the gate's own rule: for a regression the ratio, for a change rate its segment
limit. For an absolute limit: the limit itself, or, where the baseline is proven to be above it there, that the
candidate's rate is not above the baseline's by more than the limit. The null is "above the limit, and: the
baseline keeps it, or the excess over the baseline is larger". The mean of E_ok and the lesser of E("excess below
the limit") and E("baseline above it") is an e-process for both of its halves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import F64, I64, log_mixture, more_needed
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.gates.columns import COLUMNS
from paritygate.gates.evidence import Sums, reached
from paritygate.gates.findings import bad_limit
from paritygate.gates.measures import Rule
from paritygate.gates.spec import CHANGE_RATES, GateSpec

#: Log weights of "within the limit" and of "no worse than a baseline that is above it".
LOG_WEIGHTS: Final = np.log([0.9, 0.1])


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Counts of some segments, each ``[segments]``; ``compared``: pairs that ``worse`` and ``better`` are of.

    ``worse`` / ``better``: bad in the candidate only, in the baseline only; None for changes, which have no arm.
    """

    bad: I64
    total: I64
    worse: I64 | None = None
    better: I64 | None = None
    compared: I64 | None = None
    baseline_bad: I64 | None = None
    baseline_total: I64 | None = None


@dataclass(frozen=True, slots=True)
class Unproven:
    """The large segment that waits longest. ``more``: observations of *all* segments, None = never at this rate."""

    name: str
    bad: int
    total: int
    log_e_ok: float
    more: int | None


def own_limit(spec: GateSpec) -> float:
    """Highest share of bad ones in a segment under an absolute rule."""
    return spec.segment_limit if spec.measure in CHANGE_RATES else bad_limit(spec)


def log_e_ok(spec: GateSpec, counts: SegmentCounts) -> F64:
    """log E of each segment for "within its limit"."""
    bad, total, worse, better = counts.bad, counts.total, counts.worse, counts.better
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT and worse is not None and better is not None:
        return paired_ratio(1.0 + spec.limit / 100.0, "below").log_e(worse, better, bad - worse)
    limit = own_limit(spec)
    kept = bernoulli(limit, "below").log_e(bad, total)
    if worse is None or better is None or counts.compared is None:
        return kept
    if counts.baseline_bad is None or counts.baseline_total is None:
        return kept
    sick = bernoulli(limit, "above").log_e(counts.baseline_bad, counts.baseline_total)
    no_worse = np.minimum(paired(limit, "below").log_e(worse, better, counts.compared), sick)
    return log_mixture(LOG_WEIGHTS, np.stack([kept, no_worse], axis=-1))


def unproven(spec: GateSpec, sums: Sums, alpha: float, above_ratio: float) -> Unproven | None:
    """The large segment of the stage that is not proven and waits longest; None where all are.

    ``above_ratio``: large is what holds at least this part of the stage's requests.
    """
    table, columns = sums.stage_segments, COLUMNS[spec.measure]
    requests = table.single("requests")
    large = np.flatnonzero(requests >= above_ratio * max(sums.in_stage("requests"), 1))
    if not len(large):
        return None
    counts = _counts(spec, sums, large)
    found = log_e_ok(spec, counts)
    every = sums.in_stage(columns.total)
    slowest: tuple[float, Unproven] | None = None
    for i, segment in enumerate(large.tolist()):
        if reached(float(found[i]), alpha):
            continue
        total = int(counts.total[i])
        more = _more(spec, counts, i, float(found[i]), math.log(1.0 / alpha))
        more = None if more is None or not total else math.ceil(more * every / total)
        waits = math.inf if more is None else float(more)
        if slowest is None or waits > slowest[0]:
            name = table.name(segment)
            slowest = waits, Unproven(name, int(counts.bad[i]), total, float(found[i]), more)
    return None if slowest is None else slowest[1]


def _counts(spec: GateSpec, sums: Sums, segments: I64) -> SegmentCounts:
    table, columns = sums.stage_segments, COLUMNS[spec.measure]

    def of(name: str) -> I64:
        return table.single(name)[segments]

    if columns.paired is None or columns.baseline is None:
        return SegmentCounts(of(columns.bad), of(columns.total))
    compared = of(columns.total)
    if columns.total != "requests":  # of the outputs checked, only those of both arms can be compared
        compared = of("pairs") - of("candidate_errors") + of("missing_candidate") - of("baseline_only_errors")
    return SegmentCounts(
        bad=of(columns.bad),
        total=of(columns.total),
        worse=of(columns.paired[0]),
        better=of(columns.paired[1]),
        compared=np.maximum(compared, 0),
        baseline_bad=of(columns.baseline[0]),
        baseline_total=of(columns.baseline[1]),
    )


def _more(spec: GateSpec, counts: SegmentCounts, i: int, log_e: float, target: float) -> int | None:
    """About how many more observations of the segment prove it, by whichever proof is nearer."""
    bad, total = int(counts.bad[i]), int(counts.total[i])
    limit = own_limit(spec)
    if counts.worse is None or counts.better is None or counts.compared is None:
        return more_needed(bernoulli(limit, "below").wealth(bad, total), total, log_e, target)
    worse, better = int(counts.worse[i]), int(counts.better[i])
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        wealth = paired_ratio(1.0 + spec.limit / 100.0, "below").wealth(worse, better, bad - worse)
        return more_needed(wealth, total, log_e, target)
    keeps, excess, sick = bernoulli(limit, "below"), paired(limit, "below"), bernoulli(limit, "above")

    def left(wealth: F64, reached: F64, way: int) -> int | None:
        return more_needed(wealth, total, float(reached), target - float(LOG_WEIGHTS[way]))

    by_limit = left(keeps.wealth(bad, total), keeps.log_e(bad, total), 0)
    if counts.baseline_bad is None or counts.baseline_total is None:
        return by_limit
    base, base_total, compared = int(counts.baseline_bad[i]), int(counts.baseline_total[i]), int(counts.compared[i])
    no_worse = left(excess.wealth(worse, better, compared), excess.log_e(worse, better, compared), 1)
    baseline_sick = left(sick.wealth(base, base_total), sick.log_e(base, base_total), 1)
    if no_worse is None or baseline_sick is None:
        return by_limit
    by_baseline = max(no_worse, baseline_sick)
    return by_baseline if by_limit is None else min(by_limit, by_baseline)
