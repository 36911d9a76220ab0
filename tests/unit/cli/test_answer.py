from __future__ import annotations

import pytest

from paritygate.cli.answer import CAUSES, is_obeyed, refuse_command, refuse_start, standing, unfit
from paritygate.cli.follow import Newest, unknown_rollout
from paritygate.rollouts.replay import COMMANDED
from paritygate.schemas.command import CommandKind
from paritygate.schemas.decision import Action
from paritygate.schemas.errors import ConfigError
from tests.unit.cli.conftest import decision

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
    assert CAUSES.keys() - {"refused"} == set(CommandKind) - {"acknowledge"}
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
    assert standing([*log, decision("r", 4, 0, code="approved")]) == "paused"
    assert standing([*log, decision("r", 4, 0, Action.ROLLBACK, code="abandoned")]) == "abandoned"


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("pause", {"paused", "promoted"}),
        ("resume", {"running", "promoted"}),
        ("approve", {"promoted"}),
        ("promote", {"paused", "promoted"}),
        ("abandon", {"promoted"}),
        ("rollback", set()),
        ("start", set()),
    ],
)
def test_what_fits_a_state(kind: str, states: set[str]) -> None:
    """A pause wants a running rollout, a resume a paused one; without a decision nothing is known."""
    assert {s for s in ("", "running", "paused", "promoted") if unfit(kind, s)} == states
