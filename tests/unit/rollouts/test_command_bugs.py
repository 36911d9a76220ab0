"""Bugs planted into fold, state and judge: the machine of plans, commands and verdicts finds every one of them.

Each costs only the histories up to the first that fails. A bug that is not found is a hole in the check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import VerdictKind
from paritygate.rollouts import fold as fold_module
from paritygate.rollouts.facts import Facts
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.judge import Ruling, judge
from paritygate.rollouts.ledger import Ledger, Taken
from paritygate.rollouts.state import ChainError, RolloutState, RolloutStatus
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import WindowReport
from tests.support.command_machine import run, written_verdict

Plant = Callable[[pytest.MonkeyPatch], None]


def _state(change: Callable[[RolloutState, GateDecision, RolloutState], RolloutState]) -> Plant:
    """``apply`` whose result is changed: (before, decision, after) to what is kept."""
    right = RolloutState.apply

    def wrong(self: RolloutState, decision: GateDecision) -> RolloutState:
        return change(self, decision, right(self, decision))

    return lambda patch: patch.setattr(RolloutState, "apply", wrong)


def _judge(change: Callable[[Any, RolloutState, Ruling], Ruling]) -> Plant:
    def wrong(plan: Any, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling:
        return change(plan, state, judge(plan, state, assessment, facts))

    return lambda patch: patch.setattr(fold_module, "judge", wrong)


def _seen(change: Callable[[RolloutState], RolloutState]) -> Plant:
    """judge() that is shown another state than the one there is."""

    def wrong(plan: Any, state: RolloutState, assessment: Assessment, facts: Facts) -> Ruling:
        return judge(plan, change(state), assessment, facts)

    return lambda patch: patch.setattr(fold_module, "judge", wrong)


def _accepts(*kinds: CommandKind) -> Plant:
    """Commands of these kinds are never refused for where their rollout stands."""
    right = fold_module._unfit

    def wrong(said: Command, state: RolloutState) -> str:
        return "" if said.kind in kinds else right(said, state)

    return lambda patch: patch.setattr(fold_module, "_unfit", wrong)


def _elsewhere(said: Command, state: RolloutState) -> str:
    return RIGHT_UNFIT(said.model_copy(update={"stage": state.stage.name}), state)


RIGHT_UNFIT = fold_module._unfit
RIGHT_OBEYED = fold_module._obeyed
RIGHT_SKIP = Fold.draft_command
RIGHT_FORCE, RIGHT_REFUSE, RIGHT_WORTH = Fold._force, Fold._refuse, Fold._worth_saying
RIGHT_ENTER, RIGHT_TAKE, RIGHT_COMMIT = Ledger.enter_stage, Ledger.take, Fold.commit


def _pause_for_all(self: Fold, decision: GateDecision) -> None:
    RIGHT_COMMIT(self, decision)
    newest = max(self._rolled_back_at_ms.values(), default=None)
    if newest is not None:
        self._rolled_back_at_ms = {"fraud": newest, "search": newest}


def _pause_after_all(self: Fold, decision: GateDecision) -> None:
    RIGHT_COMMIT(self, decision)
    if decision.action is Action.ROLLBACK and decision.sources:
        self._rolled_back_at_ms[self._states[decision.rollout_id].plan.service] = decision.at_ms


def _first_words(self: Ledger, report: WindowReport) -> Taken | None:
    first = self.routers
    taken = RIGHT_TAKE(self, report)
    self.routers = first or self.routers
    return taken


def _weak_force(self: Fold, said: Command, state: RolloutState, ledger: Ledger) -> tuple[Ruling, None]:
    above = state.plan.ladder.next(state.stage)
    assert above is not None
    return Ruling(Action.PROMOTE, above, "forced", f"forced by {said.actor}: {said.reason}"), None


def _far_force(self: Fold, said: Command, state: RolloutState, ledger: Ledger) -> tuple[Ruling, Assessment | None]:
    ruling, assessment = RIGHT_FORCE(self, said, state, ledger)
    above = state.plan.ladder.next(ruling.stage) if ruling.action is Action.PROMOTE else None
    return replace(ruling, stage=above or ruling.stage), assessment


def _no_new_stage(self: Ledger, at_ms: int) -> None:
    right = self.stage_from_ms
    RIGHT_ENTER(self, at_ms)
    self.stage_from_ms = right


def _only_changes(self: Fold, state: RolloutState, ruling: Ruling, at_ms: int) -> bool:
    return RIGHT_WORTH(self, state, ruling, state.at_ms)


def _any_acknowledgement(self: Fold, said: Command) -> str:
    return RIGHT_REFUSE(self, said.model_copy(update={"sequence": 0}))


def _approval_moves(said: Command, state: RolloutState) -> Ruling:
    above = state.plan.ladder.next(state.stage)
    if said.kind is CommandKind.APPROVE and above is not None:
        return Ruling(Action.PROMOTE, above, "approved", said.reason)
    return RIGHT_OBEYED(said, state)


def _abandon_stays(said: Command, state: RolloutState) -> Ruling:
    ruling = RIGHT_OBEYED(said, state)
    return replace(ruling, action=Action.HOLD, stage=state.stage) if ruling.reason_code == "abandoned" else ruling


def _twice(self: Fold, offset: int, said: Command) -> GateDecision | None:
    self.commands_next = min(self.commands_next, offset)
    return RIGHT_SKIP(self, offset, said)


def _acknowledged(self: Fold, offset: int, said: Command) -> GateDecision | None:
    if said.kind is CommandKind.ACKNOWLEDGE:
        said = said.model_copy(update={"kind": CommandKind.RESUME})
    return RIGHT_SKIP(self, offset, said)


def _kind(wrong: VerdictKind, shown: VerdictKind) -> Plant:
    """A gate whose word is taken for another one."""

    def mistaken(state: RolloutState, ledger: Ledger, facts: Facts) -> Assessment:
        said = written_verdict(state, ledger, facts)
        if said.overall is not wrong:
            return said
        return Assessment(verdicts=(replace(said.verdicts[0], kind=shown),), overall=shown)

    return lambda patch: patch.setattr(fold_module, "_assessed", mistaken)


def _promoted(action: Action, code: str, was: str) -> Callable[[Any, RolloutState, Ruling], Ruling]:
    def change(plan: Any, state: RolloutState, ruling: Ruling) -> Ruling:
        above = plan.ladder.next(state.stage)
        if ruling.reason_code != was or above is None:
            return ruling
        return Ruling(action, above if action is Action.PROMOTE else plan.ladder.first, code, "a bug")

    return change


#: Bugs of the fold, the state and the judge, by what they break.
BUGS: dict[str, Plant] = {
    "an approval outlives its stage": _state(
        lambda old, d, new: replace(new, approval=old.approval) if d.action is Action.PROMOTE else new
    ),
    "an approval is forgotten": _state(lambda old, d, new: replace(new, approval="")),
    "an approval ends at a pause": _state(
        lambda old, d, new: replace(new, approval="") if d.reason_code == "paused" else new
    ),
    "an approval resumes": _state(
        lambda old, d, new: replace(new, status=RolloutStatus.RUNNING) if d.reason_code == "approved" else new
    ),
    "an approval moves by itself": lambda patch: patch.setattr(fold_module, "_obeyed", _approval_moves),
    "an approval is taken in advance": lambda patch: patch.setattr(fold_module, "_unfit", _elsewhere),
    "an approval is taken anywhere": _accepts(CommandKind.APPROVE),
    "nobody waits for an approval": _judge(_promoted(Action.PROMOTE, "proven", "approval_needed")),
    "the wait for an approval is a timeout": _judge(_promoted(Action.ROLLBACK, "timeout", "approval_needed")),
    "nobody waits for the pause": _judge(_promoted(Action.PROMOTE, "proven", "cool_down")),
    "the wait for the pause is a timeout": _judge(_promoted(Action.ROLLBACK, "timeout", "cool_down")),
    "an approval ends the pause": _judge(
        lambda plan, s, r: (
            Ruling(Action.PROMOTE, plan.ladder.next(s.stage) or s.stage, "proven", s.approval)
            if r.reason_code == "cool_down" and s.approval
            else r
        )
    ),
    "every service has to pause": lambda patch: patch.setattr(Fold, "commit", _pause_for_all),
    "what was given up starts a pause": lambda patch: patch.setattr(Fold, "commit", _pause_after_all),
    "nobody waits for the routers": _judge(_promoted(Action.PROMOTE, "proven", "ack_missing")),
    "the wait for the routers is a timeout": _judge(_promoted(Action.ROLLBACK, "timeout", "ack_missing")),
    "an acknowledgement of before is enough": _state(lambda old, d, new: replace(new, entered=0)),
    "what routers said first counts for ever": lambda patch: patch.setattr(Ledger, "take", _first_words),
    "a force passes a failing gate": lambda patch: patch.setattr(Fold, "_force", _weak_force),
    "a force is taken while paused": _accepts(CommandKind.PROMOTE),
    "a timeout always rolls back": _judge(_promoted(Action.ROLLBACK, "timeout", "timeout")),
    "a pause is taken twice": _accepts(CommandKind.PAUSE),
    "a resume needs no pause": _accepts(CommandKind.RESUME),
    "what is promoted may be abandoned": _accepts(CommandKind.ABANDON),
    "abandoned keeps its weight": lambda patch: patch.setattr(fold_module, "_obeyed", _abandon_stays),
    "abandoned is called rolled back": _state(
        lambda old, d, new: replace(new, status=RolloutStatus.ROLLED_BACK) if new.final else new
    ),
    "abandoned is not final": lambda patch: patch.setattr(
        RolloutState, "final", property(lambda self: self.status is RolloutStatus.ROLLED_BACK)
    ),
    "a rollback is not final": lambda patch: patch.setattr(
        RolloutState, "final", property(lambda self: self.status is RolloutStatus.ABANDONED)
    ),
    "a promotion resumes nothing and pauses nothing": _state(
        lambda old, d, new: replace(new, status=RolloutStatus.PAUSED) if d.action is Action.PROMOTE else new
    ),
    "a pause is not seen": _seen(
        lambda s: replace(s, status=RolloutStatus.RUNNING) if s.status is RolloutStatus.PAUSED else s
    ),
    "a pause hides a fail": _judge(
        lambda plan, s, r: (
            Ruling(Action.HOLD, s.stage, "still_paused", "a bug") if s.status is RolloutStatus.PAUSED else r
        )
    ),
    "two stages at once": _judge(
        lambda plan, s, r: (
            replace(r, stage=plan.ladder.next(r.stage) or r.stage) if r.action is Action.PROMOTE else r
        )
    ),
    "a rollback stays where it is": _judge(
        lambda plan, s, r: replace(r, stage=s.stage) if r.action is Action.ROLLBACK else r
    ),
    "inconclusive is a pass": _kind(VerdictKind.INCONCLUSIVE, VerdictKind.PASS),
    "error is a pass": _kind(VerdictKind.ERROR, VerdictKind.PASS),
    "error is a fail": _kind(VerdictKind.ERROR, VerdictKind.FAIL),
    "a fail is inconclusive": _kind(VerdictKind.FAIL, VerdictKind.INCONCLUSIVE),
    "a forced step is two": lambda patch: patch.setattr(Fold, "_force", _far_force),
    "a stage's clock is that of the rollout": lambda patch: patch.setattr(Ledger, "enter_stage", _no_new_stage),
    "every look is said": lambda patch: patch.setattr(Fold, "_worth_saying", lambda *_: True),
    "no sign of life": lambda patch: patch.setattr(Fold, "_worth_saying", _only_changes),
    "what is not there yet is acknowledged": lambda patch: patch.setattr(Fold, "_refuse", _any_acknowledgement),
    "no reason is a reason": lambda patch: patch.setattr(fold_module, "EXPLAINED", frozenset()),
    "an id is used again": lambda patch: patch.setattr(Fold, "_refuse_start", _careless_start),
    "an acknowledgement resumes": lambda patch: patch.setattr(Fold, "draft_command", _acknowledged),
    "a command counts twice": lambda patch: patch.setattr(Fold, "draft_command", _twice),
    "a fork is believed": lambda patch: patch.setattr(RolloutState, "_check", lambda self, decision: None),
    "two rollouts of a service": lambda patch: patch.setattr(RolloutState, "active", property(lambda self: False)),
    "a later rollout takes nobody's place": lambda patch: patch.setattr(
        Fold, "_supersede", lambda self, service: None
    ),
}


RIGHT_START = Fold._refuse_start


def _careless_start(self: Fold, said: Command) -> str:
    kept, self._states = self._states, {k: v for k, v in self._states.items() if k != said.rollout_id}
    try:
        return RIGHT_START(self, said)
    finally:
        self._states = kept


@pytest.mark.parametrize("bug", BUGS)
def test_every_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """The check is strong enough: with the bug some history ends in a failure."""
    BUGS[bug](monkeypatch)

    with pytest.raises((AssertionError, ChainError)):
        run(monkeypatch, 5_000)
