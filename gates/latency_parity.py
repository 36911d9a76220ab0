"""Latency parity: where is the candidate slower? A quantile of all requests hides an endpoint with 2 % of them.

Law: it can only hold, never roll back. R is what the candidate's latency may be, in times of the baseline's, by
the first required gate that compares latencies (1.1 where there is none). Of the pairs that both arms answered,
those in which the candidate took more than ``CLEARLY`` * R of the baseline count as slower, those in which it took
less than R / ``CLEARLY`` as faster, and each segment bets that slower is the more frequent (McNemar).

That is an e-value where the logarithm of the ratio candidate / baseline lies symmetrically around log R, or around
less: then slower is no more likely than faster, whatever the spread. A candidate that is as fast as the baseline
has log R in hand. Ratios that lean to the slow side (a cold cache in one arm) are a finding, and a rightful one:
more pairs are clearly slower than clearly faster. Segments are told from chance by e-BH at ``alpha_rollback``, so
it does not matter how many there are.
"""

from __future__ import annotations

import math

from paritygate.gates.columns import LATENCY, LATENCY_PARITY
from paritygate.gates.evidence import Sums, floored
from paritygate.gates.findings import (
    LEAST_BAD,
    SegmentFinding,
    describe,
    flagged,
    outstanding,
    parity_log_e,
    worst_words,
)
from paritygate.gates.reasons import percent
from paritygate.gates.verdict import Verdict


def assess_latency_parity(
    sums: Sums, alpha: float, *, required: bool
) -> tuple[Verdict, tuple[SegmentFinding, ...]] | None:
    """Whether e-BH rejects a segment; None where none is clearly slower.

    ``required``: whether it holds, or is only shown (where every gate on latency is advisory).
    """
    if not sums.in_whole(LATENCY.bad):
        return None
    table = sums.segments
    log_e = floored(parity_log_e(LATENCY_PARITY, sums), table.count(LATENCY.bad), LEAST_BAD)
    findings = describe(LATENCY_PARITY, sums, log_e, outstanding(sums, log_e, alpha, math.inf))
    if not findings:
        return None
    first = findings[0]
    slower = first.bad / max(first.total, 1)
    faster = max(slower - first.effect, 0.0)
    told = f"{percent(slower)} of the pairs clearly slower, {percent(faster)} clearly faster"
    reason = f"{first.segment}: {told}{worst_words(findings)}"
    counts = {"slower": first.bad, "total": first.total, "damage_ratio": first.damage_ratio}
    return flagged(LATENCY_PARITY, first, reason, required=required, **counts), findings
