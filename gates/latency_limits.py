"""Latency limits: gates on a quantile of the candidate's latency against a limit in ms.

Law: the test is one on a share, "exceeds the limit more often than 1-p", from the edge on the side that errs
safely. A limit that the baseline breaks as well since the same onset is the environment's doing.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from paritygate.comparators.evidence import interval
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.mixture import more_needed
from paritygate.comparators.latency import BUCKETS, edges, quantile_ms
from paritygate.gates.evidence import Alphas, Sums, reached
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
from paritygate.gates.measures import QUANTILES
from paritygate.gates.onsets import Onset, late_onset
from paritygate.gates.reasons import many, milliseconds, number, percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

_EDGES: Final = edges()


def assess_limit(spec: GateSpec, sums: Sums, alphas: Alphas, whole: LatencyCounts, stage: LatencyCounts) -> Verdict:
    """One-sample test "exceeds the limit more often than 1-p", from the edge on the side that errs safely."""
    p = QUANTILES[spec.measure]
    # E_bad counts from the first edge at or above the limit, E_ok from the last one at or below it.
    first = int(np.searchsorted(_EDGES, spec.limit, side="left"))
    last = int(np.searchsorted(_EDGES, spec.limit, side="right")) - 1
    candidate = sums.histogram_since("latency.candidate", BUCKETS)
    since = bernoulli(1.0 - p, "above").log_e(candidate[:, first:].sum(axis=1), candidate.sum(axis=1))
    bad = sums.over_starts(since)
    parts: Numbers = {}
    if spec.tolerate_bursts:
        bad, parts = tolerant_log_e(sums, bad, lambda c: _log_e(c, p, first))
    failed = reached(bad, alphas.rollback)
    test, slow = bernoulli(1.0 - p, "below"), int(stage.candidate[last:].sum())
    ok = float(test.log_e(slow, stage.pairs))
    shown = whole if failed or not stage.pairs else stage
    numbers = quantiles(spec, shown, whole) | parts
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
    words = f"{name(p)} is {in_ms(value)} on {many(shown.pairs, 'pair')}"
    if failed:
        return _beyond(spec, sums, late_onset(sums, since), numbers, words)
    bound = f"at most {milliseconds(spec.limit)}"
    if not stage.pairs:
        reason = f"no pair has come in stage {sums.evidence.stage_name} yet"
        return say(spec, VerdictKind.INCONCLUSIVE, "no_data", reason, numbers)
    target = math.log(1.0 / alphas.promote)
    needed = (
        0 if reached(ok, alphas.promote) else more_needed(test.wealth(slow, stage.pairs), stage.pairs, ok, target)
    )
    verdict = stand(spec, numbers, pairs=stage.pairs, needed=needed, words=words, bound=bound)
    return outside_of_bursts(spec, sums, alphas, verdict)


def _log_e(counts: LatencyCounts, p: float, first: int) -> float:
    """log E of "slower than the limit more often than 1-p"; ``first``: the first bucket beyond it."""
    return float(bernoulli(1.0 - p, "above").log_e(int(counts.candidate[first:].sum()), counts.pairs))


def _beyond(spec: GateSpec, sums: Sums, onset: Onset | None, numbers: Numbers, words: str) -> Verdict:
    """Above a limit in ms since an onset: the candidate alone, or both arms."""
    first = int(np.searchsorted(_EDGES, spec.limit, side="left"))
    p, counts, tail = QUANTILES[spec.measure], counts_since(sums, 0 if onset is None else onset.start), ""
    slow = int(counts.candidate[first:].sum())
    if onset is not None:
        value, (low, high) = quantile_ms(counts.candidate, p), interval.quantile(counts.candidate, p, onset.alpha)
        numbers = numbers | onset_quantiles(onset, counts, p)
        numbers |= {"onset_value": number(value), "onset_low": number(low), "onset_high": number(high)}
        numbers |= {"onset_slow": slow}
        tail = f"; in all {words}"
        words = f"{onset.since} {name(p)} is {in_ms(value)} on {many(counts.pairs, 'pair')}"
    if int(counts.baseline[first:].sum()) > (1.0 - p) * counts.pairs:
        base = in_ms(quantile_ms(counts.baseline, p))
        reason = f"{words}, the baseline's {base}: above {milliseconds(spec.limit)} in both arms{tail}"
        return say(spec, VerdictKind.INCONCLUSIVE, "environment", reason, numbers)
    share = percent(slow / max(counts.pairs, 1))
    reason = f"{words}: {share} take longer than {milliseconds(spec.limit)}{tail}"
    return say(spec, VerdictKind.FAIL, "breached", reason, numbers)
