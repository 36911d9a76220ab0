"""Deciders that die, return and meet, and operators that do not wait for each other, on the real broker."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.replay import chained
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.topics import DECISIONS, ROLLOUTS
from tests.broker.test_worker import CLIMBING_YAML, decisions, replayed, until
from tests.faults.worker import DECIDER_POINTS
from tests.support.feed import start_command
from tests.support.kafka import KafkaBench
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

PLAN = RolloutPlan.from_yaml(CLIMBING_YAML)
#: What ends a rollout without traffic, and the code of the decision that says so.
ENDS = {CommandKind.ROLLBACK: "operator_rollback", CommandKind.ABANDON: "abandoned"}


def said(kind: CommandKind, actor: str = "ada") -> tuple[str, bytes]:
    """Key and value of a command about the climb."""
    return "climb", Command(kind=kind, rollout_id="climb", actor=actor, reason="why", issued_at_ms=1).to_bytes()


class Log:
    """The rollout's topics."""

    def __init__(self, kafka: KafkaBench) -> None:
        self.kafka, self.settings = kafka, kafka.settings()
        kafka.create_topics(self.settings)

    def say(self, *commands: tuple[str, bytes]) -> None:
        self.kafka.produce(self.settings.topic(ROLLOUTS.name), list(commands))

    @property
    def chain(self) -> list[GateDecision]:
        """What every reader takes for the record."""
        return chained(decisions(self.kafka, self.settings, "climb"))

    @property
    def newest(self) -> str:
        return self.chain[-1].reason_code if self.chain else ""

    @property
    def obeyed(self) -> str:
        """The reason code of the newest decision that routers can read; empty where there is none."""
        found = self.kafka.read(self.settings.topic(DECISIONS.name))
        return GateDecision.from_bytes(found[-1].value or b"").reason_code if found else ""

    def check(self) -> None:
        """One chain without a gap, which follows from the logs, and no sequence has two contents."""
        audit = decisions(self.kafka, self.settings, "climb")
        assert len({(d.sequence, d.to_bytes()) for d in audit}) == len(self.chain)
        assert [d.sequence for d in self.chain] == list(range(len(self.chain)))
        assert replayed(self.kafka, self.settings) == ""


@pytest.fixture
def record(kafka: KafkaBench) -> Log:
    return Log(kafka)


def dies(worker: WorkerProcess) -> None:
    """Wait until it has killed itself."""
    until(lambda: worker.process is not None and worker.process.poll() is not None, "its death at the point", 150)
    assert worker.process is not None
    assert worker.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", DECIDER_POINTS)
def test_a_decider_killed_at_any_step_of_a_decision_loses_and_forks_nothing(
    record: Log, tmp_path: Path, point: str
) -> None:
    """Made but not written, in the audit but not with the routers, written whole: the next one goes on there."""
    worker = WorkerProcess(record.settings, tmp_path)
    try:
        worker.start(point)
        record.say(start_command(PLAN))
        dies(worker)
        # Its successor first tells routers the newest decision once more, and then decides.
        worker.start(f"{point}:2" if point == "after_decision" else point)
        record.say(said(CommandKind.PAUSE))
        dies(worker)
        worker.start().wait_owning()
        until(lambda: record.obeyed == "paused", "the pause at the routers")
        record.say(said(CommandKind.ROLLBACK))
        until(lambda: record.obeyed == "operator_rollback", "the rollback at the routers")
    finally:
        worker.kill()

    assert [d.reason_code for d in record.chain] == ["started", "paused", "operator_rollback"]
    record.check()
    assert "what is recorded stands" not in worker.log()


def test_two_deciders_at_once_write_one_chain(record: Log, tmp_path: Path) -> None:
    """One is stopped as a paused virtual machine is, another takes over, and the first wakes in the midst of it."""
    first = WorkerProcess(record.settings, tmp_path, "w1", session_timeout_s="6")
    second = WorkerProcess(record.settings, tmp_path, "w2", session_timeout_s="6")
    try:
        first.start().wait_owning()
        record.say(start_command(PLAN))
        until(lambda: record.newest == "started", "the start")
        assert first.process is not None
        os.kill(first.process.pid, signal.SIGSTOP)
        second.start()
        record.say(said(CommandKind.PAUSE))
        until(lambda: record.newest == "paused", "the pause of the second", 150)
        os.kill(first.process.pid, signal.SIGCONT)
        record.say(said(CommandKind.RESUME), said(CommandKind.PAUSE), said(CommandKind.RESUME))
        record.say(said(CommandKind.ROLLBACK))
        until(lambda: record.newest == "operator_rollback", "the rollback", 150)
        until(lambda: record.obeyed == "operator_rollback", "the rollback at the routers")
        record.say(said(CommandKind.RESUME))
        assert second.terminate() == 0
    finally:
        first.kill()
        second.kill()

    assert [d.reason_code for d in record.chain if d.reason_code != "absorbed"] == [
        "started", "paused", "resumed", "paused", "resumed", "operator_rollback",
    ]  # fmt: skip
    record.check()


def test_of_commands_that_race_the_first_in_the_log_wins(record: Log, tmp_path: Path) -> None:
    """Eight operators at once: what ends it first ends it, and nothing that comes later changes a thing."""

    def operate(number: int) -> None:
        kinds = [CommandKind.PAUSE, CommandKind.RESUME, CommandKind.ROLLBACK, CommandKind.ABANDON]
        random.Random(number).shuffle(kinds)
        for kind in kinds:
            record.say(said(kind, f"operator-{number}"))

    worker = WorkerProcess(record.settings, tmp_path).start()
    try:
        worker.wait_owning()
        record.say(start_command(PLAN))
        until(lambda: record.newest == "started", "the start")
        operators = [threading.Thread(target=operate, args=(n,)) for n in range(8)]
        for operator in operators:
            operator.start()
        for operator in operators:
            operator.join(150)
        log = record.kafka.read(record.settings.topic(ROLLOUTS.name))
        spoken = [Command.from_bytes(r.value or b"") for r in log]
        assert len(spoken) == 33
        end = next(c for c in spoken if c.kind in ENDS)
        until(lambda: any(d.reason_code in ENDS.values() for d in record.chain), "the end")
        until(lambda: record.chain[-1].commands_next >= spoken.index(end) + 1, "all that led to it")
        assert worker.terminate() == 0
    finally:
        worker.kill()

    ends = [d for d in record.chain if d.reason_code in ENDS.values()]
    assert [d.reason_code for d in ends] == [ENDS[end.kind]]
    assert end.actor in ends[0].reason
    assert {d.weight for d in record.chain} == {0}
    assert all(d.reason_code == "absorbed" for d in record.chain[record.chain.index(ends[0]) + 1 :])
    record.check()


def test_a_restart_in_each_state_changes_nothing(record: Log, tmp_path: Path) -> None:
    """Started, paused, resumed, abandoned: after kill -9 the same state stands, and the next command counts."""
    worker, lives = WorkerProcess(record.settings, tmp_path).start(), 1
    try:
        for command, code in (
            (start_command(PLAN), "started"),
            (said(CommandKind.PAUSE), "paused"),
            (said(CommandKind.RESUME), "resumed"),
            (said(CommandKind.ABANDON), "abandoned"),
        ):
            record.say(command)
            until(lambda code=code: record.newest == code, code, 150)  # type: ignore[misc]
            before = record.chain
            worker.kill()
            worker.start()
            lives += 1
            until(lambda lives=lives: worker.log().count("the decider starts with") == lives, "the decider", 150)  # type: ignore[misc]
            assert record.chain == before
        record.say(said(CommandKind.RESUME))
        assert worker.terminate() == 0
    finally:
        worker.kill()

    assert [d.reason_code for d in record.chain][:4] == ["started", "paused", "resumed", "abandoned"]
    record.check()
    assert "what is recorded stands" not in worker.log()
