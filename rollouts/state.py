"""RolloutState: where a rollout stands, as the fold over its decisions and nothing else.

Law: the state after a log of decisions depends on that log alone. Per rollout the sequence rises by one and
each decision names the digest of the one before; a decision that does not continue the chain is refused.
A rollback is final, and so is an end without judgement (``abandoned``), which is a rollback to the routers.
An approval stands in the decision that took it, counts for the stage in force then, and ends with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import Final

from paritygate.rollouts.ladder import Stage
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ParityGateError

#: Reason codes of decisions that a command caused.
STARTED: Final = "started"
PAUSED: Final = "paused"
RESUMED: Final = "resumed"
OPERATOR_ROLLBACK: Final = "operator_rollback"
APPROVED: Final = "approved"
FORCED: Final = "forced"
#: A hold in answer to a promotion by force that the evidence forbids.
FORCE_REFUSED: Final = "force_refused"
ABANDONED: Final = "abandoned"
#: Reason code of the holds between a pause and its end.
STILL_PAUSED: Final = "still_paused"


class ChainError(ParityGateError):
    """A decision does not continue the chain of its rollout: forked, stale, repeated, or after its end."""


@unique
class RolloutStatus(StrEnum):
    """What becomes of a rollout."""

    RUNNING = "running"
    PAUSED = "paused"  # an operator said so: no promotion until resumed
    PROMOTED = "promoted"  # all of the traffic; nothing above
    ROLLED_BACK = "rolled_back"  # final
    ABANDONED = "abandoned"  # final: ended by a person, without judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where one rollout stands after its decision number ``sequence``.

    ``stage_started_at_ms``: event time from which windows count for the stage; None until the first
    promotion (in the first stage every window counts, and the operator's clock decides nothing).
    ``head``: digest of the last decision, the next one's ``previous``. ``at_ms``: that decision's time.
    ``reason_code`` / ``decided_at_ms``: of the last decision, so that a hold is repeated only when its reason
    changes or a heartbeat is due. ``entered``: number of the decision that led into ``stage``. ``approval``: who
    approved of leaving ``stage``, and why; empty as long as nobody did.
    """

    plan: RolloutPlan
    stage: Stage
    status: RolloutStatus
    sequence: int
    head: str
    at_ms: int
    reason_code: str
    stage_started_at_ms: int | None = None
    approval: str = ""
    entered: int = 0

    @property
    def final(self) -> bool:
        """Over for good: weight 0, and nothing may follow."""
        return self.status in (RolloutStatus.ROLLED_BACK, RolloutStatus.ABANDONED)

    @property
    def active(self) -> bool:
        """Still climbing: its service may have no second rollout."""
        return self.status in (RolloutStatus.RUNNING, RolloutStatus.PAUSED)

    @classmethod
    def started(cls, plan: RolloutPlan, decision: GateDecision) -> RolloutState:
        """The state after decision 0.

        :raises ChainError: the decision is not the first one of this plan.
        """
        if decision.sequence != 0 or decision.previous or decision.reason_code != STARTED:
            raise ChainError(f"rollout {decision.rollout_id}: decision {decision.sequence} is not its first one")
        if decision.rollout_id != plan.rollout or decision.policy_digest != plan.digest():
            raise ChainError(f"rollout {decision.rollout_id}: its first decision was made under another plan")
        return cls(
            plan=plan,
            stage=plan.ladder.first,
            status=RolloutStatus.RUNNING,
            sequence=0,
            head=decision.digest(),
            at_ms=decision.at_ms,
            reason_code=decision.reason_code,
        )

    def apply(self, decision: GateDecision) -> RolloutState:
        """The state after one more decision.

        :raises ChainError: it does not continue the chain, skips a stage, or follows the rollout's end.
        """
        self._check(decision)
        status, stage, started, approval = self.status, self.stage, self.stage_started_at_ms, self.approval
        entered = self.entered if decision.action is Action.HOLD else decision.sequence
        if decision.action is Action.ROLLBACK:
            given_up = decision.reason_code == ABANDONED
            status = RolloutStatus.ABANDONED if given_up else RolloutStatus.ROLLED_BACK
            stage, approval = self.plan.ladder.first, ""
        elif decision.action is Action.PROMOTE:
            stage, started, approval = self.plan.stage(decision.stage), decision.at_ms, ""
            status = RolloutStatus.PROMOTED if stage == self.plan.ladder.last else RolloutStatus.RUNNING
        elif decision.reason_code in (PAUSED, STILL_PAUSED):
            status = RolloutStatus.PAUSED
        elif decision.reason_code == RESUMED:
            status = RolloutStatus.RUNNING
        elif decision.reason_code == APPROVED:
            approval = decision.reason
        return replace(
            self,
            stage=stage,
            status=status,
            sequence=decision.sequence,
            head=decision.digest(),
            at_ms=decision.at_ms,
            reason_code=decision.reason_code,
            stage_started_at_ms=started,
            approval=approval,
            entered=entered,
        )

    def _check(self, decision: GateDecision) -> None:
        name = f"rollout {self.plan.rollout}: decision {decision.sequence}"
        if self.final:
            end = "a rollback" if self.status is RolloutStatus.ROLLED_BACK else "the end of an abandoned rollout"
            raise ChainError(f"{name} follows {end}, which is final")
        if decision.rollout_id != self.plan.rollout:
            raise ChainError(f"{name} belongs to rollout {decision.rollout_id}")
        if decision.sequence != self.sequence + 1 or decision.previous != self.head:
            raise ChainError(f"{name} does not continue the chain, whose last decision is {self.sequence}")
        if decision.policy_digest != self.plan.digest():
            raise ChainError(f"{name} was made under another plan")
        above = self.plan.ladder.next(self.stage)
        expected = {
            Action.HOLD: self.stage,
            Action.PROMOTE: above,
            Action.ROLLBACK: self.plan.ladder.first,
        }[decision.action]
        if expected is None or (decision.stage, decision.weight) != (expected.name, expected.weight):
            raise ChainError(f"{name} goes to {decision.stage}, which {decision.action} does not lead to")
