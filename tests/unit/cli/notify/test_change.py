from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.cli.notify import change as told
from paritygate.cli.notify.change import Changes, Kind, Severity
from paritygate.rollouts import judge, state
from paritygate.schemas.decision import Action
from tests.unit.cli.notify.conftest import decision

CODES = ("started", "more_evidence", "no_data", "approval_needed", "paused", "still_paused", "floor_time")


def kinds(*decisions: object) -> list[Kind]:
    changes = Changes()
    found = [changes.take(d) for d in decisions]  # type: ignore[arg-type]
    return [c.kind for c in found if c is not None]


def test_a_climb_is_told_step_by_step() -> None:
    """Start, steps, pause, wait and end are told once each; what goes on is not."""
    climb = [
        decision(0, "started", stage="shadow", weight=0),
        decision(1, "more_evidence", stage="shadow", weight=0),
        decision(2, "proven", action=Action.PROMOTE),
        decision(3, "more_evidence"),
        decision(4, "more_evidence"),
        decision(5, "paused"),
        decision(6, "still_paused"),
        decision(7, "still_paused"),
        decision(8, "resumed"),
        decision(9, "approval_needed"),
        decision(10, "approval_needed"),
        decision(11, "approved"),
        decision(12, "proven", action=Action.PROMOTE, stage="100", weight=100),
        decision(13, "promoted", stage="100", weight=100),
        decision(14, "gate_failed", action=Action.ROLLBACK, stage="shadow", weight=0),
        decision(15, "absorbed", stage="shadow", weight=0),
    ]

    assert kinds(*climb) == [
        Kind.STARTED, Kind.ADVANCED, Kind.PAUSED, Kind.RESUMED, Kind.WAITING, Kind.APPROVED, Kind.COMPLETED,
        Kind.ROLLED_BACK,
    ]  # fmt: skip


def test_what_routers_do_not_obey_is_no_news() -> None:
    """Repeated, stale and forked decisions, and those after a rollback, are not told."""
    step = decision(3, "proven", action=Action.PROMOTE)
    back = decision(4, "operator_rollback", action=Action.ROLLBACK, weight=0)
    zombie = decision(2, "proven", action=Action.PROMOTE, stage="50", weight=50)
    forked = decision(3, "proven", action=Action.PROMOTE, reason="another decider")
    late = decision(9, "proven", action=Action.PROMOTE)

    assert kinds(step, step, zombie, forked, back, back, late) == [Kind.ADVANCED, Kind.ROLLED_BACK]


def test_flapping_holds_are_told_once_in_a_quarter_of_an_hour() -> None:
    """A hold that comes and goes is told again when it is quiet for long enough, in event time."""
    flapping = [decision(n, "no_data" if n % 2 == 0 else "more_evidence", at_ms=n * 60_000) for n in range(1, 33)]

    assert kinds(*flapping) == [Kind.HELD, Kind.HELD]


def test_rollouts_do_not_hide_each_other() -> None:
    """Two rollouts in one log are told apart."""
    assert kinds(decision(1, "no_data"), decision(1, "no_data", rollout_id="r2")) == [Kind.HELD, Kind.HELD]


@pytest.mark.parametrize(
    ("code", "action", "severity"),
    [
        ("started", Action.HOLD, Severity.INFO),
        ("proven", Action.PROMOTE, Severity.INFO),
        ("forced", Action.PROMOTE, Severity.WARNING),
        ("no_data", Action.HOLD, Severity.WARNING),
        ("abandoned", Action.ROLLBACK, Severity.WARNING),
        ("gate_failed", Action.ROLLBACK, Severity.CRITICAL),
    ],
)
def test_severity(code: str, action: Action, severity: Severity) -> None:
    """A rollback by judgement is critical; what asks for a person's look is a warning."""
    change = Changes().take(decision(1, code, action=action))

    assert change is not None
    assert change.severity is severity


@given(st.lists(st.sampled_from(CODES), min_size=1, max_size=30), st.integers(0, 30))
def test_a_restart_neither_loses_nor_repeats(codes: list[str], position: int) -> None:
    """Who reads again from the beginning and tells from its position on tells what one reader would have told."""
    log = [decision(n, code) for n, code in enumerate(codes)]
    one, first, second = Changes(), Changes(), Changes()
    whole = [one.take(d) for d in log]
    before = [first.take(d) for d in log[:position]]
    after = [second.take(d) for d in log][position:]

    assert before + after == whole


def test_codes_are_those_of_the_judge() -> None:
    """The codes that this process knows by name are made by the room that decides."""
    made = (
        (judge.__doc__ or "")
        + " ".join((judge.APPROVAL_NEEDED, judge.ACK_MISSING, judge.COOL_DOWN))
        + " ".join(vars(state)[n] for n in state.__dict__ if n.isupper())
    )

    assert all(code in made for code in told.HELD | told.WAITING | told._PASSING)
    assert all(code in made for code in ("abandoned", "forced", *told._BY_PERSON))
    assert replace(told.Change(Kind.HELD, Severity.INFO, decision(0, "x"))).kind is Kind.HELD
