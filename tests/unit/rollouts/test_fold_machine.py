"""Random operators, random traffic, random crashes: the laws of the fold hold in every history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paritygate.rollouts.replay import Refold, replay
from paritygate.rollouts.state import RolloutState, RolloutStatus
from paritygate.schemas.command import Command
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import PARTITIONS, command, report

ROLLOUTS = st.sampled_from(["r1", "r2", "s1"])
SERVICE = {"r1": "fraud", "r2": "fraud", "s1": "search"}


class FoldMachine(RuleBasedStateMachine):
    """One decider over two logs and an audit log; it may crash at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[int, Command]] = []
        self.reports: list[tuple[int, WindowReport]] = []
        self.audit: list[GateDecision] = []
        self.window = dict.fromkeys(SERVICE, 0)
        self.decider = Refold([])

    @initialize()
    def first(self) -> None:
        """Most histories have a rollout to tell of."""
        self._command(command("start", "r1"))

    @rule(
        kind=st.sampled_from(["pause", "resume", "approve", "promote", "rollback", "abandon", "acknowledge"]),
        rollout=ROLLOUTS,
        stage=st.sampled_from(["shadow", "shadow", "5", "50"]),
    )
    def order(self, kind: str, rollout: str, stage: str) -> None:
        more = {"reason": "x", "stage": stage, "sequence": 0}
        self._command(command(kind, rollout).model_copy(update=more))

    @rule(rollout=ROLLOUTS)
    def start(self, rollout: str) -> None:
        self._command(command("start", rollout, service=SERVICE[rollout]))

    @rule(
        rollout=ROLLOUTS,
        count=st.integers(1, 8),
        errors=st.sampled_from([0, 0, 0, 0, 1, 4]),
        live=st.integers(0, 9),
    )
    def traffic(self, rollout: str, count: int, errors: int, live: int) -> None:
        """Some windows pass in every partition."""
        for _ in range(count):
            for partition in range(PARTITIONS):
                self._report(report(self.window[rollout], partition, rollout=rollout, errors=errors, live=live))
            self.window[rollout] += 1

    @precondition(lambda self: len(self.audit) % 4 == 3)
    @rule(rollout=ROLLOUTS, partition=st.integers(0, PARTITIONS - 1))
    def incident(self, rollout: str, partition: int) -> None:
        """One partition sees the candidate fail."""
        self._report(report(self.window[rollout], partition, rollout=rollout, errors=40, live=20))

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), revision=st.integers(0, 2), requests=st.integers(50, 60))
    def late_word(self, data: st.DataObject, revision: int, requests: int) -> None:
        """An earlier window is reported again, unchanged or with another content."""
        _, old = data.draw(st.sampled_from(self.reports[-6:]))
        self._report(old if revision == 0 else replace(old, revision=revision))

    @rule(skip_settled=st.booleans())
    def crash(self, skip_settled: bool) -> None:
        """A new decider reads the logs; it stands where the old one stood and has nothing new to say."""
        before = self._stand()
        self.decider = Refold(self.audit, self.commands, skip_settled=skip_settled)
        new = [
            d
            for offset, r in self.reports[self.decider.windows_first :]
            for d in self.decider.apply_report(offset, r)
        ]
        new += self.decider.catch_up()

        assert new == []
        assert self.decider.differences == []
        assert self._stand() == before
        assert self.decider.caught_up

    @invariant()
    def one_active_rollout_per_service(self) -> None:
        active = [s.plan.service for s in self._states().values() if s.active]
        assert len(active) == len(set(active))

    def teardown(self) -> None:
        """The audit log is a chain, obeys the laws, and follows from the logs."""
        heads: dict[str, GateDecision] = {}
        for d in self.audit:
            before = heads.get(d.rollout_id)
            heads[d.rollout_id] = d
            if before is None:
                assert (d.sequence, d.previous, d.reason_code, d.weight) == (0, "", "started", 0)
                continue
            assert (d.sequence, d.previous) == (before.sequence + 1, before.digest())
            assert before.action is not Action.ROLLBACK
            self._check_step(before, d)
        assert replay(self.audit, self.commands, self.reports).identical

    def _check_step(self, before: GateDecision, d: GateDecision) -> None:
        plan = self._states()[d.rollout_id].plan
        if d.action is Action.PROMOTE:
            assert plan.stage(d.stage) == plan.ladder.next(plan.stage(before.stage))
            assert d.verdicts
            wanted = {"pass"} if d.reason_code == "proven" else {"pass", "inconclusive", "error"}
            assert {v.verdict for v in d.verdicts if v.required} <= wanted
            assert before.reason_code not in ("paused", "still_paused")
        elif d.action is Action.ROLLBACK:
            assert (d.stage, d.weight) == ("shadow", 0)
        else:
            assert d.stage == before.stage

    def _command(self, c: Command) -> None:
        offset = len(self.commands)
        self.commands.append((offset, c))
        self.audit += self.decider.apply_command(offset, c)

    def _report(self, r: WindowReport) -> None:
        offset = len(self.reports)
        self.reports.append((offset, r))
        self.audit += self.decider.apply_report(offset, r)

    def _states(self) -> dict[str, RolloutState]:
        return dict(self.decider.fold.states())

    def _stand(self) -> dict[str, tuple[Any, ...]]:
        return {
            k: (s.head, s.sequence, s.status, s.stage, s.stage_started_at_ms, self._digest(k, s))
            for k, s in self._states().items()
        }

    def _digest(self, rollout: str, state: RolloutState) -> object:
        """The evidence too is the same, where it still matters."""
        evidence = self.decider.fold.evidence(rollout)
        if evidence is None or state.status is RolloutStatus.ROLLED_BACK:
            return None
        return evidence.whole.to_parts(), evidence.stage.to_parts(), [p.to_parts() for p in evidence.panes]


FoldMachine.TestCase.settings = settings(derandomize=True, max_examples=50, stateful_step_count=30, deadline=None)
TestFoldMachine = FoldMachine.TestCase
