"""Questions: what the people of the review have to answer, each raised by a fact of the record.

Law: no fact, no question; a question names the fact, with its number. The order is by weight: harm, then what was
not proven, then what was not seen, then what people did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from paritygate.gates.findings import SegmentFinding
from paritygate.gates.reasons import many
from paritygate.rollouts.histories import GateHistory
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.decision import GateDecision

#: Totals that say that something was not seen as it was, and how that is called.
_UNSEEN: Final = {
    "poison": "unreadable events",
    "late": "events that came too late for their window",
    "future": "events from the future: whose clock is wrong",
    "conflict": "requests with conflicting answers of one arm",
    "evicted": "requests crowded out of the join",
    "segment_overflow": "requests whose segment had no room to be named",
    "dropped.baseline": "events dropped by the baseline's publisher",
    "dropped.candidate": "events dropped by the candidate's publisher",
}
_ALWAYS: Final = {"start"}


def questions(
    plan: RolloutPlan,
    *,
    outcome: str,
    final: GateDecision,
    gates: Sequence[GateHistory],
    findings: Sequence[SegmentFinding],
    totals: Mapping[str, int],
    deeds: Sequence[tuple[str, str, str]],
    exposed: int,
    ignored: Mapping[str, int],
    unread: int,
) -> tuple[str, ...]:
    """The open questions, most grave first. ``deeds``: kind, actor and reason of each command."""
    return tuple(
        dict.fromkeys(
            [
                *_harm(outcome, final, findings, exposed),
                *_unproven(outcome, gates),
                *_unseen(totals, ignored, unread),
                *_people(plan, deeds),
            ]
        )
    )


def _harm(outcome: str, final: GateDecision, findings: Sequence[SegmentFinding], exposed: int) -> Iterator[str]:
    failed = [v for v in final.verdicts if v.verdict == "fail" and v.required]
    if outcome == "rolled back":
        for verdict in failed:
            where = "" if verdict.segment == "all" else f" in {verdict.segment}"
            yield f"Gate {verdict.gate} failed{where}: what causes it, and which test will find it?"
        if not failed:
            yield f"It was rolled back without a failed gate ({final.reason_code}): what has to change?"
        if exposed:
            yield (
                f"{many(exposed, 'request')} of users got the candidate's answer before the rollback: does anybody "
                "have to be told, or an answer to be mended?"
            )
    named = {v.segment for v in failed}
    for finding in findings:
        if finding.segment not in named:
            named.add(finding.segment)
            yield f"{finding.measure} stands out in {finding.words}: why there?"


def _unproven(outcome: str, gates: Sequence[GateHistory]) -> Iterator[str]:
    for gate in gates:
        if gate.verdict == "fail" and not gate.required:
            yield f"Advisory gate {gate.gate} fails ({gate.reason}): is it to be required?"
        elif gate.verdict in {"inconclusive", "error"} and gate.required and outcome != "promoted":
            yield f"Gate {gate.gate} was never decided at the end ({gate.reason}): what would it have taken?"
        if "outside of bursts" in gate.reason or "bursts are not excluded" in gate.reason:
            yield f"Gate {gate.gate} speaks of what is outside of bursts only: what were the bursts?"


def _unseen(totals: Mapping[str, int], ignored: Mapping[str, int], unread: int) -> Iterator[str]:
    for name, words in _UNSEEN.items():
        if count := totals.get(name, 0):
            yield f"{count:,} {words}: what was lost to the evidence?"
    if count := ignored.get("foreign", 0) + ignored.get("stale", 0):
        yield f"{many(count, 'window report')} could not be counted: did two workers run with different plans?"
    if unread:
        yield f"{many(unread, 'record')} of the control topics could not be read: who wrote them?"


def _people(plan: RolloutPlan, deeds: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for kind, actor, reason in deeds:
        if kind not in _ALWAYS:
            said = f"“{reason}”" if reason else "no reason given"
            yield f"{actor} said {kind} ({said}): was it right, and would the gates have come to the same?"
    if plan.impact == "high":
        yield f"The impact is high, so a review is required: who signs it beside {plan.owner}?"
