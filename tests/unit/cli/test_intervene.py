from __future__ import annotations

import pytest

from paritygate.cli.main import main
from paritygate.schemas.command import CommandKind
from paritygate.schemas.decision import Action
from tests.unit.cli.conftest import Cluster, decision


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [(["approve"], CommandKind.APPROVE, "approved"), (["promote", "--force"], CommandKind.PROMOTE, "forced")],
)
def test_a_command_names_the_stage_that_the_person_saw(
    cluster: Cluster, words: list[str], kind: CommandKind, code: str
) -> None:
    """An approval and a forced promotion carry the present stage, the reason and the actor."""
    cluster.answers = [decision("r", 1, 0, code=code, commands_next=2)]

    assert main([words[0], "r", *words[1:], "--reason", "looked at it", "--actor", "ann"]) == 0
    said = cluster.commands[-1]
    assert (said.kind, said.stage, said.reason, said.actor) == (kind, "0", "looked at it", "ann")


def test_another_stage_than_the_present_one_is_refused(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """An approval in advance of its stage is not written."""
    assert main(["approve", "r", "--stage", "5", "--reason", "x"]) == 1
    assert "r is in stage 0, not 5; nothing was written" in capsys.readouterr().err
    assert len(cluster.commands) == 1


@pytest.mark.parametrize("verb", ["approve", "promote", "abandon", "acknowledge"])
def test_a_word_above_the_rules_says_why(cluster: Cluster, verb: str) -> None:
    """Without --reason nothing is written."""
    assert main([verb, "r"]) == 2
    assert len(cluster.commands) == 1


def test_a_promotion_without_force_is_the_deciders(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """promote without --force is refused, and says what would be meant."""
    assert main(["promote", "r", "--reason", "x"]) == 2
    assert "--force goes up without proof" in capsys.readouterr().err
    assert len(cluster.commands) == 1


def test_a_force_that_the_evidence_forbids_says_so(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The decision that refuses a force is no success; its reason is printed."""
    cluster.answers = [decision("r", 1, 0, code="force_refused", commands_next=2)]

    assert main(["promote", "r", "--force", "--reason", "x"]) == 1
    assert "refused (decision 1): ok" in capsys.readouterr().err


def test_abandoned_is_final(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """An abandoned rollout takes no further command, except an acknowledgement."""
    cluster.answers = [decision("r", 1, 0, Action.ROLLBACK, code="abandoned", commands_next=2)]
    assert main(["abandon", "r", "--reason", "x"]) == 0

    assert main(["abandon", "r", "--reason", "again"]) == 2
    assert "'r' is abandoned (decision 1), which is final" in capsys.readouterr().err
    assert main(["rollback", "r", "--reason", "again"]) == 0
    assert "r was abandoned before; nothing was written" in capsys.readouterr().err
    assert main(["acknowledge", "r", "--reason", "seen"]) == 0
    assert [c.kind for c in cluster.commands] == ["start", "abandon", "acknowledge"]


def test_an_acknowledgement_names_one_decision(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """By id, by sequence, or the newest; one that does not exist is refused."""
    cluster.decisions.append(decision("r", 1, 0, code="timeout", commands_next=1))

    assert main(["acknowledge", "r", cluster.decisions[0].decision_id, "--reason", "x"]) == 0
    assert main(["acknowledge", "r", "1", "--reason", "x"]) == 0
    assert main(["acknowledge", "r", "--reason", "x"]) == 0
    assert [c.sequence for c in cluster.commands[1:]] == [0, 1, 1]
    assert main(["acknowledge", "r", "7", "--reason", "x"]) == 2
    assert "has no decision '7'; the newest is 1" in capsys.readouterr().err
