"""The ranking puts first what the gates flag, then what is furthest from chance."""

from __future__ import annotations

import pytest

from paritygate.comparators.tally import Tally
from paritygate.dashboard.rollout import reviewed
from paritygate.dashboard.segments import ranking, within
from tests.support.board import EVIL, follower_of, hostile_report, many_segments
from tests.support.story import Entry, logs_of
from tests.unit.rollouts.conftest import command, windows


def tally_of(*records: Entry) -> tuple[Tally, tuple[object, ...]]:
    entry = follower_of(logs_of([command("start"), *records])).board.entries["r1"]
    review = reviewed(entry)
    assert entry.ledger is not None
    assert review is not None
    return entry.ledger.whole, review.findings


def test_flagged_ones_stand_first() -> None:
    """A segment that the gates name is marked with their words."""
    whole, findings = tally_of(*windows(0, 2), hostile_report(2), hostile_report(2, 1))
    rows, total = ranking(whole, findings)  # type: ignore[arg-type]

    assert (total, rows[0].name, rows[0].where) == (2, f"origin={EVIL}", (("origin", EVIL),))
    assert "explains" in rows[0].finding
    assert not rows[1].finding


def test_the_worst_come_first_and_the_rest_is_counted() -> None:
    """Of a thousand, the ten with failures of the candidate alone are on top."""
    whole, findings = tally_of(many_segments(0, 1000), many_segments(0, 1000, partition=1))
    rows, total = ranking(whole, findings, 20)  # type: ignore[arg-type]

    assert (len(rows), total) == (20, 1000)
    assert {r.name for r in rows[:10]} == {f"origin=s{i:02}00" for i in range(10)}


def test_a_segment_holds_its_own_requests() -> None:
    """Its counts are those of its cells; a dimension that is not there is refused."""
    whole, _ = tally_of(many_segments(0, 5))

    assert within(whole, {"origin": "s0003"}).count("requests") == 20
    assert within(whole, {"origin": "none"}).cells == {}
    with pytest.raises(KeyError):
        within(whole, {"nothing": "x"})
