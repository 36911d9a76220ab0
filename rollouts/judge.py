"""judge(): the one place that decides where a rollout goes next. Pure: the same arguments, the same ruling.

Law: promotion needs proof of every required gate and every floor; a fail rolls back at once, without a floor,
paused or not; whatever is unknown holds, and a live exposure that stays unknown ends. Rules, the first that
fits applies:

====  ====================================================  ========  ======================
rule  when                                                  action    reason code
====  ====================================================  ========  ======================
 1    already rolled back, or abandoned                     hold      ``absorbed``
 2    shadow, and the candidate has never answered          hold      ``candidate_silent``
 3    a verdict, or the segments together, say fail         rollback  ``gate_failed``
 4    candidate silent for ``candidate_silent_seconds``     rollback  ``candidate_silent``
      while users get its answers and the baseline answers
 5    live below 100 %: no request of either arm for        rollback  ``no_data``
      ``no_data_seconds``
 6    live below 100 %: less than 90 % joined of the        rollback  ``incomplete``
      stage's requests (200 at least) and of each of its
      two newest windows
 7    paused                                                hold      ``still_paused``
 8    shadow or 100 %: no request for ``no_data_seconds``   hold      ``no_data``
 9    already at 100 %                                      hold      ``promoted``
10    a required gate could not be measured                 hold      ``gate_error``
11    one arm silent for 5 s                                hold      ``candidate_silent`` or
                                                                      ``baseline_silent``
12    the baseline is sick too                              hold      ``environment``
13    all required gates pass, nothing of 16 to 23          promote   ``proven``
14    ``maximum_seconds`` over, something of 16 to 20, and  rollback  ``timeout``
      ``on_timeout: rollback``
15    ``maximum_seconds`` over, and something of 16 to 20   hold      ``timeout``
16    a partition is behind, or has never reported          hold      ``partition_behind``
17    a required gate is not proven: too many events        hold      ``unreadable``
      cannot be read; too many requests were shed or                  ``incomplete``
      lost; more in one segment than elsewhere; users                 ``informative_dropout``
      see another share of the candidate than declared;               ``sample_ratio``
      requests lie in no named segment;                               ``segment_overflow``
      too many events are dated ahead of the broker;                  ``clock_skew``
      a segment stands out; it needs more evidence                    ``segment_flagged``
                                                                      ``more_evidence``
18    a live stage whose users hardly saw the candidate     hold      ``not_exposed``
19    ``minimum_pairs`` not met                             hold      ``floor_pairs``
20    ``minimum_seconds`` not met                           hold      ``floor_time``
21    its service was rolled back less than                 hold      ``cool_down``
      ``cool_down_seconds`` ago
22    a live router has not applied the stage; none has     hold      ``ack_missing``
      spoken, and ``acknowledgements: required``
23    ``approval: required``, and nobody has approved       hold      ``approval_needed``
====  ====================================================  ========  ======================

Rule 2 stands before rule 3 because a candidate that has not come up yet has shown nothing and reaches no
user; its missing answers count from its first answer on. Rules 5 and 6 end an exposure that nobody can watch;
what only the baseline failed to answer does not count for rule 6, for users would be sent to it. At 100 % they
do not apply: the baseline may have been taken away. Floors bind promotion only. What 21 to 23 wait for is no lack
of proof, so rules 14 and 15 do not run against it; a promotion by force passes over all three. "Gates" are all
verdicts of the assessment, the checks that always run (join completeness, segment parity) included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from paritygate.gates.assess import Assessment
from paritygate.gates.completeness import BROKEN_RATIO
from paritygate.gates.reasons import at_present_rate, percent
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts.estimate import remaining_ms
from paritygate.rollouts.facts import BROKEN_WINDOWS, Facts
from paritygate.rollouts.ladder import Stage
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.roll import missing
from paritygate.rollouts.state import STILL_PAUSED, RolloutState, RolloutStatus
from paritygate.schemas.decision import Action
from paritygate.schemas.topics import ROUTER_ACKS

ENVIRONMENT: Final = "environment"
#: Everything for the next stage is proven, and a person must say yes.
APPROVAL_NEEDED: Final = "approval_needed"
#: Everything for the next stage is proven, and it is too soon after a rollback of the service.
COOL_DOWN: Final = "cool_down"
#: Everything for the next stage is proven, and not every live router has applied the present one.
ACK_MISSING: Final = "ack_missing"
#: In the reason of what ends a rollout whose impact is high.
REVIEW_DUE: Final = "its impact is high: a review is due"
#: In the reason of a rollback, and among the numbers of gates on rates: the baseline is not well itself.
TARGET_UNHEALTHY: Final = "target_unhealthy"
#: Why a gate is not proven, where that is more than a matter of time; the most telling first.
TELLING: Final = (
    "unreadable",
    "incomplete",
    "informative_dropout",
    "sample_ratio",
    "segment_overflow",
    "clock_skew",
    "segment_flagged",
)
#: An arm that has not answered for less is not called silent: at low traffic such gaps are normal.
SILENT_MS: Final = 5_000
#: How much longer than the join takes to report a window a partition may be behind the others.
LAG_MS: Final = 5_000
#: Fewer requests of a stage do not tell a hole in the evidence from bad luck.
LEAST_TO_MISS: Final = 200


@dataclass(frozen=True, slots=True)
class Ruling:
    """Where to go: ``stage`` is the one in force afterwards. ``reason`` is for people, ``reason_code`` stays."""

    action: Action
    stage: Stage
    reason_code: str
    reason: str


def judge(plan: RolloutPlan, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling:
    """Rule on one rollout; the table of rules stands at the top of this module."""
    if state.final:
        said = "rolled back" if state.status is RolloutStatus.ROLLED_BACK else "abandoned"
        return _hold(state, "absorbed", f"{said}; a new candidate needs a new rollout id")
    ruling = (
        _against(plan, state, assessment, facts)
        or _unwatched(plan, state, facts)
        or _standing(plan, state, facts)
        or _unknown(plan, state, assessment, facts)
        or _upward(plan, state, assessment, facts)
    )
    if ruling.action is not Action.ROLLBACK or TARGET_UNHEALTHY in ruling.reason:
        return ruling
    return replace(ruling, reason=f"{ruling.reason}{_target(assessment, facts)}")


def reviewed(plan: RolloutPlan, ruling: Ruling) -> str:
    """The reason of ``ruling``, and where it ends a rollout of high impact, that a review is due."""
    ends = ruling.action is Action.ROLLBACK or (
        ruling.action is Action.PROMOTE and ruling.stage == plan.ladder.last
    )
    return f"{ruling.reason}; {REVIEW_DUE}" if ends and plan.reviewed else ruling.reason


def _target(assessment: Assessment, facts: Facts) -> str:
    """That the baseline, to which a rollback leads, is not well either; nothing where it is, as far as is known."""
    sick = [v for v in assessment.verdicts if v.required and v.numbers.get(TARGET_UNHEALTHY)]
    if sick:
        return f"; {TARGET_UNHEALTHY}: the baseline breaks the limit of {_names(sick)} itself"
    if facts.baseline_silent_ms >= SILENT_MS:
        return f"; {TARGET_UNHEALTHY}: the baseline has been silent for {_seconds(facts.baseline_silent_ms)}"
    return ""


def _against(plan: RolloutPlan, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling | None:
    """Rules 2 to 4: what speaks against the candidate."""
    live = state.stage.weight > 0
    if not live and not facts.candidate_answered:
        return _hold(state, "candidate_silent", "waits for the candidate's first answer; no user is exposed")
    failed = [v for v in assessment.verdicts if v.required and v.kind is VerdictKind.FAIL]
    if failed or assessment.overall is VerdictKind.FAIL:
        return Ruling(Action.ROLLBACK, plan.ladder.first, "gate_failed", _failure(failed, assessment))
    if live and facts.candidate_silent_ms >= plan.candidate_silent_seconds * 1000:
        silence = f"the candidate has not answered for {_seconds(facts.candidate_silent_ms)} while the baseline has"
        return Ruling(Action.ROLLBACK, plan.ladder.first, "candidate_silent", silence)
    return None


def _unwatched(plan: RolloutPlan, state: RolloutState, facts: Facts) -> Ruling | None:
    """Rules 5 and 6: users are exposed, and nobody can see to what."""
    if not 0 < state.stage.weight < 100:
        return None
    if _no_data(plan, facts):
        silence = f"no request of either arm for {_seconds(facts.no_data_ms)} in live stage {state.stage.name}"
        return Ruling(Action.ROLLBACK, plan.ladder.first, "no_data", silence)
    known, missing = facts.stage_known, facts.stage_unjoined
    hole = known >= LEAST_TO_MISS and known - missing < BROKEN_RATIO * known
    if hole and facts.broken_windows >= BROKEN_WINDOWS:
        lost = f"{missing:,} of {_many(known, 'request')} of live stage {state.stage.name} are lost to the evidence"
        reason = f"{lost}, in its newest windows too: less than {percent(BROKEN_RATIO)} can be judged"
        return Ruling(Action.ROLLBACK, plan.ladder.first, "incomplete", reason)
    return None


def _no_data(plan: RolloutPlan, facts: Facts) -> bool:
    return facts.no_data_ms >= plan.no_data_seconds * 1000


def _standing(plan: RolloutPlan, state: RolloutState, facts: Facts) -> Ruling | None:
    """Rules 7 to 9: nothing is to be won."""
    if state.status is RolloutStatus.PAUSED:
        return _hold(state, STILL_PAUSED, "paused by an operator; a fail still rolls back")
    if _no_data(plan, facts):
        return _hold(state, "no_data", f"no request of either arm for {_seconds(facts.no_data_ms)}")
    if state.status is RolloutStatus.PROMOTED:
        return _hold(state, "promoted", "the candidate has all of the traffic; a fail still rolls back")
    return None


def _unknown(plan: RolloutPlan, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling | None:
    """Rules 10 to 12: what is unknown is neither good nor bad."""
    required = [v for v in assessment.verdicts if v.required]
    broken = [v for v in required if v.kind is VerdictKind.ERROR]
    if broken:
        return _hold(state, "gate_error", f"cannot measure {_names(broken)}: {broken[0].reason}")
    if facts.candidate_silent_ms >= SILENT_MS:
        what = f"the candidate has been silent for {_seconds(facts.candidate_silent_ms)}"
        limit = f"rolls back at {plan.candidate_silent_seconds} s" if state.stage.weight else "no user is exposed"
        return _hold(state, "candidate_silent", f"{what}; {limit}")
    if facts.baseline_silent_ms >= SILENT_MS:
        what = f"the baseline has been silent for {_seconds(facts.baseline_silent_ms)}"
        return _hold(state, "baseline_silent", f"{what}: there is nothing to compare with")
    sick = [v for v in required if v.reason_code == ENVIRONMENT]
    if sick:
        return _hold(state, ENVIRONMENT, f"both arms are sick ({sick[0].gate}): {sick[0].reason}")
    return None


def _upward(plan: RolloutPlan, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling:
    """Rules 13 to 23: proof, floors, and what else a promotion waits for."""
    stage, above = state.stage, plan.ladder.next(state.stage)
    waits = _waits(plan, stage, assessment, facts)
    if not waits and above is not None:
        live = f"{above.weight} % of live traffic" if above.weight < 100 else "all of the live traffic"
        gates = sum(v.required for v in assessment.verdicts)
        proof = f"{_many(gates, 'required gate')} proven on {_many(facts.stage_pairs, 'pair')}"
        barred = _barred(plan, state, facts)
        if barred is not None:
            code, why = barred
            return _hold(state, code, f"{proof}; {why}")
        if stage.approval and not state.approval:
            # A person's time is no lack of proof: rules 14 and 15 do not run against it.
            return _hold(state, APPROVAL_NEEDED, f"{proof}; stage {stage.name} is left only with an approval")
        approved = f", {state.approval}" if stage.approval else ""
        return Ruling(Action.PROMOTE, above, "proven", f"{proof}{approved}: the candidate gets {live}")
    code, reason = waits[0] if waits else ("promoted", "there is no stage above")
    if stage.maximum_ms is not None and facts.in_stage_ms >= stage.maximum_ms:
        over = f"no proof within {_seconds(stage.maximum_ms)} in stage {stage.name}: {reason}"
        if plan.on_timeout == "rollback":
            return Ruling(Action.ROLLBACK, plan.ladder.first, "timeout", over)
        return _hold(state, "timeout", f"{over}; {plan.owner} must decide")
    return _hold(state, code, reason)


def _barred(plan: RolloutPlan, state: RolloutState, facts: Facts) -> tuple[str, str] | None:
    """Rules 21 and 22: what a promotion waits for that is no matter of this candidate's evidence."""
    if facts.cooling_ms > 0:
        left = f"{_seconds(facts.cooling_ms)} of the pause of {plan.cool_down_seconds:,} s are left"
        return COOL_DOWN, f"service {plan.service} was rolled back a short time ago: {left}"
    if plan.acknowledgements == "ignored" or facts.routers is None:
        return None
    stage = state.stage
    late = missing(facts.routers, stage, state.entered)
    if late.count:
        who = f"{late.count:,} of {_many(late.known, 'router')} {'has' if late.count == 1 else 'have'} not applied"
        return ACK_MISSING, f"{who} stage {stage.name} ({stage.weight} %): {late.named}"
    if not late.known and plan.acknowledgements == "required":
        nobody = f"no router has said on {ROUTER_ACKS.name} that it applied stage {stage.name} ({stage.weight} %)"
        return ACK_MISSING, f"{nobody}, and the plan says acknowledgements: required"
    return None


def _waits(plan: RolloutPlan, stage: Stage, assessment: Assessment, facts: Facts) -> Sequence[tuple[str, str]]:
    """What a promotion still waits for, the most telling first; empty when nothing is missing."""
    waits: list[tuple[str, str]] = []
    limit_ms = plan.join.window_ms + plan.join.grace_ms + plan.join.lateness_ms + LAG_MS
    if facts.lag_ms is None:
        waits.append(("partition_behind", "not every partition has reported yet"))
    elif facts.lag_ms > limit_ms:
        behind = f"one partition is {_seconds(facts.lag_ms)} behind the others: part of the traffic is unknown"
        waits.append(("partition_behind", behind))
    required = [v for v in assessment.verdicts if v.required]
    open_gates = [v for v in required if v.kind is not VerdictKind.PASS]
    if open_gates:
        waits.append(_open(open_gates))
    elif not required or assessment.overall is not VerdictKind.PASS:
        where = f" in {assessment.worst_segment}" if assessment.worst_segment else ""
        waits.append(("more_evidence", f"not yet proven{where}"))
    # Half of the share that the weight promises: routers need a moment to obey, and a hash is not exact.
    exposed = max(1, stage.minimum_pairs * stage.weight // 200) if stage.weight else 0
    if facts.stage_live < exposed:
        seen = f"{_many(facts.stage_live, 'answer')} of the candidate reached users in stage {stage.name}"
        waits.append(("not_exposed", f"only {seen}, at least {exposed:,} must: do the routers obey?"))
    missing = stage.minimum_pairs - facts.stage_pairs
    if missing > 0:
        time = at_present_rate(remaining_ms(missing, facts.stage_pairs, facts.counted_ms))
        floor = f"needs {_many(missing, 'more pair')} (at least {stage.minimum_pairs:,}){time}"
        waits.append(("floor_pairs", floor))
    left_ms = stage.minimum_ms - facts.in_stage_ms
    if left_ms > 0:
        waits.append(("floor_time", f"stays {_seconds(left_ms)} longer in stage {stage.name}"))
    return waits


def _open(open_gates: Sequence[Verdict]) -> tuple[str, str]:
    """Reason code and the gate to speak of: a telling one, else the one that waits longest."""

    def wait(verdict: Verdict) -> tuple[int, float]:
        telling = TELLING.index(verdict.reason_code) if verdict.reason_code in TELLING else len(TELLING)
        # Time compares what is counted differently; the count stands in where no time was worked out.
        needed = verdict.numbers.get("more_needed_ms", verdict.numbers.get("more_needed"))
        # A gate that cannot say how much it needs (no review yet) waits longer than any that can.
        return telling, -math.inf if needed is None else -needed

    first = min(open_gates, key=wait)
    others = f" (and {_many(len(open_gates) - 1, 'other gate')})" if len(open_gates) > 1 else ""
    code = first.reason_code if first.reason_code in TELLING else "more_evidence"
    return code, f"{first.gate}{others}: {first.reason}"


def _failure(failed: Sequence[Verdict], assessment: Assessment) -> str:
    """Gate, segment and numbers of the failure."""
    if not failed:
        return f"the segments together fail, worst {assessment.worst_segment or 'unknown'}"
    first = failed[0]
    segment = first.segment if first.segment != "all" else assessment.worst_segment
    where = f" in {segment}" if segment and segment != "all" else ""
    others = f" (also {_names(failed[1:])})" if len(failed) > 1 else ""
    return f"{first.gate}{where}: {first.reason}{others}"


def _hold(state: RolloutState, code: str, reason: str) -> Ruling:
    return Ruling(Action.HOLD, state.stage, code, reason)


def _names(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(dict.fromkeys(v.gate for v in verdicts))


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _seconds(ms: int) -> str:
    return f"{-(-ms // 1000):,} s"
