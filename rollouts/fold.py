"""Fold: the decider's state, folded over ``rollouts.v1`` and ``windows.v1``.

Law: the decisions depend on the two logs and on how they were interleaved, and on nothing else: no clock, no
random source, no order of a set. Replaying the same records gives the same bytes. Each decision carries the
interleaving (``windows_next``, ``commands_next``), so that :mod:`~paritygate.rollouts.replay` can repeat it.

Time is event time. ``at_ms`` of a decision is the newest watermark of its rollout; before the first report
there is none, and the start command's ``issued_at_ms`` stands in: it is shown, and nothing is computed from
it. One record causes one decision at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from paritygate.gates.assess import Assessment, Evidence, assess_gates
from paritygate.rollouts.estimate import with_estimates
from paritygate.rollouts.facts import Facts, facts_of
from paritygate.rollouts.judge import Ruling, judge
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.record import Position, record
from paritygate.rollouts.rounds import Round
from paritygate.rollouts.state import (
    ABANDONED,
    APPROVED,
    FORCE_REFUSED,
    FORCED,
    OPERATOR_ROLLBACK,
    PAUSED,
    RESUMED,
    STARTED,
    STILL_PAUSED,
    ChainError,
    RolloutState,
    RolloutStatus,
)
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PlanError
from paritygate.schemas.report import WindowReport

#: A hold whose reason stays the same is repeated after this much event time, as a sign of life. Decisions are
#: kept for ever (15 s are 5,760 records, 25 MB, a day for a rollout that waits), and people read from them how far
#: a rollout has come.
HOLD_EVERY_MS: Final = 15_000
#: Commands that say why, or are refused: each sets a person's word above the rules, or ends them.
EXPLAINED: Final = frozenset(
    {CommandKind.APPROVE, CommandKind.PROMOTE, CommandKind.ABANDON, CommandKind.ACKNOWLEDGE}
)


class Fold:
    """All rollouts of one cluster.

    ``windows_next`` / ``commands_next``: the next offsets to be applied; earlier ones are no-ops, so a
    redelivery is harmless. ``rejected``: refused commands as (offset, reason), until taken.
    ``ignored``: reports that changed nothing, by why (``unknown`` rollout, ``old``, ``stale``, ``foreign``).
    ``rolled_back_at_ms``: event time of the last rollback by service, of rollouts that this fold is not given.
    ``heed_routers``: whether what routers acknowledged counts; not where it was other decisions that they obeyed.
    """

    def __init__(
        self,
        *,
        retain: int = 64,
        hold_every_ms: int = HOLD_EVERY_MS,
        rolled_back_at_ms: Mapping[str, int] = MappingProxyType({}),
        heed_routers: bool = True,
    ) -> None:
        self.windows_next = 0
        self.commands_next = 0
        self.rejected: list[tuple[int, str]] = []
        self.ignored: Counter[str] = Counter()
        self._retain = retain
        self._hold_every_ms = hold_every_ms
        self._plans: dict[str, RolloutPlan] = {}
        self._states: dict[str, RolloutState] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._rounds: dict[str, Round] = {}
        self._rolled_back_at_ms = dict(rolled_back_at_ms)
        self._cool_until_ms: dict[str, int] = {}
        self._heed_routers = heed_routers

    def states(self) -> Mapping[str, RolloutState]:
        """Where each rollout stands, by id, in the order in which they started."""
        return MappingProxyType(self._states)

    def evidence(self, rollout_id: str) -> Evidence | None:
        """What the gates judge at present; None for a rollout that is unknown or over."""
        ledger = self._ledgers.get(rollout_id)
        return ledger.evidence(self._states[rollout_id].stage) if ledger else None

    def take_rejected(self) -> list[tuple[int, str]]:
        """The commands refused since the last call, as (offset, reason)."""
        taken, self.rejected = self.rejected, []
        return taken

    def apply_command(self, offset: int, command: Command) -> list[GateDecision]:
        """Apply the command at ``offset``; its decision, or nothing when it was refused."""
        return self._committed(self.draft_command(offset, command))

    def apply_report(self, offset: int, report: WindowReport) -> list[GateDecision]:
        """Apply the report at ``offset``; the decision that it caused, if one."""
        return self._committed(self.draft_report(offset, report))

    def skip_command(self, offset: int) -> None:
        """The record at ``offset`` is no command: pass over it."""
        self.commands_next = max(self.commands_next, offset + 1)

    def skip_report(self, offset: int) -> None:
        """The record at ``offset`` is no report: pass over it."""
        self.windows_next = max(self.windows_next, offset + 1)

    def draft_command(self, offset: int, command: Command) -> GateDecision | None:
        """Like :meth:`apply_command`, but the decision counts only once :meth:`commit` is called with it."""
        if offset < self.commands_next:
            return None
        self.skip_command(offset)
        start = command.kind is CommandKind.START
        refusal = self._refuse_start(command) if start else self._refuse(command)
        if refusal:
            self.rejected.append((offset, f"{command.kind} {command.rollout_id}: {refusal}"))
            return None
        if command.kind is CommandKind.ACKNOWLEDGE:
            return None  # it stands in the log of commands, and changes nothing
        if start:
            return self._draft_start(command, self._plans[command.rollout_id])
        state = self._states[command.rollout_id]
        ledger = self._ledgers[command.rollout_id]
        at_ms = state.at_ms if ledger.at_ms is None else ledger.at_ms
        assessment = None
        if command.kind is CommandKind.PROMOTE:
            ruling, assessment = self._force(command, state, ledger)
        else:
            ruling = _obeyed(command, state)
        return record(state.plan, state, ruling, ledger, self._position(), at_ms=at_ms, assessment=assessment)

    def draft_report(self, offset: int, report: WindowReport) -> GateDecision | None:
        """Like :meth:`apply_report`, but the decision counts only once :meth:`commit` is called with it."""
        if offset < self.windows_next:
            return None
        self.skip_report(offset)
        ledger = self._ledgers.get(report.rollout_id)
        if ledger is None:
            self.ignored["unknown"] += 1
            return None
        before = ledger.ignored.copy()
        taken = ledger.take(report)
        self.ignored.update(ledger.ignored - before)
        if taken is None:
            return None
        if not self._rounds[report.rollout_id].is_due(report, news=taken.closed or taken.harm):
            return None
        return self._draft_ruling(self._states[report.rollout_id], ledger)

    def commit(self, decision: GateDecision) -> None:
        """Make ``decision`` the newest one of its rollout.

        :raises ChainError: it does not continue the rollout's chain, or no plan of that rollout is known.
        """
        rollout = decision.rollout_id
        state = self._states.get(rollout)
        if state is None:
            if rollout not in self._plans:
                raise ChainError(f"rollout {rollout}: no start command with a usable plan is known")
            state = RolloutState.started(self._plans[rollout], decision)
            self._supersede(state.plan.service)
            before_ms = self._rolled_back_at_ms.get(state.plan.service)
            if before_ms is not None and state.plan.cool_down_seconds:
                self._cool_until_ms[rollout] = before_ms + state.plan.cool_down_seconds * 1000
            self._rounds[rollout] = Round()
            join = state.plan.join
            self._ledgers[rollout] = Ledger(
                state.plan.segments,
                join.window_ms,
                settle_ms=join.grace_ms + join.retain_ms,
                retain=self._retain,
            )
        else:
            state = state.apply(decision)
        self._states[rollout] = state
        if state.status is RolloutStatus.ROLLED_BACK and decision.sources:
            # Without any report there is no event time, only the operator's clock, and nothing was tried.
            self._rolled_back_at_ms[state.plan.service] = decision.at_ms
        if state.final:
            self.forget(rollout)
        elif decision.action is Action.PROMOTE and rollout in self._ledgers:
            self._ledgers[rollout].enter_stage(decision.at_ms)

    def forget(self, rollout_id: str) -> None:
        """Take no more evidence for a rollout, whose further decisions are known from the audit log."""
        self._ledgers.pop(rollout_id, None)
        self._rounds.pop(rollout_id, None)

    def _committed(self, draft: GateDecision | None) -> list[GateDecision]:
        if draft is None:
            return []
        self.commit(draft)
        return [draft]

    def _position(self) -> Position:
        return Position(windows_next=self.windows_next, commands_next=self.commands_next)

    def _refuse_start(self, command: Command) -> str:
        """Why a start is refused; empty when it is not."""
        if command.rollout_id in self._states:
            return "this rollout id was used before; every rollout needs a new one"
        if command.plan is None:
            return "the command carries no plan"
        try:
            plan = RolloutPlan.from_plain(command.plan)
        except PlanError as e:
            return f"the plan cannot be used: {e}"
        if plan.rollout != command.rollout_id:
            return f"the plan is that of rollout {plan.rollout}"
        for other in self._states.values():
            if other.active and other.plan.service == plan.service:
                return f"rollout {other.plan.rollout} of service {plan.service} is still {other.status}"
        self._plans[command.rollout_id] = plan
        return ""

    def _refuse(self, command: Command) -> str:
        """Why any other command is refused; empty when it is not."""
        state = self._states.get(command.rollout_id)
        if state is None:
            return "no such rollout"
        if command.kind in EXPLAINED and not command.reason.strip():
            return "it gives no reason"
        if command.kind is CommandKind.ACKNOWLEDGE:
            seen = command.sequence
            return "" if seen is not None and seen <= state.sequence else "there is no such decision yet"
        if state.final:
            return f"it is {state.status.replace('_', ' ')}, which is final"
        if command.rollout_id not in self._ledgers:
            return "a later rollout of its service has taken its place"
        return _unfit(command, state)

    def _draft_start(self, command: Command, plan: RolloutPlan) -> GateDecision:
        empty = Ledger(plan.segments, plan.join.window_ms)
        reason = f"started by {command.actor}: shadow first, no user sees the candidate"
        ruling = Ruling(Action.HOLD, plan.ladder.first, STARTED, _with(reason, command.reason))
        return record(plan, None, ruling, empty, self._position(), at_ms=command.issued_at_ms)

    def _force(self, command: Command, state: RolloutState, ledger: Ledger) -> tuple[Ruling, Assessment | None]:
        """A promotion without proof, or a hold that says why not; with what the gates say.

        A refusal that rests on the evidence is a decision, too: the evidence changes without one, and a replay
        must find the place where the command was applied.
        """
        above = state.plan.ladder.next(state.stage)
        assert above is not None  # a promoted rollout is refused before
        if ledger.at_ms is None:
            what = "not forced: nothing is known of the traffic yet"
            return Ruling(Action.HOLD, state.stage, FORCE_REFUSED, what), None
        facts = self._facts(state, ledger)
        assessment = _assessed(state, ledger, facts)
        ruling = judge(state.plan, state, assessment, facts)
        if ruling.action is Action.ROLLBACK:
            what = f"not forced: {ruling.reason}"
            return Ruling(Action.HOLD, state.stage, FORCE_REFUSED, what), assessment
        overruled = "" if ruling.action is Action.PROMOTE else f" against {ruling.reason_code} ({ruling.reason})"
        reason = _with(f"forced by {command.actor}", command.reason)
        return Ruling(Action.PROMOTE, above, FORCED, f"{reason}{overruled}"), assessment

    def _draft_ruling(self, state: RolloutState, ledger: Ledger) -> GateDecision | None:
        plan = state.plan
        facts = self._facts(state, ledger)
        assessment = _assessed(state, ledger, facts)
        ruling = judge(plan, state, assessment, facts)
        at_ms = state.at_ms if ledger.at_ms is None else ledger.at_ms
        if ruling.action is Action.HOLD and not self._worth_saying(state, ruling, at_ms):
            return None
        return record(plan, state, ruling, ledger, self._position(), at_ms=at_ms, assessment=assessment)

    def _facts(self, state: RolloutState, ledger: Ledger) -> Facts:
        """What the evidence says beside the gates, and what only the fold knows: the other rollouts."""
        facts = facts_of(ledger)
        cooling_ms = self._cool_until_ms.get(state.plan.rollout, 0) - (ledger.at_ms or 0)
        routers = facts.routers if self._heed_routers else None
        return replace(facts, cooling_ms=max(0, cooling_ms), routers=routers)

    def _worth_saying(self, state: RolloutState, ruling: Ruling, at_ms: int) -> bool:
        said = STILL_PAUSED if state.reason_code == PAUSED else state.reason_code
        if ruling.reason_code != said:
            return True
        return state.active and at_ms - state.at_ms >= self._hold_every_ms

    def _supersede(self, service: str) -> None:
        """A new rollout of a service starts from what serves now: the promoted one before it is over."""
        for rollout, state in self._states.items():
            if state.plan.service == service:
                self.forget(rollout)


def _unfit(command: Command, state: RolloutState) -> str:
    """Why a command does not fit where its rollout stands; empty when it does."""
    paused, promoted = state.status is RolloutStatus.PAUSED, state.status is RolloutStatus.PROMOTED
    named, there = command.stage, state.stage.name
    elsewhere = named != there, f"it is in stage {there}, and the command speaks of {named or 'none'}"
    checks = {
        CommandKind.PAUSE: ((paused or promoted, f"it is {state.status}"),),
        CommandKind.RESUME: ((not paused, f"it is {state.status}, not paused"),),
        CommandKind.ABANDON: ((promoted, "it is promoted: a rollback takes the traffic from the candidate"),),
        CommandKind.PROMOTE: (
            (promoted, "it is promoted: nothing stands above"),
            elsewhere,
            (paused, "it is paused"),
        ),
        CommandKind.APPROVE: (
            (promoted, "it is promoted: nothing stands above"),
            elsewhere,
            (not state.stage.approval, f"stage {state.stage.name} asks for no approval"),
            (bool(state.approval), f"it is {state.approval}"),
        ),
    }
    return next((why for applies, why in checks.get(command.kind, ()) if applies), "")


def _assessed(state: RolloutState, ledger: Ledger, facts: Facts) -> Assessment:
    """What the gates say of the evidence so far."""
    plan = state.plan
    assessment = assess_gates(
        plan.gates,
        ledger.evidence(state.stage),
        alpha_rollback=plan.alpha_rollback,
        alpha_promote=plan.alpha_promote,
        minimum_segment_share=plan.minimum_segment_share,
        prove_segments_above_ratio=plan.prove_segments_above_ratio,
        sample_ratio_required=plan.sample_ratio == "required",
    )
    return with_estimates(assessment, facts.counted_ms)


def _obeyed(command: Command, state: RolloutState) -> Ruling:
    """The ruling that an accepted command is."""
    said = {
        CommandKind.PAUSE: (Action.HOLD, state.stage, PAUSED, "paused"),
        CommandKind.RESUME: (Action.HOLD, state.stage, RESUMED, "resumed"),
        CommandKind.APPROVE: (Action.HOLD, state.stage, APPROVED, "approved"),
        CommandKind.ROLLBACK: (Action.ROLLBACK, state.plan.ladder.first, OPERATOR_ROLLBACK, "rolled back"),
        CommandKind.ABANDON: (Action.ROLLBACK, state.plan.ladder.first, ABANDONED, "abandoned without judgement"),
    }
    action, stage, code, verb = said[command.kind]
    return Ruling(action, stage, code, _with(f"{verb} by {command.actor}", command.reason))


def _with(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
