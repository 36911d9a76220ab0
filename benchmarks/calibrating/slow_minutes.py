"""Latency gate that tolerates bursts, over many rollouts of one instance against one: `gates/latency_bursts.py`.

Law: the e-values are those of the product's own classes, at every closed minute. Bursts need not also move the
quantile here, as they must in the gate, so no rollback is missed and some are counted that it would not make.
"""

from __future__ import annotations

import math

import numpy as np

from calibrating.latencies import LEAST_PAIRS, LIMIT_PERCENT, P, Pairs, first_look, names, peers_of
from calibrating.outcome import F64, I64, NEVER, Mask, Outcome
from calibrating.rate_gates import TARGET
from calibrating.traffic import MINUTE
from paritygate.comparators.evidence.minutes import started
from paritygate.comparators.evidence.quantile import quantile_ratio
from paritygate.comparators.evidence.two_channel import failing, log_e_bursts, slow
from paritygate.comparators.latency import NEVER as LAST
from paritygate.comparators.latency import bucket, edges, pair_histograms


def simulate(
    stream: Pairs, least: int, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'; ``least``: pairs before a promotion."""
    baseline_ms, candidate_ms = stream.draw(runs, random)
    base, candidate = bucket(baseline_ms), bucket(candidate_ms)
    rollback = np.array([rolled_back(b, c) for b, c in zip(base, candidate, strict=True)], np.int64)
    promote = first_look(quantile_ratio(P, LIMIT_PERCENT, "below"), base, candidate, least=max(least, LEAST_PAIRS))
    return Outcome(rollback, promote), peers_of(baseline_ms, candidate_ms)


def rolled_back(base: I64, candidate: I64) -> int:
    """Pairs at the first minute whose E reaches the bar, from the latency buckets of one run."""
    minutes = len(base) // MINUTE
    theirs, ours = (part[: minutes * MINUTE].reshape(minutes, MINUTE) for part in (base, candidate))
    answered = np.stack([(part < LAST).sum(axis=1) for part in (theirs, ours)], axis=1)[:, :, None]
    summed = np.stack([(part * (part < LAST)).sum(axis=1) for part in (theirs, ours)], axis=1)[:, :, None]
    requests = np.full_like(answered, MINUTE)
    struck = slow(summed, answered) | failing(requests - answered, requests)
    log_e = _calm(theirs, ours, np.asarray(~struck.any(axis=(1, 2)), np.bool_))
    for count in range(1, minutes + 1):
        bursts = float(started(log_e_bursts(struck[:count], requests[:count] > 0)))
        if round(float(np.logaddexp(log_e[count - 1], bursts)) - math.log(2.0), 6) >= TARGET:
            return count * MINUTE
    return int(NEVER)


def _calm(theirs: I64, ours: I64, calm: Mask) -> F64:
    """log E of the calm minutes at the end of each minute."""
    evidence = quantile_ratio(P, LIMIT_PERCENT, "above")
    lower = edges()
    middle = np.append((lower[:-1] + lower[1:]) / 2.0, np.inf)
    which = np.flatnonzero(calm)
    if not len(which):
        return np.zeros(len(calm))
    found = [pair_histograms(middle[theirs[m]], middle[ours[m]], (evidence.shift,)) for m in which]
    log_e, _ = evidence.paired_rows(*(np.cumsum([f[name] for f in found], axis=0) for name in names(evidence)))
    seen = np.searchsorted(which, np.arange(len(calm)), side="right")
    return np.where(seen > 0, log_e[np.maximum(seen - 1, 0)], 0.0)
