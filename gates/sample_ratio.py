"""Sample ratio: do users see the candidate's answers as often as the stage declares?

Law: it is never bad evidence against the candidate, and unless the plan requires it decides nothing. A router picks
by the hash of a key. Where keys are request ids, a mismatch means that a router does not obey, or that answers of
one arm are lost. Where keys are users or tenants, it can be no more than a large one: 5 % of the keys are not 5 %
of the requests. Only windows count that begin when routers have had time to obey.
"""

from __future__ import annotations

from typing import Final

from paritygate.comparators.evidence.ratio import log_e_ratio
from paritygate.gates.evidence import Evidence, reached
from paritygate.gates.reasons import many, number, percent
from paritygate.gates.verdict import Verdict, VerdictKind

NAME: Final = "sample_ratio"
#: A realised share this near to the declared one, as part of the smaller arm's, is near enough however certain.
NEAR_RATIO: Final = 0.05


def assess_sample_ratio(evidence: Evidence, alpha: float, *, required: bool) -> Verdict | None:
    """Judge the share of the stage, with at most chance ``alpha`` of a false mismatch; None where none is declared.

    In the shadow and at 100 % nothing is drawn, so there is nothing to judge.
    """
    if not 0 < evidence.weight < 100:
        return None
    candidate, baseline = evidence.obeyed
    total, declared = candidate + baseline, evidence.weight / 100
    numbers: dict[str, float | int | None] = {"limit": declared, "live_candidate": candidate, "total": total}

    def say(kind: VerdictKind, code: str, reason: str) -> Verdict:
        return Verdict(gate=NAME, kind=kind, reason=reason, reason_code=code, required=required, numbers=numbers)

    if not total:
        waiting = f"no user's answer since the routers have had time to obey stage {evidence.stage_name}"
        return say(VerdictKind.INCONCLUSIVE, "no_data", waiting)
    realised = candidate / total
    log_e = float(log_e_ratio(candidate, baseline, declared))
    numbers |= {"value": number(realised), "log_e_bad": number(log_e)}
    words = f"{candidate:,} of {many(total, 'answer')} that users saw are the candidate's ({percent(realised)})"
    near = abs(realised - declared) <= NEAR_RATIO * min(declared, 1.0 - declared)
    if reached(log_e, alpha) and not near:
        reason = (
            f"{words}, {percent(declared)} should be: a router that does not obey, lost answers, or one large key"
        )
        return say(VerdictKind.INCONCLUSIVE, NAME, reason)
    return say(VerdictKind.PASS, "as_declared", f"{words}, {percent(declared)} declared")
