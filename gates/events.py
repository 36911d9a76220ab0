"""Events: gates on counts of rare, grave events: GPU memory exhausted, instances restarted.

Law: more events than allowed is a fail at once, without statistics. Silence is worth what ran meanwhile: a
pass needs running time of the candidate in the stage, and its reason says which rate that excludes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from paritygate.comparators.evidence.poisson import excluded_per_hour, poisson
from paritygate.gates.evidence import Alphas, Evidence, reached
from paritygate.gates.reasons import many, number
from paritygate.gates.spec import GateSpec
from paritygate.gates.verdict import Verdict, VerdictKind

HOUR_MS: Final = 3_600_000.0


@dataclass(frozen=True, slots=True)
class _Source:
    total: str
    noun: str


SOURCES: Final[dict[str, _Source]] = {
    "gpu_oom_events": _Source("ooms", "GPU out-of-memory event"),
    "pod_restarts": _Source("restarts", "restart"),
}


def assess_events(spec: GateSpec, evidence: Evidence, alphas: Alphas) -> Verdict:
    """Judge a gate on rare events."""
    source = SOURCES[spec.measure]
    whole, stage = evidence.whole.totals, evidence.stage.totals
    events, in_stage = whole.get(f"{source.total}.candidate", 0), stage.get(f"{source.total}.candidate", 0)
    hours = stage.get("running_ms.candidate", 0) / HOUR_MS
    excluded = excluded_per_hour(hours, alphas.promote) if not in_stage else math.inf
    numbers: dict[str, float | int | None] = {
        "value": events,
        "limit": spec.limit,
        "whole_baseline": whole.get(f"{source.total}.baseline", 0),
        "stage_events": in_stage,
        "stage_hours": number(hours),
        "excluded_per_hour": number(excluded),
    }

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(
            gate=spec.name, kind=kind, reason=reason, reason_code=code, required=spec.required, numbers=numbers
        )

    # A count above the limit needs no exposure and no report of the stage: it has happened.
    counted = f"{many(events, source.noun) if events else f'no {source.noun}'} of the candidate"
    if events > spec.limit:
        base = numbers["whole_baseline"]
        return say(
            VerdictKind.FAIL, "breached", f"{counted} ({base:,} of the baseline), at most {spec.limit:g} may be"
        )
    if not whole.get("reports.candidate", 0) or hours <= 0.0:
        reason = f"no platform report of the candidate's running time has come in stage {evidence.stage_name} yet"
        return say(VerdictKind.INCONCLUSIVE, "no_data", reason)
    span = f"{in_stage} in {_hours(hours)}"
    if spec.max_rate_to_exclude_per_hour is None:
        return say(VerdictKind.PASS, "proven", f"{counted}; {span}{_only(excluded)}")
    log_e_ok = poisson(spec.max_rate_to_exclude_per_hour, "below").log_e(in_stage, hours)
    numbers["log_e_ok"] = number(log_e_ok)
    wanted = _rate(spec.max_rate_to_exclude_per_hour)
    if reached(log_e_ok, alphas.promote):
        return say(VerdictKind.PASS, "proven", f"{counted}; {span}: a rate over {wanted} is excluded")
    reason = f"{counted}; {span}{_only(excluded)}; {wanted} must be"
    if not in_stage:
        more = excluded_per_hour(1.0, alphas.promote) / spec.max_rate_to_exclude_per_hour - hours
        numbers["more_hours_needed"] = number(more)
        reason = f"{reason}: {_hours(more)} more without one"
    return say(VerdictKind.INCONCLUSIVE, "more_data", reason)


def _only(excluded: float) -> str:
    return f": only rates over {_rate(excluded)} are excluded" if math.isfinite(excluded) else ""


def _hours(hours: float) -> str:
    return f"{hours:.2g} h" if hours < 100.0 else f"{hours:,.0f} h"


def _rate(per_hour: float) -> str:
    return f"{per_hour:.3g}/h" if per_hour < 1000.0 else f"{per_hour:,.0f}/h"
