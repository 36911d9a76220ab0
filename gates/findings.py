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
from paritygate.comparators.evidence.small_counts import SmallCounts
from paritygate.comparators.tally import INDEX
from paritygate.gates.columns import COLUMNS, LATENCY_PARITY, columns_of
from paritygate.gates.evidence import Sums, floored
from paritygate.gates.measures import Rule
from paritygate.gates.reasons import number, percent
from paritygate.gates.segments import SegmentTable
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Most findings per measure.
MOST: Final = 5
#: Log weights of the usual bets and of the boldest one on "worse than the baseline" in a segment. A segment has few
#: bad events, and often none of the baseline's: all on one bet is worth 1.8 nats there.
PARITY_LOG_WEIGHTS: Final = np.log([3 / 4, 1 / 4])
BOLDEST: Final = 0.999
#: Most findings that a reason names.
NAMED: Final = 3
#: Bad events below which a segment without a declared gate is no finding.
LEAST_BAD: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFinding:
    """One segment that stands out on one measure.

    ``effect``: bad rate of the candidate minus that of the baseline on the same requests (for change rates:
    the rate itself), with its time-uniform bounds. ``damage_ratio``: the part of all of the loss that it explains:
    of all bad ones that the candidate has more than the baseline; for change rates, of all changes those that it
    has more than as many requests elsewhere. ``score``: how much better it explains the damage than "everywhere
    alike", in nats. All but ``log_e`` are of the requests that no finding before it on this measure holds: a second
    one is another cause, and the ratios sum to 1 at most.
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

    @property
    def words(self) -> str:
        """``carrier_tier=low_cost & origin=JFK: +3.1 pp [1.2, 5], explains 64 % of the loss``."""
        bounds = f"[{_points(self.effect_low)}, {_points(self.effect_high)}]"
        sign = "+" if self.effect > 0.0 else ""
        slower = " clearly slower" if self.measure == LATENCY_PARITY else ""
        explained = f"explains {percent(self.damage_ratio)} of the loss"
        return f"{self.segment}: {sign}{_points(self.effect)} pp {bounds}{slower}, {explained}"


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
    columns, table = columns_of(measure), sums.segments
    if columns.paired is None:
        return np.zeros(len(table))
    worse, better = (table.count(name) for name in columns.paired)
    return _where(worse + better > 0, lambda at: log_e_worse(worse[at], better[at]))


def _log_e_worse(worse: I64, better: I64) -> F64:
    boldest = worse * math.log1p(BOLDEST) + better * math.log1p(-BOLDEST)
    usual = paired(0.0, "above").log_e(worse, better, 0)
    return log_mixture(PARITY_LOG_WEIGHTS, np.stack([usual, boldest], axis=-1))


#: log E for "bad in the candidate only more often than in the baseline only", for counts of segments.
log_e_worse: Final = SmallCounts(_log_e_worse)


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


def flagged(gate: str, finding: SegmentFinding, reason: str, *, required: bool = True, **more: float) -> Verdict:
    """The verdict that a segment stands out: it holds a promotion."""
    return Verdict(
        gate=gate,
        kind=VerdictKind.INCONCLUSIVE,
        reason=reason,
        reason_code="segment_flagged",
        required=required,
        segment=finding.segment,
        numbers={
            "value": finding.effect,
            "low": finding.effect_low,
            "high": finding.effect_high,
            **more,
            "log_e_bad": finding.log_e,
        },
    )


def damage(measure: str, sums: Sums) -> tuple[str, str]:
    """Which counts show where the harm is: the candidate's own where there are any, else all."""
    columns = columns_of(measure)
    if columns.paired is not None and sums.in_whole(columns.paired[0]):
        return columns.paired[0], columns.total
    return columns.bad, columns.total


def worst(measure: str, sums: Sums) -> int | None:
    """The segment to name: the one that best explains the damage; None where it is everywhere alike."""
    return sums.segments.worst(*damage(measure, sums))


def describe(measure: str, sums: Sums, log_e: F64, segments: list[int]) -> tuple[SegmentFinding, ...]:
    """Findings on some segments, best explanation first; each explains what those before it leave.

    Greedy: the best explanation is taken, its requests are removed, and the scores are worked out anew, until
    nothing is explained better by a segment than by chance.
    """
    counted = damage(measure, sums)
    rest, left, found = sums.segments, list(dict.fromkeys(segments)), list[SegmentFinding]()
    while left and len(found) < MOST:
        scores = rest.scores(*counted)

        best = min(left, key=lambda s: _rank(scores, log_e, rest, s))
        if found and not scores[best] > 0.0:
            break
        found.append(_finding(measure, (sums.segments, rest), best, float(log_e[best]), float(scores[best])))
        rest = rest.without(best)
        left.remove(best)
    return tuple(found)


def _rank(scores: F64, log_e: F64, table: SegmentTable, segment: int) -> tuple[float, float, str]:
    return -round(float(scores[segment]), 6), -round(float(log_e[segment]), 6), table.name(segment)


def _finding(
    measure: str, tables: tuple[SegmentTable, SegmentTable], segment: int, log_e: float, score: float
) -> SegmentFinding:
    columns, (whole, rest) = columns_of(measure), tables
    bad, total = (int(rest.count(name)[segment]) for name in (columns.bad, columns.total))
    if columns.paired is None:
        effect, (low, high) = bad / max(total, 1), interval.rate(bad, total)
        elsewhere = int(rest.total[INDEX[columns.total]]) - total
        rate = (int(rest.total[INDEX[columns.bad]]) - bad) / elsewhere if elsewhere else 0.0
        lost, every = bad - rate * total, int(whole.total[INDEX[columns.bad]])
    else:
        worse, better = (int(rest.count(name)[segment]) for name in columns.paired)
        effect, (low, high) = (worse - better) / max(total, 1), interval.rate_difference(worse, better, total)
        lost, every = (
            worse - better,
            int(whole.total[INDEX[columns.paired[0]]] - whole.total[INDEX[columns.paired[1]]]),
        )
    return SegmentFinding(
        segment=rest.name(segment),
        measure=measure,
        effect=number(effect) or 0.0,
        effect_low=number(low) or 0.0,
        effect_high=number(high) or 0.0,
        damage_ratio=number(min(max(lost / every, 0.0), 1.0)) or 0.0 if every > 0 else 0.0,
        bad=bad,
        total=total,
        log_e=number(log_e) or 0.0,
        score=number(max(score, 0.0)) or 0.0,
    )


def _points(ratio: float) -> str:
    """A difference of rates in percentage points, two digits: ``3.1``, ``-0.25``, ``41``."""
    value = 100.0 * ratio
    if abs(value) >= 10.0:
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 1.0 else f"{value:.1f}".removesuffix(".0")


def worst_words(findings: tuple[SegmentFinding, ...]) -> str:
    """``; worst segments: …; …``: the first three; nothing where there is none."""
    told = "; ".join(finding.words for finding in findings[:NAMED])
    return f"; worst segment{'s' if len(findings) > 1 else ''}: {told}" if told else ""
