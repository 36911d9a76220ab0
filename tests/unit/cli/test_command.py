from __future__ import annotations

from pathlib import Path

import pytest

from paritygate.cli.main import main
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.signature import COMMAND, TrustedKeys
from tests.unit.cli.conftest import Cluster, decision
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC


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


def test_a_hold_is_a_pause(cluster: Cluster) -> None:
    """There is one thing that stops promotions, and two words for it."""
    cluster.answers = [decision("r", 1, 0, code="paused", commands_next=2)]

    assert main(["hold", "r"]) == 0
    assert cluster.commands[-1].kind is CommandKind.PAUSE


def test_a_rollback_now_is_written_before_anything_is_read(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --now even an id that nobody knows is written; what the decider makes of it is said."""
    cluster.answers = [decision("other", 5, 25, commands_next=2)]

    assert main(["rollback", "typo", "--now", "--reason", "x"]) == 1
    assert cluster.commands[-1].rollout_id == "typo"
    assert "refused: the decider passed rollback over: typo has no decision" in capsys.readouterr().err


def test_a_command_is_signed_where_a_key_is_set(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exactly the bytes that were written; without a key the refusal says that there was none."""
    cluster.answers = [decision("r", 1, 0, code="still_paused", commands_next=2)]
    assert main(["pause", "r"]) == 1
    assert cluster.headers == []
    assert "(it was not signed: PARITYGATE_SIGNING_KEY is not set)" in capsys.readouterr().err
    (tmp_path / "ann.key").write_bytes(PRIVATE)
    monkeypatch.setenv("PARITYGATE_SIGNING_KEY", str(tmp_path / "ann.key"))
    cluster.answers = [decision("r", 2, 0, code="resumed", commands_next=3)]

    assert main(["resume", "r"]) == 0
    assert TrustedKeys(PUBLIC, "pub").refusal(COMMAND, cluster.commands[-1].to_bytes(), cluster.headers) == ""


def test_a_key_that_cannot_be_read_writes_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2: an unsigned command would be refused."""
    monkeypatch.setenv("PARITYGATE_SIGNING_KEY", str(tmp_path / "no.key"))

    assert main(["pause", "r"]) == 2
    assert capsys.readouterr().err == (
        f"error: PARITYGATE_SIGNING_KEY {tmp_path / 'no.key'} cannot be read: No such file or directory\n"
    )
    assert len(cluster.commands) == 1
