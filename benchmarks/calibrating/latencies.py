"""Latency gate over many rollouts: every look of the product's gate, found without making each.

Law: since any onset the e-value is the least over all edges, so it is at most the one at any single edge, and their
mixture over onsets at most that of these bounds. Looks at which the bound stays below the bar need no full
evaluation; those that may reach it get one, by the product's own class on the product's own arrays. The first
look found is exactly that of a gate evaluated at every look. A promotion rests on all pairs so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, NEVER, Mask, Outcome
from calibrating.rate_gates import TARGET, distinct, over_starts, pane_width
from calibrating.traffic import MINUTE
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import Claim, log_mixture, start_log_weights
from paritygate.comparators.evidence.paired import paired
from paritygate.comparators.evidence.quantile import QuantileRatioEvidence, quantile_ratio
from paritygate.comparators.latency import BUCKETS, bucket
from paritygate.comparators.latency import NEVER as LAST
from paritygate.gates.evidence import STAGE_LOG_WEIGHT, WHOLE_LOG_WEIGHT

P: Final = 0.95
LIMIT_PERCENT: Final = 10.0
WINDOW: Final = 50
LEAST_PAIRS: Final = 200
CLAIMS: Final[tuple[Claim, Claim]] = ("above", "below")
#: Looks that are evaluated at once.
TOGETHER: Final = 8
SIGMA: Final = 0.6
#: log of the baseline's p95: median 20 ms.
LOG_P95: Final = math.log(20.0) + 1.6449 * SIGMA
LOG_3: Final = math.log(3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A stream of paired lognormal latencies with correlation 0.7, sigma 0.6, median 20 ms.

    ``factor``: candidate over baseline. ``load``: standard deviation of a log load that both arms share and
    that wanders from minute to minute. ``incidents``: part of the minutes with both arms 3 times slower.
    ``bursts_an_hour``: minutes, per instance and hour, with one arm 3 times slower. ``failed``: part of the
    candidate's answers that never come. ``onset``: looks before which the candidate is as fast as the baseline.
    ``window``: pairs between looks.
    """

    factor: float = 1.0
    looks: int = 400
    load: float = 0.0
    incidents: float = 0.0
    bursts_an_hour: float = 0.0
    failed: float = 0.0
    onset: int = 0
    window: int = WINDOW

    def draw(self, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
        """Latencies in ms of baseline and candidate, ``[runs, pairs]``."""
        count = self.looks * self.window
        minutes = -(-count // MINUTE)
        shared = random.standard_normal((runs, count), np.float32) * math.sqrt(0.7)
        level = np.zeros((3, runs, minutes))
        for m in range(minutes if self.load else 0):
            level[0, :, m] = (0.8 * level[0, :, m - 1] if m else 0.0) + self.load * 0.6 * random.normal(size=runs)
        struck = random.random((3, runs, minutes))
        level[0] += np.log(3.0) * (struck[0] < self.incidents)
        level[1:] += np.log(3.0) * (struck[1:] < self.bursts_an_hour / 60.0)
        drawn = []
        for arm, factor in ((1, 1.0), (2, self.factor)):
            own = random.standard_normal((runs, count), np.float32) * math.sqrt(0.3)
            log_ms = SIGMA * (shared + own) + math.log(20.0)
            log_ms[:, self.onset * self.window :] += math.log(factor)
            drawn.append(np.exp(log_ms + np.repeat(level[0] + level[arm], MINUTE, axis=1)[:, :count]))
        if self.failed:
            drawn[1][random.random((runs, count)) < self.failed] = np.inf
        return drawn[0], drawn[1]


def simulate(
    stream: Pairs, least: int, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'; ``least``: pairs before a promotion."""
    baseline_ms, candidate_ms = stream.draw(runs, random)
    base, candidate = bucket(baseline_ms), bucket(candidate_ms)
    above, below = (quantile_ratio(P, LIMIT_PERCENT, claim) for claim in CLAIMS)
    rollback = first_look(above, base, candidate, least=0, window=stream.window)
    promote = first_look(below, base, candidate, least=least, window=stream.window)
    return Outcome(rollback, promote), peers_of(baseline_ms, candidate_ms)


def first_look(
    evidence: QuantileRatioEvidence, base: I64, candidate: I64, *, least: int, window: int = WINDOW
) -> I64:
    """Pairs at the first look whose E reaches the bar, per run."""
    target = int(bucket(np.array([math.exp(LOG_P95)]))[0])
    may = _bound(evidence, base, candidate, (target - 8, target, target + 8), window) >= TARGET
    pairs = (np.arange(may.shape[1]) + 1) * window
    may &= pairs >= least
    found = np.full(len(base), NEVER)
    for run in np.flatnonzero(may.any(axis=1)).tolist():
        looks = np.flatnonzero(may[run])
        sums = np.zeros((4, 0, 0), np.int64)
        for first in range(0, len(looks), TOGETHER):
            some = looks[first : first + TOGETHER]
            if some[-1] + 1 >= sums.shape[1]:  # Most runs are told early: sums of later looks would be in vain.
                until = 2 * (int(some[-1]) + 1) * window
                sums = sums_of(evidence, base[run, :until], candidate[run, :until], window)
            reached = np.round(exactly(evidence, sums, some), 6) >= TARGET
            if reached.any():
                found[run] = pairs[some[np.argmax(reached)]]
                break
    return found


def sums_of(evidence: QuantileRatioEvidence, base: I64, candidate: I64, window: int = WINDOW) -> I64:
    """The product's four arrays of one run up to each look, ``[4, 1 + looks, BUCKETS]``.

    As `pair_histograms` counts them (a test compares the two), of all looks at once.
    """
    look = np.arange(len(base)) // window
    reach = np.where(candidate == LAST, LAST, np.clip(candidate - evidence.shift, -1, LAST))
    worse, better = reach > base, reach < base
    counts = np.zeros((4, 1 + len(base) // window, BUCKETS), np.int64)
    # Steps that begin or end after the last edge are none.
    for array, changed, first, end in ((counts[0], worse, base, reach), (counts[1], better, reach, base)):
        for bound, unit in ((first, 1), (end, -1)):
            inside = changed & (bound + 1 < BUCKETS)
            np.add.at(array, (look[inside] + 1, bound[inside] + 1), unit)
    np.add.at(counts[2], (look + 1, base), 1)
    np.add.at(counts[3], (look + 1, candidate), 1)
    sums: I64 = np.cumsum(counts, axis=1, out=counts)
    return sums


def names(evidence: QuantileRatioEvidence) -> tuple[str, str, str, str]:
    """The arrays that :meth:`QuantileRatioEvidence.paired_rows` takes, in its order."""
    return (
        f"exceed.{evidence.shift}.up",
        f"exceed.{evidence.shift}.down",
        "latency.baseline",
        "latency.candidate",
    )


def exactly(evidence: QuantileRatioEvidence, sums: I64, looks: I64) -> F64:
    """The product's evaluation at some looks of one run."""
    onsets = [_onsets(evidence.claim, int(look)) for look in looks]
    ends = np.repeat(looks + 1, [len(starts) for starts in onsets])
    log_e, _ = evidence.paired_rows(*(array[ends] - array[np.concatenate(onsets)] for array in sums))
    if evidence.claim == "below":
        return log_e
    each = np.split(log_e, np.cumsum([len(starts) for starts in onsets])[:-1])
    return np.array([_mixed(of_starts) for of_starts in each])


def _onsets(claim: Claim, look: int) -> list[int]:
    width = pane_width(look)
    return [0] if claim == "below" else [0, *range(width, look + 1, width)]


def _mixed(log_e: F64) -> float:
    """Mixture over the rollout's start and those of its panes; the stage is the whole rollout here."""
    later = start_log_weights(len(log_e) - 1) - math.log(2.0)
    weights = np.concatenate([[WHOLE_LOG_WEIGHT, STAGE_LOG_WEIGHT], later])
    return float(log_mixture(weights, np.insert(log_e, 1, log_e[0])))


def _bound(evidence: QuantileRatioEvidence, base: I64, candidate: I64, known: tuple[int, ...], window: int) -> F64:
    """At most so much is log E at every look, ``[runs, looks]``, judged by some edges."""
    counts = [_counts(evidence, base, candidate, edge, window) for edge in known]

    def least(*seen: I64) -> F64:
        total, parts = seen[0], seen[1:]
        each = [_at(evidence, total, parts[i : i + 3]) for i in range(0, len(parts), 3)]
        found: F64 = np.min(each, axis=0)
        return found

    total = np.broadcast_to((np.arange(counts[0][0].shape[1]) + 1) * window, counts[0][0].shape)
    seen = (total, *(count for edge in counts for count in edge))
    return least(*seen) if evidence.claim == "below" else over_starts(least, *seen)[0]


def _counts(
    evidence: QuantileRatioEvidence, base: I64, candidate: I64, edge: int, window: int
) -> tuple[I64, I64, I64]:
    """So far at every look: baselines at or above an edge, candidates at or above R times it, and those alone."""
    base_over, over = base >= edge, candidate >= min(max(edge + evidence.shift, 0), LAST)
    base_count, count, worse = (_looks(mask, window) for mask in (base_over, over, over & ~base_over))
    return base_count, count, worse


def _at(evidence: QuantileRatioEvidence, total: I64, counts: tuple[I64, ...]) -> F64:
    """log E at one edge."""
    base_count, count, worse = counts
    other: Claim = "below" if evidence.claim == "above" else "above"
    better = worse - count + base_count
    compared = distinct(lambda w, b: paired(0.0, evidence.claim).log_e(w, b, 0), worse, better)
    own = distinct(bernoulli(evidence.tau, evidence.claim).log_e, count, total)
    theirs = distinct(bernoulli(evidence.tau, other).log_e, base_count, total)
    mean: F64 = np.logaddexp(np.logaddexp(compared, own), theirs) - LOG_3
    return mean


def _looks(mask: Mask, window: int) -> I64:
    counts: I64 = np.cumsum(mask.reshape(len(mask), -1, window).sum(axis=2), axis=1)
    return counts


def peers_of(baseline_ms: F64, candidate_ms: F64) -> dict[str, Outcome]:
    """Per minute: ratio of the two p95 over 1.10; share over the (known) limit; p95 by minute."""
    runs = len(baseline_ms)
    base, candidate = (ms.reshape(runs, -1, MINUTE) for ms in (baseline_ms, candidate_ms))
    place = int(P * MINUTE)
    base_p95, p95 = (np.partition(ms, place, axis=2)[:, :, place] for ms in (base, candidate))
    ratio = 1.0 + LIMIT_PERCENT / 100.0
    slow = (candidate > ratio * math.exp(LOG_P95)).sum(axis=2)
    base_slow = (base > math.exp(LOG_P95)).sum(axis=2)
    return {
        "window_threshold": peers.alarms(p95 > ratio * base_p95, MINUTE),
        "z_test": peers.alarms(peers.two_proportions(slow, base_slow, MINUTE, MINUTE), MINUTE),
        "mann_whitney": peers.alarms(peers.mann_whitney(base_p95, p95), MINUTE),
    }
