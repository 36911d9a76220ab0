"""What other controllers are told, and what is said to be stale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.dashboard.board import Entry
from paritygate.dashboard.freshness import DECIDER_MS, WINDOWS_MS, Look, complaints, sources
from paritygate.dashboard.verdict import HOOKS, answer, verdict_of
from paritygate.schemas.topics import WINDOWS
from tests.support.board import HEARD_MS, follower_of
from tests.support.story import Entry as Record
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import command, windows

START = command("start")


def entry(*records: Record) -> Entry:
    """Rollout r1 after these records."""
    return follower_of(logs_of([START, *records])).board.entries["r1"]


def look(past_ms: int = 0, **reading: object) -> tuple[Look, Entry]:
    """The running rollout of the story, looked at so much later."""
    follower = follower_of(logs_of(story()))
    found = replace(follower.reading, **reading) if reading else follower.reading  # type: ignore[arg-type]
    at = Look(board=follower.board, reading=found, bootstrap="kafka:9092", now_ms=HEARD_MS + past_ms)
    return at, follower.board.entries["r2"]


@pytest.mark.parametrize(
    ("records", "verdict"),
    [
        ((), "inconclusive"),
        ((*windows(0, 4),), "pass"),
        ((*windows(0, 3), command("pause")), "inconclusive"),
        ((*windows(0, 1, errors=55),), "fail"),
        ((command("rollback"),), "fail"),
        ((command("abandon"),), "inconclusive"),  # refused: it gives no reason
        ((*windows(0, 30, live=5),), "pass"),
    ],
)
def test_the_verdict_of_each_outcome(records: tuple[Record, ...], verdict: str) -> None:
    """Proven is pass, broken or ended is fail, everything else is inconclusive."""
    assert verdict_of(entry(*records)).verdict == verdict


def test_what_is_stale_passes_nothing_but_a_failure_stays() -> None:
    """Old numbers make a pass inconclusive; no age makes a failure anything else."""
    good, bad = entry(*windows(0, 4)), entry(*windows(0, 1, errors=55))

    assert verdict_of(good, ("Kafka does not answer",)).verdict == "inconclusive"
    assert verdict_of(bad, ("Kafka does not answer",)).verdict == "fail"


def test_flagger_goes_where_the_rollout_goes() -> None:
    """It waits on doubt, goes on proof, promotes at the top, rolls back on failure."""
    fresh, proven, bad, top = (
        entry(), entry(*windows(0, 4)), entry(*windows(0, 1, errors=55)), entry(*windows(0, 30, live=5)),
    )  # fmt: skip

    def goes(which: Entry, weight: int | None = None, told: tuple[str, ...] = ()) -> set[str]:
        return {hook for hook in HOOKS if answer(hook, which, told, weight).go}

    assert top.outcome == "promoted"
    assert goes(fresh) == {"confirm-rollout"}
    assert goes(proven) == {"confirm-rollout", "confirm-traffic-increase"}
    assert goes(bad) == {"rollback"}
    assert goes(top) == set(HOOKS) - {"rollback"}
    assert goes(top, told=("stale",)) == set()
    assert goes(entry(*windows(0, 4), command("pause"))) == set()
    with pytest.raises(KeyError):
        answer("pre-rollout", fresh, (), None)


def test_what_is_fresh_is_not_complained_of() -> None:
    """Right after its records nothing is stale, and every source says when it spoke last."""
    at, rollout = look()

    assert complaints(rollout, at) == ()
    assert {s.name: s.state for s in sources(at)}["Kafka"] == "fresh"


@pytest.mark.parametrize(
    ("past_ms", "reading", "words"),
    [
        (WINDOWS_MS + 1, {"heard_at_ms": HEARD_MS + WINDOWS_MS}, ["The numbers are stale"]),
        (
            DECIDER_MS + 1,
            {"heard_at_ms": HEARD_MS + DECIDER_MS},
            ["The decision is stale", "The numbers are stale"],
        ),
        (20_000, {}, ["Everything here is stale"]),
        (0, {"trouble": "topic audit.v1 is not there"}, ["Reading is in trouble: topic audit.v1"]),
        (0, {"ends": {WINDOWS.name: 5000}}, ["5,000 records are still to be read"]),
    ],
)
def test_each_source_that_falls_silent_is_named(past_ms: int, reading: dict[str, object], words: list[str]) -> None:
    """The sentence says which part of the page is not to be believed."""
    at, rollout = look(past_ms, **reading)

    found = complaints(rollout, at)
    assert len(found) == len(words)
    assert all(text.startswith(word) for text, word in zip(found, words, strict=True))


def test_a_broker_that_is_away_makes_every_topic_stale() -> None:
    """Not one row is called fresh."""
    at, _ = look(20_000)

    assert {s.state for s in sources(at)} == {"away", "stale"}
