"""Verdict: what a rollout's newest decision says to another controller. Pure.

Law: ``fail`` never expires; ``pass`` needs every required gate and fresh sources; all else is ``inconclusive``. A
controller that asks is told to go only where the rollout itself would go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paritygate.dashboard.board import Entry

FAILED = frozenset({"rolled back", "abandoned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``verdict``: ``pass``, ``fail`` or ``inconclusive``; ``reason``: a sentence."""

    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To one hook of Flagger: whether it may go on, and why."""

    go: bool
    reason: str


def verdict_of(entry: Entry, complaints: Sequence[str] = ()) -> Verdict:
    """The verdict of a rollout that has decided at least once; ``complaints``: why its numbers may be old."""
    newest = entry.decisions[-1]
    outcome = entry.outcome
    if outcome in FAILED:
        return Verdict(verdict="fail", reason=newest.reason)
    failed = [v for v in newest.verdicts if v.required and v.verdict == "fail"]
    if failed:
        return Verdict(verdict="fail", reason=failed[0].reason)
    if complaints:
        return Verdict(verdict="inconclusive", reason=complaints[0])
    required = [v for v in newest.verdicts if v.required]
    proven = bool(required) and all(v.verdict == "pass" for v in required)
    good = outcome == "promoted" or (proven and outcome != "paused")
    return Verdict(verdict="pass" if good else "inconclusive", reason=newest.reason)


def answer(hook: str, entry: Entry, complaints: Sequence[str], canary_weight: int | None) -> Answer:
    """What to answer Flagger's ``hook``.

    ``canary_weight``: percent that its canary has now, where it tells. ``rollback`` is a question whether to roll
    back, so it goes where the verdict fails.

    :raises KeyError: no such hook.
    """
    newest, verdict = entry.decisions[-1], verdict_of(entry, complaints)
    failed = verdict.verdict == "fail"
    if hook == "rollback":
        return Answer(go=failed, reason=verdict.reason)
    if failed or complaints or entry.outcome == "paused":
        return Answer(go=False, reason=verdict.reason)
    if hook == "confirm-rollout":
        return Answer(go=True, reason=f"the rollout is {entry.outcome}: {newest.reason}")
    if hook == "confirm-traffic-increase":
        more = canary_weight is not None and newest.weight > canary_weight
        return Answer(go=verdict.verdict == "pass" or more, reason=verdict.reason)
    if hook == "confirm-promotion":
        return Answer(go=verdict.verdict == "pass" and newest.weight == 100, reason=verdict.reason)
    raise KeyError(hook)


HOOKS = ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "rollback")
