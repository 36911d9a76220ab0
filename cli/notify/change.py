"""Which decisions are news to people. Pure: a fold over the decisions that routers obey.

Law: a state is told once, when it begins, and never because it goes on. A decision that routers do not obey (stale,
repeated, forked, after a rollback) is no news. A hold that comes and goes is told again in the same stage after
``QUIET_MS`` of event time at the earliest; an answer of a person, a step and an end always are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from paritygate.router.state import Result, RoutingState
from paritygate.schemas.decision import Action, GateDecision

#: How long a hold for the same reason is not told again, in event time.
QUIET_MS: Final = 15 * 60_000


@unique
class Kind(StrEnum):
    """What happened."""

    STARTED = "started"
    ADVANCED = "advanced"
    COMPLETED = "completed"  # the candidate has all of the live traffic
    ROLLED_BACK = "rolled_back"
    ABANDONED = "abandoned"
    PAUSED = "paused"
    RESUMED = "resumed"
    APPROVED = "approved"
    WAITING = "waiting"  # for a person
    HELD = "held"  # something is missing that time alone does not bring


@unique
class Severity(StrEnum):
    """How much it matters; a target may leave the lower ones out."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the lowest."""
        return list(Severity).index(self)


#: Holds that somebody should look at, by reason code. Others (more evidence, floors) end by themselves.
#: ``rollouts/judge.py`` makes the codes; this process does without that room and what it imports.
HELD: Final = frozenset(
    {
        "no_data", "gate_error", "environment", "baseline_silent", "unreadable", "incomplete",
        "informative_dropout", "sample_ratio", "segment_overflow", "clock_skew", "partition_behind", "not_exposed",
        "ack_missing", "cool_down",
    }
)  # fmt: skip
WAITING: Final = frozenset({"approval_needed", "timeout"})
_BY_PERSON: Final[Mapping[str, Kind]] = {
    "started": Kind.STARTED,
    "paused": Kind.PAUSED,
    "resumed": Kind.RESUMED,
    "approved": Kind.APPROVED,
}
#: Reason codes of decisions that are no news, whatever was before.
_PASSING: Final = frozenset({"force_refused", "still_paused", "promoted"})


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of news."""

    kind: Kind
    severity: Severity
    decision: GateDecision


class Changes:
    """The fold over all rollouts. The same decisions in the same order give the same news."""

    def __init__(self, quiet_ms: int = QUIET_MS) -> None:
        self._quiet_ms = quiet_ms
        self._routing: dict[str, RoutingState] = {}
        self._said: dict[str, str] = {}
        self._told_at_ms: dict[tuple[str, str, str], int] = {}

    def take(self, decision: GateDecision) -> Change | None:
        """Take the next decision of the log; the news that it is, or None."""
        rollout = decision.rollout_id
        state = self._routing.get(rollout) or RoutingState(rollout_id=rollout)
        if state.result_of(decision) is not Result.APPLIED:
            return None
        self._routing[rollout] = state.obey(decision)
        before, self._said[rollout] = self._said.get(rollout), decision.reason_code
        kind = self._kind(decision, before)
        return None if kind is None else Change(kind, _severity(kind, decision), decision)

    def _kind(self, decision: GateDecision, before: str | None) -> Kind | None:
        code = decision.reason_code
        if decision.action is Action.ROLLBACK:
            return Kind.ABANDONED if code == "abandoned" else Kind.ROLLED_BACK
        if decision.action is Action.PROMOTE:
            return Kind.COMPLETED if decision.weight == 100 else Kind.ADVANCED
        if code in _BY_PERSON:
            return _BY_PERSON[code]
        if code == before or code in _PASSING:
            return None
        kind = Kind.WAITING if code in WAITING else Kind.HELD if code in HELD else None
        return kind if kind is not None and self._worth_telling(decision) else None

    def _worth_telling(self, decision: GateDecision) -> bool:
        key = decision.rollout_id, decision.stage, decision.reason_code
        told_at_ms = self._told_at_ms.get(key)
        if told_at_ms is not None and decision.at_ms - told_at_ms < self._quiet_ms:
            return False
        self._told_at_ms[key] = decision.at_ms
        return True


def _severity(kind: Kind, decision: GateDecision) -> Severity:
    if kind is Kind.ROLLED_BACK:
        return Severity.CRITICAL
    forced = kind in (Kind.ADVANCED, Kind.COMPLETED) and decision.reason_code == "forced"
    if forced or kind in (Kind.WAITING, Kind.HELD, Kind.ABANDONED):
        return Severity.WARNING
    return Severity.INFO
