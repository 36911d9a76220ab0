"""What a router believes: the fold of the decisions of one rollout. Pure.

Laws (``reliability.md`` section 4):

* The newest sequence wins; older and repeated decisions change nothing.
* Two decisions with one sequence: the first in log order stands.
* A rollback is obeyed whatever its sequence and puts the weight to 0; nothing of that rollout id raises the
  weight again.
* Decisions of other rollouts change nothing.

Whatever is not obeyed is counted by reason. The reducer never raises and reads no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from types import MappingProxyType

from paritygate.schemas.decision import Action, GateDecision


@unique
class Result(StrEnum):
    """What became of one decision."""

    APPLIED = "applied"
    OTHER_ROLLOUT = "other_rollout"
    DUPLICATE = "duplicate"
    STALE = "stale"
    FORKED = "forked"
    ABSORBED = "absorbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingState:
    """State of one rollout in one router.

    ``sequence`` is -1 and ``stage`` empty before the first decision. ``weight`` is whole percent of live
    traffic to the candidate. ``digest`` is that of the decision in force, empty before the first. ``lapsed``:
    the lease of that decision is over, so the weight is 0 until a newer one comes. ``killed``: a person turned the
    kill switch of this router, so it is 0 until a person turns it back. ``tripped``: this router's breaker is open.
    ``ignored`` counts decisions that were not obeyed, by reason.
    """

    rollout_id: str
    sequence: int = -1
    weight: int = 0
    stage: str = ""
    digest: str = ""
    rolled_back: bool = False
    lapsed: bool = False
    killed: bool = False
    tripped: bool = False
    ignored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def result_of(self, decision: GateDecision) -> Result:
        """What :meth:`obey` would do with ``decision``."""
        if decision.rollout_id != self.rollout_id:
            return Result.OTHER_ROLLOUT
        if self.digest and decision.sequence == self.sequence and decision.digest() == self.digest:
            return Result.DUPLICATE
        if self.rolled_back:
            return Result.ABSORBED
        if decision.action is Action.ROLLBACK or decision.sequence > self.sequence:
            return Result.APPLIED
        return Result.FORKED if decision.sequence == self.sequence else Result.STALE

    def obey(self, decision: GateDecision) -> RoutingState:
        """The state after ``decision``."""
        result = self.result_of(decision)
        if result is not Result.APPLIED:
            counts = {**self.ignored, result.value: self.ignored.get(result.value, 0) + 1}
            return replace(self, ignored=MappingProxyType(counts))
        back = decision.action is Action.ROLLBACK
        return replace(
            self,
            sequence=max(self.sequence, decision.sequence),
            weight=0 if back else decision.weight,
            stage=decision.stage,
            digest=decision.digest(),
            rolled_back=back,
        )
