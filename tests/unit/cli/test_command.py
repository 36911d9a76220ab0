from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from paritygate.cli import command as command_module
from paritygate.cli import follow
from paritygate.cli.command import CAUSES, is_obeyed, refuse_command, refuse_start, standing, unfit
from paritygate.cli.follow import Newest, unknown_rollout
from paritygate.cli.main import main
from paritygate.rollouts.replay import COMMANDED
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError


def decision(
    rollout_id: str,
    sequence: int,
    weight: int,
    action: Action = Action.HOLD,
    *,
    code: str = "test",
    commands_next: int = 0,
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight),
        weight=weight,
        from_stage="shadow",
        reason_code=code,
        reason="ok",
        at_ms=1,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
        commands_next=commands_next,
    )


RUNS = decision("fraud-1", 3, 5)
OVER = decision("fraud-0", 9, 100)
BACK = decision("churn-1", 4, 0, Action.ROLLBACK)
NEWEST = {d.rollout_id: d for d in (RUNS, OVER, BACK)}
SERVICES = {"fraud-1": "fraud", "fraud-0": "fraud", "churn-1": "churn"}


def test_a_used_id_is_never_used_again() -> None:
    """Starting a rollout whose id has a decision is refused."""
    with pytest.raises(ConfigError, match="never used again"):
        refuse_start("churn-1", "churn", NEWEST, SERVICES)


def test_one_running_rollout_a_service() -> None:
    """A second rollout of a service is refused while one runs; one that is over does not count."""
    with pytest.raises(ConfigError, match=r"'fraud-1' of service 'fraud' still runs"):
        refuse_start("fraud-2", "fraud", NEWEST, SERVICES)
    refuse_start("churn-2", "churn", NEWEST, SERVICES)
    refuse_start("fraud-2", "fraud", {"fraud-0": OVER}, SERVICES)


def test_commands_to_nobody_are_refused() -> None:
    """A misspelt id gets its neighbour named: a rollback of nothing must not look like a success."""
    with pytest.raises(ConfigError, match="did you mean 'fraud-1'"):
        refuse_command("pause", "fruad-1", NEWEST, [])
    with pytest.raises(ConfigError, match="final"):
        refuse_command("resume", "churn-1", NEWEST, [])
    refuse_command("pause", "fraud-1", NEWEST, [])
    refuse_command("rollback", "waiting", NEWEST, ["waiting"])


def test_unknown_rollout_lists_what_there_is() -> None:
    """Without a neighbour the known ids are listed, or that there is none."""
    assert "there are a, b" in str(unknown_rollout("zzz", ["a", "b"]))
    assert "none was ever started" in str(unknown_rollout("zzz", []))


def test_what_is_shown_follows_the_routers_rules() -> None:
    """The newest sequence wins, older ones change nothing, and a rollback stays."""
    newest = Newest()

    taken = [
        newest.take(d)
        for d in (
            decision("r", 0, 0),
            decision("r", 2, 5),
            decision("r", 1, 1),
            decision("r", 3, 0, Action.ROLLBACK),
            decision("r", 4, 100),
        )
    ]

    assert taken == [True, True, False, True, False]
    assert newest.decisions["r"].sequence == 3


def test_every_command_has_the_reason_code_that_the_decider_gives() -> None:
    """The codes written out here are those of the rollouts room, one for each kind of command."""
    assert CAUSES.keys() == set(CommandKind)
    assert set(CAUSES.values()) == COMMANDED


@pytest.mark.parametrize(
    ("rollout", "code", "commands_next", "obeyed"),
    [
        ("r", "paused", 8, True),
        ("r", "more_evidence", 7, None),  # written before the decider read the command
        ("r", "more_evidence", 8, False),
        ("r", "paused", 9, False),  # a later pause
        ("r", "resumed", 8, False),
        ("other", "paused", 8, False),
        ("other", "more_evidence", 9, False),
    ],
)
def test_only_the_decision_that_a_command_caused_is_its_success(
    rollout: str, code: str, commands_next: int, obeyed: bool | None
) -> None:
    """A pause at offset 7 is obeyed by its own decision alone; any other one beyond it proves a refusal."""
    said = decision(rollout, 4, 5, code=code, commands_next=commands_next)

    assert is_obeyed("pause", "r", 7, said) is obeyed


def test_a_pause_outlasts_other_holds() -> None:
    """A rollout stays paused through holds of whatever reason, until it is resumed or taken back."""
    log = [decision("r", 0, 0, code="started"), decision("r", 1, 0, code="paused")]
    log += [decision("r", 2, 0, code="candidate_silent"), decision("r", 3, 0, code="still_paused")]

    assert [standing(log[:n]) for n in range(5)] == ["", "running", "paused", "paused", "paused"]
    assert standing([*log, decision("r", 4, 0, code="resumed")]) == "running"
    assert standing([*log, decision("r", 4, 100, Action.PROMOTE)]) == "promoted"
    assert standing([*log, decision("r", 4, 0, Action.ROLLBACK), decision("r", 5, 0)]) == "rolled back"


@pytest.mark.parametrize(
    ("kind", "states"),
    [("pause", {"paused", "promoted"}), ("resume", {"running", "promoted"}), ("rollback", set()), ("start", set())],
)
def test_what_fits_a_state(kind: str, states: set[str]) -> None:
    """A pause wants a running rollout, a resume a paused one; without a decision nothing is known."""
    assert {s for s in ("", "running", "paused", "promoted") if unfit(kind, s)} == states


class Cluster:
    """The control topics in memory; ``answers`` are the decisions that come after a command was written."""

    def __init__(self) -> None:
        self.decisions = [decision("r", 0, 0, code="started", commands_next=1)]
        self.commands = [Command(kind=CommandKind.START, rollout_id="r", actor="ann", issued_at_ms=1, plan={})]
        self.answers: list[GateDecision] = []

    def read(self, _settings: object, *, start: dict[int, int] | None = None, **_: Any) -> Iterator[GateDecision]:
        yield from self.decisions[(start or {}).get(0, 0) :]

    def write(self, _settings: object, _topic: str, _key: str, value: bytes) -> int:
        self.commands.append(Command.from_bytes(value))
        self.decisions += self.answers
        return len(self.commands) - 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    there = Cluster()
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", "b:1")
    monkeypatch.setattr(command_module, "require_topics", lambda *_: None)
    monkeypatch.setattr(command_module, "write", there.write)
    monkeypatch.setattr(follow, "decisions", there.read)
    monkeypatch.setattr(follow, "decisions_end", lambda _: {0: len(there.decisions)})
    monkeypatch.setattr(follow, "commands", lambda _: enumerate(there.commands))
    return there


def test_an_obeyed_command_prints_its_decision(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The decision that the pause caused is printed, exit code 0."""
    cluster.answers = [
        decision("r", 1, 0, code="more_evidence", commands_next=1),
        decision("r", 2, 0, code="paused", commands_next=2),
    ]

    assert main(["pause", "r"]) == 0
    assert "r #2: hold" in capsys.readouterr().out


def test_a_command_that_was_passed_over_is_no_success(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """A decision beyond the command that it did not cause ends with 1, and says what state the rollout is in."""
    cluster.answers = [decision("r", 1, 0, code="still_paused", commands_next=2)]

    assert main(["pause", "r"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "refused: the decider passed pause over: r is paused (decision 1, stage 0)" in err


def test_another_rollout_can_tell_of_a_refusal(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The decider reads one log of commands, so a decision about another rollout proves a refusal as well."""
    cluster.answers = [decision("other", 5, 25, commands_next=2)]

    assert main(["rollback", "r", "--reason", "x"]) == 1
    assert "r is running (decision 0" in capsys.readouterr().err


def test_a_state_that_does_not_fit_is_refused_at_once(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Resuming a running rollout writes nothing and names its state; with a pause on its way it is written."""
    assert main(["resume", "r"]) == 1
    assert "refused: r is running (decision 0, stage 0); nothing was written" in capsys.readouterr().err
    assert len(cluster.commands) == 1

    cluster.commands.append(Command(kind=CommandKind.PAUSE, rollout_id="r", actor="ann", issued_at_ms=1))
    cluster.answers = [decision("r", 1, 0, code="paused", commands_next=2)]
    cluster.answers += [decision("r", 2, 0, code="resumed", commands_next=3)]
    assert main(["resume", "r"]) == 0
    assert "r #2: hold" in capsys.readouterr().out
