"""Latency bursts: what a latency gate that tolerates them asks of closed minutes, by instance.

Law: two parts of fixed and equal weight. *Calm*: the gate's own test on the latencies of the minutes in which no
instance of either arm was slow or failing. *Bursts*: slow or failing instance-minutes as events, which condemn
only while the gate's own test on all requests condemns too: bursts that leave the quantile within its limit are
nobody's harm. Without counts by instance (a join that was begun without) the gate judges requests as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence.minutes import started
from paritygate.comparators.evidence.mixture import log_mixture, uniform
from paritygate.comparators.evidence.two_channel import failing, log_e_bursts, slow
from paritygate.comparators.instances import PLACE
from paritygate.comparators.tally import Tally
from paritygate.gates.bursts import bursts_in_stage, exclusion, struck_by_arm
from paritygate.gates.evidence import Alphas, Sums
from paritygate.gates.latency_counts import LatencyCounts, Numbers
from paritygate.gates.reasons import number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

Mask = npt.NDArray[np.bool_]


def tolerant_log_e(sums: Sums, by_requests: float, test: Callable[[LatencyCounts], float]) -> tuple[float, Numbers]:
    """log E of the gate and its parts.

    ``by_requests``: log E of the gate's own test on all requests; ``test``: of that test on some counts.
    """
    known = sums.evidence.instances
    if known is None:
        return by_requests, {}
    struck, active = _struck(sums)
    calm_counts = LatencyCounts(Tally((), histograms=dict(known.calm)))
    calm = test(calm_counts) if calm_counts.pairs else 0.0
    bursts = min(float(started(log_e_bursts(struck, active))), max(by_requests, 0.0))
    parts = {"log_e_calm": number(calm), "log_e_bursts": number(bursts), "calm_total": calm_counts.pairs}
    return float(log_mixture(uniform(2), np.array([calm, bursts]))), parts | struck_by_arm(struck, active)


def outside_of_bursts(spec: GateSpec, sums: Sums, alphas: Alphas, verdict: Verdict) -> Verdict:
    """A pass says what it excludes of bursts, and may have to wait for that; other verdicts stay."""
    if not spec.tolerate_bursts or verdict.kind is not VerdictKind.PASS:
        return verdict
    excluded, words, more = exclusion(spec, bursts_in_stage(*_struck(sums), sums), alphas.promote)
    reason = f"{verdict.reason} outside of bursts; {words}"
    if excluded:
        return replace(verdict, reason=reason)
    numbers = dict(verdict.numbers) | {"more_hours_needed": more}
    return replace(verdict, kind=VerdictKind.INCONCLUSIVE, reason_code="more_data", reason=reason, numbers=numbers)


def _struck(sums: Sums) -> tuple[Mask, Mask]:
    """Which instance-minutes were slow or failing, of which: ``[minutes, arms, instances]``."""
    known = sums.evidence.instances
    if known is None:
        return np.zeros((0, 2, 1), np.bool_), np.zeros((0, 2, 1), np.bool_)
    part = {what: known.minutes[:, :, place] for what, place in PLACE.items()}
    struck = slow(part["latency_buckets"], part["answered"]) | failing(part["errors"], part["requests"])
    return struck, part["requests"] > 0
