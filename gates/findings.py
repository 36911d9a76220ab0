"""Findings: the evidence of each segment on one rate, which segments stand out, and how far.

Law: a segment is condemned only where it breaks the declared limit *and* is worse than the baseline there:
the lesser of the two e-values is an e-value for "either is fine". What everybody suffers in a segment, or
what the limit allows, never counts against the candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import e_bh, log_mixture
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.gates.columns import COLUMNS
from paritygate.gates.evidence import Sums, floored
from paritygate.gates.measures import Rule
from paritygate.gates.reasons import number
from paritygate.gates.spec import GateSpec

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Most findings per measure.
MOST: Final = 5
#: Log weights of the usual bets and of the boldest one on "worse than the baseline" in a segment. A segment has few
#: bad events, and often none of the baseline's: all on one bet is worth 1.8 nats there.
PARITY_LOG_WEIGHTS: Final = np.log([3 / 4, 1 / 4])
BOLDEST: Final = 0.999
#: Bad events below which a segment without a declared gate is no finding.
LEAST_BAD: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFinding:
    """One segment that stands out on one measure.

    ``effect``: bad rate of the candidate minus that of the baseline on the same requests (for change rates:
    the rate itself), with its time-uniform bounds. ``damage_ratio``: its part of all of the damage.
    ``score``: how much better it explains the damage than "everywhere alike", in nats.
    """

    segment: str
    measure: str
    effect: float
    effect_low: float
    effect_high: float
    damage_ratio: float
    bad: int
    total: int
    log_e: float
    score: float


def bad_limit(spec: GateSpec) -> float:
    """Highest share of bad ones that an absolute rule allows."""
    return 1.0 - spec.limit if spec.rule is Rule.MINIMUM else spec.limit


def gate_log_e(spec: GateSpec, sums: Sums) -> F64:
    """log E of every segment on a declared gate, ``[segments]``."""
    columns, table = COLUMNS[spec.measure], sums.segments
    bad, total = table.count(columns.bad), table.count(columns.total)
    if columns.paired is None:
        found = _where(bad > 0, lambda at: bernoulli(spec.segment_limit, "above").log_e(bad[at], total[at]))
        return floored(found, bad, spec.minimum_bad_events)
    worse, better = (table.count(name) for name in columns.paired)
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        test = paired_ratio(1.0 + spec.limit / 100.0, "above")
        found = _where(bad + better > 0, lambda at: test.log_e(worse[at], better[at], (bad - worse)[at]))
    else:
        limit = bernoulli(bad_limit(spec), "above")
        found = np.minimum(
            parity_log_e(spec.measure, sums),
            _where(worse > 0, lambda at: limit.log_e(bad[at], total[at])),
        )
    return floored(found, worse, spec.minimum_bad_events)


def parity_log_e(measure: str, sums: Sums) -> F64:
    """log E of every segment for "worse than the baseline on the same requests", ``[segments]``."""
    columns, table = COLUMNS[measure], sums.segments
    if columns.paired is None:
        return np.zeros(len(table))
    worse, better = (table.count(name) for name in columns.paired)
    return _where(worse + better > 0, lambda at: log_e_worse(worse[at], better[at]))


def log_e_worse(worse: I64, better: I64) -> F64:
    """log E for "bad in the candidate only more often than in the baseline only", for counts of segments."""
    boldest = worse * math.log1p(BOLDEST) + better * math.log1p(-BOLDEST)
    usual = paired(0.0, "above").log_e(worse, better, 0)
    return log_mixture(PARITY_LOG_WEIGHTS, np.stack([usual, boldest], axis=-1))


def _where(told: npt.NDArray[np.bool_], log_e: Callable[[I64], F64]) -> F64:
    """Evaluate only the segments that have something to tell; what could only be E < 1 counts as E = 0."""
    found = np.full(len(told), -np.inf)
    at = np.flatnonzero(told)
    if len(at):
        found[at] = log_e(at)
    return found


def outstanding(sums: Sums, log_e: F64, alpha: float, minimum_segment_share: float) -> list[int]:
    """Segments that must not be there at a promotion, strongest evidence first.

    Those that e-BH rejects at ``alpha``; and of the large ones (``minimum_segment_share`` of all requests or
    more) those that reach 1 / alpha alone.
    """
    if not len(log_e):
        return []
    requests = sums.segments.count("requests")
    large = requests >= minimum_segment_share * max(sums.in_whole("requests"), 1)
    found = e_bh(log_e, alpha) | (large & (log_e >= math.log(1.0 / alpha)))
    at = np.flatnonzero(found)
    return [int(i) for i in at[np.argsort(-np.round(log_e[at], 6), kind="stable")]]


def damage(measure: str, sums: Sums) -> tuple[str, str]:
    """Which counts show where the harm is: the candidate's own where there are any, else all."""
    columns = COLUMNS[measure]
    if columns.paired is not None and sums.in_whole(columns.paired[0]):
        return columns.paired[0], columns.total
    return columns.bad, columns.total


def worst(measure: str, sums: Sums) -> int | None:
    """The segment to name: the one that best explains the damage; None where it is everywhere alike."""
    return sums.segments.worst(*damage(measure, sums))


def describe(measure: str, sums: Sums, log_e: F64, segments: list[int]) -> tuple[SegmentFinding, ...]:
    """Findings on some segments, best explanation first."""
    if not segments:
        return ()
    columns, table, counted = COLUMNS[measure], sums.segments, damage(measure, sums)
    scores = table.scores(*counted)
    everything = max(sums.in_whole(counted[0]), 1)
    found = []
    for segment in dict.fromkeys(segments):
        bad, total = (int(table.count(name)[segment]) for name in (columns.bad, columns.total))
        if columns.paired is None:
            effect, (low, high) = bad / max(total, 1), interval.rate(bad, total)
        else:
            worse, better = (int(table.count(name)[segment]) for name in columns.paired)
            effect, (low, high) = (worse - better) / max(total, 1), interval.rate_difference(worse, better, total)
        found.append(
            SegmentFinding(
                segment=table.name(segment),
                measure=measure,
                effect=number(effect) or 0.0,
                effect_low=number(low) or 0.0,
                effect_high=number(high) or 0.0,
                damage_ratio=number(int(table.count(counted[0])[segment]) / everything) or 0.0,
                bad=bad,
                total=total,
                log_e=number(float(log_e[segment])) or 0.0,
                score=number(max(float(scores[segment]), 0.0)) or 0.0,
            )
        )
    return _distinct(sorted(found, key=lambda f: (-f.score, -f.log_e, f.segment)))


def _distinct(found: list[SegmentFinding]) -> tuple[SegmentFinding, ...]:
    """Without those that only widen or narrow a better one: they show the same damage once more."""
    kept: list[tuple[set[str], SegmentFinding]] = []
    for finding in found:
        parts = set(finding.segment.split(" & "))
        if not any(parts <= other or parts >= other for other, _ in kept):
            kept.append((parts, finding))
    return tuple(finding for _, finding in kept[:MOST])
