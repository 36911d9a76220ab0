from __future__ import annotations

import pytest

from paritygate.cli.command import refuse_command, refuse_start
from paritygate.cli.follow import Newest, unknown_rollout
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError


def decision(rollout_id: str, sequence: int, weight: int, action: Action = Action.HOLD) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight),
        weight=weight,
        from_stage="shadow",
        reason_code="test",
        reason="ok",
        at_ms=1,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
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
