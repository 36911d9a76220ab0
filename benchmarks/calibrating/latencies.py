"""Latency gate over many rollouts: every look of the product's gate, found without making each.

Law: since any onset the e-value is the least over all edges, so it is at most the one at any single edge, and their
mixture over onsets at most that of these bounds. Looks at which the bound stays below the bar need no full
evaluation; the first that may reach it gets one, by the product's own class on the product's own arrays, and the
edge it names for the loudest onset joins the known ones. The first look found is exactly that of a gate evaluated
at every look. A promotion rests on all pairs so far.
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
from paritygate.comparators.latency import NEVER as LAST
from paritygate.comparators.latency import bucket, edges, pair_histograms
from paritygate.gates.evidence import STAGE_LOG_WEIGHT, WHOLE_LOG_WEIGHT

P: Final = 0.95
LIMIT_PERCENT: Final = 10.0
WINDOW: Final = 50
LEAST_PAIRS: Final = 200
SIGMA: Final = 0.6
#: log of the baseline's p95: median 20 ms.
LOG_P95: Final = math.log(20.0) + 1.6449 * SIGMA
LOG_3: Final = math.log(3.0)
_EDGES: Final = edges()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A stream of paired lognormal latencies with correlation 0.7, sigma 0.6, median 20 ms.

    ``factor``: candidate over baseline. ``load``: standard deviation of a log load that both arms share and
    that wanders from minute to minute. ``incidents``: part of the minutes with both arms 3 times slower.
    ``bursts_an_hour``: minutes, per instance and hour, with one arm 3 times slower. ``failed``: part of the
    candidate's answers that never come. ``onset``: looks before which the candidate is as fast as the baseline.
    """

    factor: float = 1.0
    looks: int = 400
    load: float = 0.0
    incidents: float = 0.0
    bursts_an_hour: float = 0.0
    failed: float = 0.0
    onset: int = 0

    def draw(self, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
        """Latencies in ms of baseline and candidate, ``[runs, pairs]``."""
        count = self.looks * WINDOW
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
            log_ms[:, self.onset * WINDOW :] += math.log(factor)
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
    rollback = first_look(quantile_ratio(P, LIMIT_PERCENT, "above"), "above", base, candidate, least=0)
    promote = first_look(quantile_ratio(P, LIMIT_PERCENT, "below"), "below", base, candidate, least=least)
    return Outcome(rollback, promote), peers_of(baseline_ms, candidate_ms)


def first_look(evidence: QuantileRatioEvidence, claim: Claim, base: I64, candidate: I64, *, least: int) -> I64:
    """Pairs at the first look whose E reaches the bar, per run."""
    target = int(bucket(np.array([math.exp(LOG_P95)]))[0])
    known = (target - 8, target, target + 8)
    bound = _bound(evidence, claim, base, candidate, known)
    pairs = (np.arange(bound.shape[1]) + 1) * WINDOW
    found = np.full(len(base), NEVER)
    for run in range(len(base)):
        edges_, below, first = list(known), bound[run], int(np.searchsorted(pairs, least))
        while (below[first:] >= TARGET).any():
            look = first + int(np.argmax(below[first:] >= TARGET))
            log_e, edge = exactly(evidence, claim, base[run], candidate[run], look)
            if round(log_e, 6) >= TARGET:
                found[run] = pairs[look]
                break
            first = look + 1
            if edge not in edges_:
                edges_.append(edge)
                below = _bound(evidence, claim, base[run : run + 1], candidate[run : run + 1], tuple(edges_))[0]
    return found


def exactly(
    evidence: QuantileRatioEvidence, claim: Claim, base: I64, candidate: I64, look: int
) -> tuple[float, int]:
    """The product's evaluation at a look, from latencies in the middle of their buckets, and its deciding edge."""
    starts = [0] if claim == "below" else [0, *range(pane_width(look), look + 1, pane_width(look))]
    middle = np.append((_EDGES[:-1] + _EDGES[1:]) / 2.0, np.inf)
    end = (look + 1) * WINDOW
    names = (
        f"exceed.{evidence.shift}.up",
        f"exceed.{evidence.shift}.down",
        "latency.baseline",
        "latency.candidate",
    )
    held = [
        pair_histograms(middle[base[s * WINDOW : end]], middle[candidate[s * WINDOW : end]], (evidence.shift,))
        for s in starts
    ]
    log_e, edge = evidence.paired_rows(*(np.array([counts[name] for counts in held]) for name in names))
    if claim == "below":
        return float(log_e[0]), int(edge[0])
    # The stage is the whole rollout here.
    log_e, edge = np.insert(log_e, 1, log_e[0]), np.insert(edge, 1, edge[0])
    later = start_log_weights(len(starts) - 1) - math.log(2.0)
    weights = np.concatenate([[WHOLE_LOG_WEIGHT, STAGE_LOG_WEIGHT], later])
    return float(log_mixture(weights, log_e)), int(edge[np.argmax(log_e + weights)])


def _bound(evidence: QuantileRatioEvidence, claim: Claim, base: I64, candidate: I64, known: tuple[int, ...]) -> F64:
    """At most so much is log E at every look, ``[runs, looks]``, judged by some edges."""
    counts = [_counts(evidence, base, candidate, edge) for edge in known]

    def least(*seen: I64) -> F64:
        total, parts = seen[0], seen[1:]
        each = [_at(evidence, claim, total, parts[i : i + 3]) for i in range(0, len(parts), 3)]
        found: F64 = np.min(each, axis=0)
        return found

    total = np.broadcast_to((np.arange(counts[0][0].shape[1]) + 1) * WINDOW, counts[0][0].shape)
    seen = (total, *(count for edge in counts for count in edge))
    return least(*seen) if claim == "below" else over_starts(least, *seen)[0]


def _counts(evidence: QuantileRatioEvidence, base: I64, candidate: I64, edge: int) -> tuple[I64, I64, I64]:
    """So far at every look: baselines at or above an edge, candidates at or above R times it, and those alone."""
    base_over, over = base >= edge, candidate >= min(max(edge + evidence.shift, 0), LAST)
    base_count, count, worse = (_looks(mask) for mask in (base_over, over, over & ~base_over))
    return base_count, count, worse


def _at(evidence: QuantileRatioEvidence, claim: Claim, total: I64, counts: tuple[I64, ...]) -> F64:
    """log E at one edge."""
    base_count, count, worse = counts
    other: Claim = "below" if claim == "above" else "above"
    better = worse - count + base_count
    compared = distinct(lambda w, b: paired(0.0, claim).log_e(w, b, 0), worse, better)
    own = distinct(bernoulli(evidence.tau, claim).log_e, count, total)
    theirs = distinct(bernoulli(evidence.tau, other).log_e, base_count, total)
    mean: F64 = np.logaddexp(np.logaddexp(compared, own), theirs) - LOG_3
    return mean


def _looks(mask: Mask) -> I64:
    counts: I64 = np.cumsum(mask.reshape(len(mask), -1, WINDOW).sum(axis=2), axis=1)
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
