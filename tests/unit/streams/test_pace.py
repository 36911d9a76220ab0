from __future__ import annotations

import pytest

from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from paritygate.streams.pace import (
    MAX_RECONNECT_MS,
    MAX_SKEW_MS,
    USUAL_MS,
    Absence,
    Contest,
    Progress,
    too_far_ahead,
)

PRIMARY, SHADOW = PREDICTIONS_PRIMARY.name, PREDICTIONS_SHADOW.name


@pytest.mark.parametrize(
    ("newest", "at_end", "waits"),
    [
        ({PRIMARY: None, SHADOW: 0}, set(), False),
        ({PRIMARY: 0, SHADOW: None}, set(), False),
        ({PRIMARY: MAX_SKEW_MS, SHADOW: 0}, set(), False),
        ({PRIMARY: MAX_SKEW_MS + 1, SHADOW: 0}, set(), True),
        ({PRIMARY: MAX_SKEW_MS + 1, SHADOW: 0}, {SHADOW}, False),
        ({PRIMARY: MAX_SKEW_MS + 1, SHADOW: 0}, {PRIMARY}, True),
        ({PRIMARY: 0, SHADOW: MAX_SKEW_MS + 1}, set(), False),
    ],
)
def test_topic_ahead_waits_for_the_one_behind(newest: dict[str, int | None], at_end: set[str], waits: bool) -> None:
    """Only the topic that is ahead waits, and only for one that has something to catch up."""
    assert too_far_ahead(PRIMARY, newest, at_end) is waits


def test_at_most_one_of_two_topics_waits() -> None:
    """Whatever the times are, one of the two is read: they cannot wait for each other."""
    for ours in range(0, 3 * MAX_SKEW_MS, 1_000):
        for theirs in range(0, 3 * MAX_SKEW_MS, 1_000):
            newest: dict[str, int | None] = {PRIMARY: ours, SHADOW: theirs}
            assert not (too_far_ahead(PRIMARY, newest, ()) and too_far_ahead(SHADOW, newest, ()))


def test_absence_lasts_as_long_again_as_it_took() -> None:
    """Producers pause longer the longer it takes: log ends are trusted when the last may be back."""
    absence, asked = Absence(), {("t", 0), ("t", 1)}
    absence.note(1_000, asked, asked)
    assert absence.is_over(0, 1_000)
    absence.note(2_000, asked, {("t", 1)})
    absence.note(2_500, asked, {("t", 1)})
    assert not absence.is_over(0, 2_500)
    assert absence.is_over(1, 2_500), "the other partition was read all the time"
    absence.note(3_000, asked, asked)
    assert not absence.is_over(0, 3_000)
    assert not absence.is_over(0, 6_999), "it was last heard at 1,000"
    assert absence.is_over(0, 7_000)
    absence.note(10_000, asked, set())
    absence.note(1_000_000, asked, asked)
    assert not absence.is_over(0, 1_000_000 + MAX_RECONNECT_MS - 1)
    assert absence.is_over(0, 1_000_000 + MAX_RECONNECT_MS)


def test_absence_need_not_be_met_by_a_request() -> None:
    """Where nothing was asked for longer than usual nobody knows whether the broker was there."""
    absence, asked = Absence(), {("t", 0)}
    absence.begin(0, 1_000)
    absence.note(1_000 + USUAL_MS, asked, asked)
    assert absence.is_over(0, 1_000 + USUAL_MS)
    absence.note(2_000 + 2 * USUAL_MS, asked, asked)
    back_ms = 2_000 + 2 * USUAL_MS + 2 * (1_000 + USUAL_MS)
    assert not absence.is_over(0, back_ms - 1)
    assert absence.is_over(0, back_ms)
    absence.note(100_000, asked, set())
    absence.begin(0, 200_000)
    absence.note(200_100, asked, asked)
    assert not absence.is_over(0, 200_100), "a rebalance ends no outage"


def test_position_stands_still_only_while_its_log_goes_on() -> None:
    """Moving, being at the end, not being asked: each begins the count anew; the rest is told with its time."""
    progress = Progress()
    progress.note(("t", 0), 5, 9, 1_000)
    progress.note(("t", 1), 5, 9, 1_000)
    progress.note(("t", 2), 5, 9, 1_000)
    progress.note(("t", 0), 6, 9, 60_000)
    progress.note(("t", 1), 5, 5, 60_000)
    progress.note(("t", 2), 5, 12, 60_000)
    assert progress.stuck(61_000, 59_999) == ("t", 2, 5, 60_000)
    assert progress.stuck(61_000, 60_000) is None
    progress.forget([("t", 2)])
    assert progress.known() == {("t", 0)}
    assert progress.stuck(10**9, 10**8) == ("t", 0, 6, 10**9 - 60_000)


def test_twin_is_told_from_a_restart() -> None:
    """Four assignments of one generation within a minute; a new generation or time begins the count anew."""
    contest = Contest()
    assert [contest.is_on(1, ms) for ms in (0, 1_000, 2_000)] == [False] * 3
    assert not contest.is_on(2, 3_000)
    assert [contest.is_on(2, ms) for ms in (4_000, 5_000, 70_000, 71_000, 72_000, 73_000)] == [False] * 5 + [True]
