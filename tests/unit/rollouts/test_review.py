"""A review says what the records say, up to the last decision and no further."""

from __future__ import annotations

import random

from paritygate.rollouts.fold import Fold
from paritygate.rollouts.review import Review, review
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import command, plan, report, windows

Record = Command | WindowReport


def reviewed(records: list[Record], *, swap: bool = False, **changes: object) -> tuple[Review, list[GateDecision]]:
    """The review of rollout r1 after these records."""
    fold, decisions = Fold(), []
    commands: list[tuple[int, Command]] = []
    reports: list[tuple[int, WindowReport]] = []
    for record in records:
        if isinstance(record, Command):
            commands.append((fold.commands_next, record))
            decisions += fold.apply_command(fold.commands_next, record)
        else:
            reports.append((fold.windows_next, record))
            decisions += fold.apply_report(fold.windows_next, record)
    mine = [d for d in decisions if d.rollout_id == "r1"]
    if swap:
        random.Random(1).shuffle(reports)
    return review(plan(**changes), mine, commands, reports), mine


def test_a_rollback_is_told_with_its_stage_its_users_and_its_questions() -> None:
    """The headline names the stage that it fell from; exposure ends with it; the failed gate raises a question."""
    told, decisions = reviewed(
        [command("start"), *windows(0, 4), *windows(4, 6, live=5), *windows(6, 8, errors=60, live=7)]
    )

    assert decisions[-1].action.value == "rollback"
    assert told.outcome == "rolled back"
    assert told.headline.startswith(f"Rolled back from {decisions[-1].from_stage} after")
    assert told.exposed == decisions[-1].exposed_requests > 0
    assert sum(stay.exposed for stay in told.stays) == told.exposed
    assert [s.left for s in told.stays if s.from_ms is not None][-1] == "rolled back"
    assert any("error_rate failed" in q for q in told.questions)
    assert any("got the candidate's answer before the rollback" in q for q in told.questions)


def test_only_what_the_last_decision_rests_on_is_counted() -> None:
    """Windows that came after the last decision change nothing."""
    records: list[Record] = [command("start"), *windows(0, 2), *windows(2, 3, errors=60)]
    told, decisions = reviewed(records)
    later, _ = reviewed([*records, *windows(3, 9, errors=60)])

    assert decisions[-1].action.value == "rollback"
    assert later == told


def test_the_order_of_reports_does_not_matter() -> None:
    """The same set of window reports in another order is an equal review."""
    records: list[Record] = [command("start"), *windows(0, 6), *windows(6, 7, errors=9)]

    assert reviewed(records, swap=True)[0] == reviewed(records)[0]


def test_who_did_what_names_the_decision_or_that_there_is_none() -> None:
    """A command that caused a decision names it; a refused one says so; others' commands are left out."""
    told, _ = reviewed(
        [
            command("start"), command("resume"), command("pause"), command("start", "s1", service="search"),
            command("rollback"),
        ]
    )  # fmt: skip

    assert [(d.kind, d.came_of_it) for d in told.deeds] == [
        ("start", "decision 0"), ("resume", "no decision: refused"), ("pause", "decision 1"),
        ("rollback", "decision 2"),
    ]  # fmt: skip
    assert any("ann said rollback" in q for q in told.questions)


def test_holds_in_a_row_for_one_reason_are_one_step() -> None:
    """The timeline has one row for them, with the last one's reason."""
    told, decisions = reviewed([command("start"), *windows(0, 60, requests=1)])

    assert len(told.steps) < len(decisions)
    assert sum(s.holds for s in told.steps) == len(decisions)
    assert told.steps[-1].until_sequence == decisions[-1].sequence
    assert told.outcome == "running"


def test_what_was_not_measured_is_unknown() -> None:
    """No latency, no score and no platform report are None, not 0; counts that are there are there."""
    told, _ = reviewed([command("start"), *windows(0, 4)])
    rows = {row.name: row for row in told.sides}

    assert rows["latency p95"].baseline is None
    assert rows["GPU out-of-memory events"].candidate is None
    assert rows["error rate"].candidate == 0.0
    assert rows["error rate"].high is not None


def test_lost_events_raise_questions() -> None:
    """Unreadable events, late ones and reports that could not be counted are asked about, with their number."""
    told, _ = reviewed([command("start"), *windows(0, 2), report(2, totals={"poison": 3, "late": 2}), report(2, 1)])

    assert any("3 unreadable events" in q for q in told.questions)
    assert any("2 events that came too late" in q for q in told.questions)


def test_the_history_is_what_the_decisions_recorded() -> None:
    """Points hold the values and verdicts of the records, oldest first."""
    told, decisions = reviewed([command("start"), *windows(0, 4), *windows(4, 8, errors=60)])
    history = next(g for g in told.gates if g.gate == "error_rate")
    recorded = [v.verdict for d in decisions for v in d.verdicts if v.gate == "error_rate"]

    assert [p.verdict for p in history.points] == recorded
    assert (history.limit, history.at_most, history.verdict) == (0.1, True, "fail")
    assert history.points[-1].value is not None
