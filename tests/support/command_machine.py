"""A machine that runs a fold beside a model of it: plans, commands and verdicts in every order.

The gates are replaced by one whose verdict is written into the evidence, so that a history costs little where real
gates cost milliseconds. Moves are drawn by weight: what ends a rollout is rare, so that histories grow long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts import fold as fold_module
from paritygate.rollouts.facts import Facts
from paritygate.rollouts.fold import HOLD_EVERY_MS, Fold
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.replay import replay
from paritygate.rollouts.state import ChainError, RolloutState
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import RouterGroup, WindowReport
from tests.support.rollout_model import MAXIMUM_S, STAGES, Model
from tests.unit.rollouts.conftest import command, plain_plan, report

WEIGHTS = dict(zip(STAGES, (0, 5, 50, 100), strict=True))
SERVICES = {"r1": "fraud", "r2": "fraud", "r3": "fraud", "s1": "search"}
VERDICTS = ("pass", "inconclusive", "fail", "error")


def written_facts(ledger: Ledger) -> Facts:
    """Nothing but the verdict and the clock is in the way of a promotion."""
    at_ms = ledger.at_ms or 0
    began = ledger.first_start_ms if ledger.stage_from_ms is None else ledger.stage_from_ms
    in_stage = at_ms - (at_ms if began is None else began)
    return Facts(
        in_stage_ms=in_stage, stage_pairs=10**6, candidate_answered=True, stage_live=10**6, lag_ms=0,
        routers=ledger.routers,
    )  # fmt: skip


def written_verdict(state: RolloutState, ledger: Ledger, facts: Facts) -> Assessment:
    """The verdict that the newest window carries: its number of invalid answers, four to a window."""
    kind = VerdictKind(VERDICTS[ledger.whole.count("candidate_invalid") % 4])
    verdict = Verdict(gate="error_rate", kind=kind, reason="as written", reason_code="as_written")
    return Assessment(verdicts=(verdict,), overall=kind)


@dataclass(frozen=True)
class Move:
    """Something that happens. ``of``: to the newest rollout of the first service, the one before, or the other
    service's. ``stage``: that a command names, empty for where its rollout stands.
    """

    what: str
    of: Literal["newest", "earlier", "other"] = "newest"
    stage: str = ""
    reason: str = "x"
    late: bool = False
    verdict: int = 0
    count: int = 1


#: What the one router of a rollout does: obeys, is switched off, or said the right weight in an earlier stage.
ROUTER = ("obeys", "killed", "late")


def _look(verdict: str, *, count: int = 1, of: Any = "newest") -> Move:
    return Move("look", of, verdict=VERDICTS.index(verdict), count=count)


EARLIER = ("look", "pause", "resume", "promote", "rollback", "rollback", "acknowledge")
#: Drawn evenly; what stands here more often happens more often.
MOVES = (
    *[_look("pass")] * 9, *[_look("pass", count=3)] * 3,
    *[_look("inconclusive")] * 2,
    *[_look("inconclusive", count=5)] * 3, _look("inconclusive", count=17),
    *[_look("error")] * 3, *[_look("fail")] * 2,
    *[Move("approve")] * 6, *(Move("approve", stage=stage) for stage in STAGES), Move("approve", reason=""),
    *[Move("pause")] * 4, *[Move("resume")] * 5,
    *[Move("promote")] * 3, *(Move("promote", stage=stage) for stage in STAGES[1:3]), Move("promote", reason=""),
    Move("rollback"), *[Move("abandon")] * 2, Move("abandon", reason=""),
    Move("acknowledge"), Move("acknowledge", late=True), Move("acknowledge", reason=""),
    *(Move(kind, "earlier") for kind in EARLIER),
    *(Move(kind, "other") for kind in ("start", "look", "look", "approve", "pause", "resume", "rollback")),
    *[Move("start")] * 5, Move("start", "earlier"),
    *[Move("zombie")] * 2, *[Move("again")] * 2,
    *[Move("router", verdict=0)] * 3, Move("router", verdict=1), Move("router", verdict=2),
)  # fmt: skip
#: Stages that ask for an approval, the stage that ends by itself, whether that is a rollback, and the seconds of
#: the pause after a rollback.
PLANS = st.tuples(
    st.sampled_from(
        [(True, True, True), (True, True, False), (False, True, True), (False, False, False), (False, False, False)]
    ),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
    st.sampled_from([0, 0, 6]),
)


class CommandMachine(RuleBasedStateMachine):
    """One fold beside one model."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = Fold()
        self.models: dict[str, Model] = {}
        self.order: list[str] = []
        self.commands: list[tuple[int, Command]] = []
        self.reports: list[tuple[int, WindowReport]] = []
        self.audit: list[GateDecision] = []
        self.window = dict.fromkeys(SERVICES, 0)
        self.verdict = dict.fromkeys(SERVICES, 0)
        self.router = dict.fromkeys(SERVICES, "obeys")
        self.rolled_back_at_ms: dict[str, int] = {}

    @initialize(plan=PLANS)
    def first(self, plan: tuple[tuple[bool, bool, bool], int | None, bool, int]) -> None:
        self.start("r1", *plan)

    @rule(move=st.sampled_from(MOVES), data=st.data())
    def step(self, move: Move, data: st.DataObject) -> None:
        rollout = self._rollout(move)
        if move.what == "start":
            self.start(rollout, *data.draw(PLANS))
        elif move.what == "look":
            self.look(rollout, move.verdict, move.count)
        elif move.what == "router":
            self.router[rollout] = ROUTER[move.verdict]
        elif move.what == "zombie":
            self.zombie(data.draw(st.sampled_from(self.audit)))
        elif move.what == "again":
            offset, said = data.draw(st.sampled_from(self.commands))
            assert self.fold.apply_command(offset, said) == []  # the log is delivered twice
        else:
            self.say(rollout, move)

    def _rollout(self, move: Move) -> str:
        first = [r for r in self.order if SERVICES[r] == "fraud"]
        if move.of == "other":
            return "s1"
        if move.of == "earlier":
            return first[-2:][0]
        free = [r for r in SERVICES if r not in self.models and r != "s1"]
        return free[0] if move.what == "start" and free else first[-1]

    def start(
        self, rollout: str, approvals: tuple[bool, bool, bool], limited: int | None, ends: bool, cool_s: int
    ) -> None:
        """Somebody starts a rollout: once per id, and one at a time per service."""
        on_timeout = "rollback" if ends else "hold"
        plain = plain_plan(rollout, SERVICES[rollout], on_timeout=on_timeout, cool_down_seconds=cool_s)
        for stage in plain["stages"]:
            stage["minimum_seconds"] = 0
        for i, asked in enumerate(approvals):
            plain["stages"][i] |= {"approval": "required"} if asked else {}
        if limited is not None:
            plain["stages"][limited] |= {"maximum_seconds": MAXIMUM_S}
        free = not any(
            SERVICES[r] == SERVICES[rollout] and m.status in ("running", "paused") for r, m in self.models.items()
        )
        wanted = "started" if free and rollout not in self.models else ""
        said = command("start", rollout).model_copy(update={"plan": plain})
        self._said(said, wanted, "hold")
        if wanted:
            before_ms = self.rolled_back_at_ms.get(SERVICES[rollout])
            until_ms = before_ms + cool_s * 1000 if before_ms is not None and cool_s else 0
            self.models[rollout] = Model(approvals, limited, ends, cool_until_ms=until_ms)
            # Time is one: the next rollout of a service goes on where the one before stands.
            self.window[rollout] = max(n for r, n in self.window.items() if SERVICES[r] == SERVICES[rollout])
            self.verdict[rollout] = 0
            self.order.append(rollout)

    def say(self, rollout: str, move: Move) -> None:
        """Somebody says something, mostly of the stage that the rollout is in."""
        kind, model = move.what, self.models.get(rollout)
        there = move.stage or (STAGES[model.at] if model else "shadow")
        sequence = (model.sequence if model else 0) + move.late
        said = command(kind, rollout).model_copy(
            update={"stage": there, "reason": move.reason, "sequence": sequence}
        )
        if model is None or self._followed(rollout):
            wanted = ""
        else:
            wanted = model.told(kind, there, move.reason, VERDICTS[self.verdict[rollout]])
        action = {"forced": "promote", "operator_rollback": "rollback", "abandoned": "rollback"}.get(wanted, "hold")
        refused = len(self.fold.rejected)
        self._said(said, wanted, action)
        known = model is not None and not move.late and bool(move.reason)
        taken = known if kind == "acknowledge" else bool(wanted)
        assert (len(self.fold.rejected) == refused) == taken
        if wanted and model:
            model.happened(wanted, action)

    def look(self, rollout: str, verdict: int, count: int) -> None:
        """Windows close, and the gate says one of the four words."""
        for _ in range(count):
            step = (verdict - self.verdict[rollout]) % 4
            self.verdict[rollout] = verdict
            told = report(self.window[rollout], rollout=rollout, invalid=step, partitions=1)
            told = replace(told, acks_next=len(self.reports) + 1, routers=(self._roll(rollout),))
            self.window[rollout] += 1
            self._look(rollout, told)

    def _roll(self, rollout: str) -> RouterGroup:
        model, does = (
            self.models.get(rollout) or Model((False, False, False), None, ends=False),
            self.router[rollout],
        )
        return RouterGroup(
            sequence=model.entered - (does == "late"),
            weight=WEIGHTS[STAGES[model.at]],
            state="killed" if does == "killed" else "applied",
            count=1,
            named=("router-a",),
        )

    def _look(self, rollout: str, told: WindowReport) -> None:
        offset = len(self.reports)
        self.reports.append((offset, told))
        model = self.models.get(rollout)
        new = self.fold.apply_report(offset, told)
        self.audit += new
        if model is None or model.final or self._followed(rollout):
            if model is None:  # nobody took it: the verdict is not part of any evidence
                self.verdict[rollout] = 0
            assert new == []
            return
        model.windows = (model.windows or 0) + 1
        obeyed = self.router[rollout] == "obeys"
        action, code = model.ruling(VERDICTS[self.verdict[rollout]], told.watermark_ms, obeyed=obeyed)
        earlier = self.audit[: len(self.audit) - len(new)]
        last = next(d for d in reversed(earlier) if d.rollout_id == rollout)
        said = "still_paused" if last.reason_code == "paused" else last.reason_code
        climbing = model.status in ("running", "paused")
        due = code != said or (climbing and told.watermark_ms - last.at_ms >= HOLD_EVERY_MS)
        assert bool(new) == (action != "hold" or due)
        if not new:
            return
        (decision,) = new
        self._check(decision, code, action, rollout)
        model.happened(code, action)

    def zombie(self, old: GateDecision) -> None:
        """A decider that was cut off comes back with an old decision, or one that forks: the state refuses it."""
        before = self.fold.states()[old.rollout_id]
        forged = old.model_copy(update={"sequence": before.sequence + 1, "reason": "another"})
        for wrong in (old, forged):
            try:
                before.apply(wrong)
            except ChainError:
                continue
            raise AssertionError(f"a decision that continues no chain was believed: {wrong.reason}")

    def teardown(self) -> None:
        for rollout, model in self.models.items():
            state = self.fold.states()[rollout]
            assert (state.status.value, state.stage.name) == (model.status, STAGES[model.at])
        assert replay(self.audit, self.commands, self.reports).identical

    def _followed(self, rollout: str) -> bool:
        later = self.order[self.order.index(rollout) + 1 :]
        return any(SERVICES[r] == SERVICES[rollout] for r in later)

    def _said(self, said: Command, wanted: str, action: str) -> None:
        offset = len(self.commands)
        self.commands.append((offset, said))
        new = self.fold.apply_command(offset, said)
        self.audit += new
        assert [d.reason_code for d in new] == ([wanted] if wanted else [])
        if wanted and wanted != "started":
            self._check(new[0], wanted, action, said.rollout_id)
            assert said.reason in new[0].reason or wanted == "force_refused"

    def _check(self, decision: GateDecision, code: str, action: str, rollout: str) -> None:
        model = self.models[rollout]
        if action == "rollback" and code != "abandoned" and decision.sources:
            self.rolled_back_at_ms[SERVICES[rollout]] = decision.at_ms
        at = {"hold": model.at, "promote": model.at + 1, "rollback": 0}[action]
        assert (decision.action.value, decision.reason_code) == (action, code)
        assert (decision.stage, decision.weight) == (STAGES[at], WEIGHTS[STAGES[at]])
        assert decision.sequence == model.sequence + 1
        if decision.reason_code == "proven" and model.approved:
            assert "approved by ann" in decision.reason


def run(monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """Run so many histories, or up to the first one that fails."""
    monkeypatch.setattr(fold_module, "facts_of", written_facts)
    if fold_module._assessed.__module__ == fold_module.__name__:
        monkeypatch.setattr(fold_module, "_assessed", written_verdict)
    run_state_machine_as_test(
        CommandMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
