"""Plan, commands and verdicts: in every history of the three the fold obeys a model of it.

The gates are replaced by one whose verdict is written into the evidence, so that a history costs microseconds
where real gates cost milliseconds; :mod:`test_fold_machine` runs the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts import fold as fold_module
from paritygate.rollouts.facts import Facts
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.replay import replay
from paritygate.rollouts.state import ChainError, RolloutState
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import command, plain_plan, report

STAGES = ("shadow", "5", "50", "100")
WEIGHTS = dict(zip(STAGES, (0, 5, 50, 100), strict=True))
SERVICES = {"r1": "fraud", "r2": "fraud", "s1": "search"}
VERDICTS = ("pass", "inconclusive", "fail", "error")
MAXIMUM_S = 4
KINDS = ("pause", "resume", "approve", "promote", "rollback", "abandon", "acknowledge")
Key = tuple[str, str, str]


def written_facts(ledger: Ledger) -> Facts:
    """Nothing but the verdict and the clock is in the way of a promotion."""
    at_ms = ledger.at_ms or 0
    began = ledger.first_start_ms if ledger.stage_from_ms is None else ledger.stage_from_ms
    in_stage = at_ms - (at_ms if began is None else began)
    return Facts(in_stage_ms=in_stage, stage_pairs=10**6, candidate_answered=True, stage_live=10**6, lag_ms=0)


def written_verdict(state: RolloutState, ledger: Ledger, facts: Facts) -> Assessment:
    """The verdict that the newest window carries: its number of invalid answers, four to a window."""
    kind = VerdictKind(VERDICTS[ledger.whole.count("candidate_invalid") % 4])
    verdict = Verdict(gate="error_rate", kind=kind, reason="as written", reason_code="as_written")
    return Assessment(verdicts=(verdict,), overall=kind)


@dataclass
class Model:
    """What must become of one rollout, in the words of the documentation."""

    approvals: tuple[bool, bool, bool]
    limited: bool
    ends: bool
    status: str = "running"
    at: int = 0
    approved: bool = False
    sequence: int = 0
    windows: int | None = None

    @property
    def final(self) -> bool:
        return self.status in ("rolled_back", "abandoned")

    def told(self, kind: str, stage: str, reason: str, verdict: str, seen: int) -> str:
        """The reason code that a command causes; empty where it changes nothing."""
        there = STAGES[self.at]
        if self.final or kind == "acknowledge":
            return ""
        if kind in ("approve", "promote", "abandon") and not reason:
            return ""
        allowed = {
            "pause": self.status == "running",
            "resume": self.status == "paused",
            "approve": stage == there and self.at < 3 and self.approvals[min(self.at, 2)] and not self.approved,
            "promote": stage == there and self.status == "running",
            "abandon": self.status != "promoted",
            "rollback": True,
        }[kind]
        if not allowed:
            return ""
        if kind == "promote":
            ruled = self.ruling(verdict)[0] if self.windows is not None else "rollback"
            return "force_refused" if ruled == "rollback" else "forced"
        codes = {"pause": "paused", "resume": "resumed", "approve": "approved", "abandon": "abandoned"}
        return codes.get(kind, "operator_rollback")

    def ruling(self, verdict: str) -> tuple[str, str]:  # noqa: PLR0911  (one line per rule)
        """Action and reason code of the next look."""
        if verdict == "fail":
            return "rollback", "gate_failed"
        if self.status == "paused":
            return "hold", "still_paused"
        if self.status == "promoted":
            return "hold", "promoted"
        if verdict == "error":
            return "hold", "gate_error"
        if verdict == "pass":
            waits = self.approvals[self.at] and not self.approved
            return ("hold", "approval_needed") if waits else ("promote", "proven")
        if self.limited and self.at == 0 and (self.windows or 0) >= MAXIMUM_S:
            return ("rollback" if self.ends else "hold"), "timeout"
        return "hold", "more_evidence"

    def happened(self, code: str, action: str) -> None:
        self.sequence += 1
        if action == "rollback":
            self.status, self.at = ("abandoned" if code == "abandoned" else "rolled_back"), 0
        elif action == "promote":
            self.at, self.approved, self.windows = self.at + 1, False, 0
            self.status = "promoted" if self.at == 3 else "running"
        elif code == "paused":
            self.status = "paused"
        elif code == "resumed":
            self.status = "running"
        elif code == "approved":
            self.approved = True


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

    @initialize(approvals=st.tuples(*[st.booleans()] * 3), limited=st.booleans(), ends=st.booleans())
    def first(self, approvals: tuple[bool, bool, bool], limited: bool, ends: bool) -> None:
        self.start("r1", approvals, limited, ends)

    @rule(
        rollout=st.sampled_from(tuple(SERVICES)),
        approvals=st.tuples(*[st.booleans()] * 3),
        limited=st.booleans(),
        ends=st.booleans(),
    )
    def start(self, rollout: str, approvals: tuple[bool, bool, bool], limited: bool, ends: bool) -> None:
        plain = plain_plan(rollout, SERVICES[rollout], on_timeout="rollback" if ends else "hold")
        for stage in plain["stages"]:
            stage["minimum_seconds"] = 0
        for i, asked in enumerate(approvals):
            plain["stages"][i] |= {"approval": "required"} if asked else {}
        plain["stages"][0] |= {"maximum_seconds": MAXIMUM_S} if limited else {}
        free = not any(
            SERVICES[r] == SERVICES[rollout] and m.status in ("running", "paused") for r, m in self.models.items()
        )
        wanted = "started" if free and rollout not in self.models else ""
        said = command("start", rollout).model_copy(update={"plan": plain})
        self._said(said, wanted, "hold")
        if wanted:
            self.models[rollout] = Model(approvals, limited, ends)
            self.verdict[rollout] = 0
            self.order.append(rollout)

    @rule(
        kind=st.sampled_from(KINDS),
        rollout=st.sampled_from(("r1", "r1", "r1", "r2", "s1")),
        stage=st.sampled_from((None, None, None, *STAGES)),
        reason=st.sampled_from(("x", "x", "x", "")),
        late=st.integers(0, 1),
    )
    def order_(self, kind: str, rollout: str, stage: str | None, reason: str, late: int) -> None:
        """Somebody says something, mostly of the stage that the rollout is in."""
        model = self.models.get(rollout)
        there = stage or (STAGES[model.at] if model else "shadow")
        sequence = (model.sequence if model else 0) + late
        said = command(kind, rollout).model_copy(update={"stage": there, "reason": reason, "sequence": sequence})
        if model is None or self._followed(rollout):
            wanted = ""
        else:
            wanted = model.told(kind, there, reason, VERDICTS[self.verdict[rollout]], sequence)
        action = {"forced": "promote", "operator_rollback": "rollback", "abandoned": "rollback"}.get(wanted, "hold")
        refused = len(self.fold.rejected)
        self._said(said, wanted, action)
        known = model is not None and (kind != "acknowledge" or (not late and bool(reason)))
        if kind == "acknowledge":
            assert (len(self.fold.rejected) == refused) == known
        else:
            assert (len(self.fold.rejected) == refused) == bool(wanted)
        if wanted and model:
            model.happened(wanted, action)

    @rule(
        rollout=st.sampled_from(("r1", "r1", "r2", "s1")),
        verdict=st.sampled_from((0, 0, 0, 1, 1, 1, 2, 3)),
        count=st.integers(1, 3),
    )
    def look(self, rollout: str, verdict: int, count: int) -> None:
        """Windows close, and the gate says one of the four words."""
        for _ in range(count):
            step = (verdict - self.verdict[rollout]) % 4
            self.verdict[rollout] = verdict
            told = report(self.window[rollout], rollout=rollout, invalid=step, partitions=1)
            self.window[rollout] += 1
            self._look(rollout, told)

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
        action, code = model.ruling(VERDICTS[self.verdict[rollout]])
        last = next(
            d.reason_code for d in reversed(self.audit[: len(self.audit) - len(new)]) if d.rollout_id == rollout
        )
        if not new:
            assert (action, code) == ("hold", "still_paused" if last == "paused" else last)
            return
        (decision,) = new
        self._check(decision, code, action, rollout)
        model.happened(code, action)

    @precondition(lambda self: self.audit)
    @rule(data=st.data())
    def zombie(self, data: st.DataObject) -> None:
        """A decider that was cut off comes back with an old decision, or one that forks: the state refuses it."""
        old = data.draw(st.sampled_from(self.audit))
        before = self.fold.states()[old.rollout_id]
        forged = old.model_copy(update={"sequence": before.sequence + 1, "reason": "another"})
        for wrong in (old, forged):
            with pytest.raises(ChainError):
                before.apply(wrong)

    @precondition(lambda self: self.commands)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """The log is delivered twice."""
        offset, said = data.draw(st.sampled_from(self.commands))
        assert self.fold.apply_command(offset, said) == []

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
        at = {"hold": model.at, "promote": model.at + 1, "rollback": 0}[action]
        assert (decision.action.value, decision.reason_code) == (action, code)
        assert (decision.stage, decision.weight) == (STAGES[at], WEIGHTS[STAGES[at]])
        assert decision.sequence == model.sequence + 1
        if decision.reason_code == "proven" and model.approved:
            assert "approved by ann" in decision.reason


def run(monkeypatch: pytest.MonkeyPatch, examples: int, *phases: Phase) -> None:
    monkeypatch.setattr(fold_module, "facts_of", written_facts)
    if fold_module._assessed.__module__ == fold_module.__name__:
        monkeypatch.setattr(fold_module, "_assessed", written_verdict)
    run_state_machine_as_test(
        CommandMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases or (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_fold_is_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every history of plans, commands and verdicts the decisions are those of the model."""
    run(monkeypatch, 150, Phase.generate)
