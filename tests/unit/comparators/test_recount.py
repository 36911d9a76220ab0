"""Windows made again from raw events equal those that a join reported, and what differs is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.recount import Pin, newest, pins, recount, with_content
from paritygate.comparators.tally import Tally
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.prediction import Role
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from tests.support.traffic import make_traffic, plan_for

START_MS = 1_700_000_000_000
SETTINGS = plan_for("raw").join_settings()
TRAFFIC = make_traffic("raw", requests=3_000, start_ms=START_MS, span_ms=12_000)
EVENTS = {
    topic.name: [(i, e.event_at_ms, e) for i, e in enumerate(e for e in TRAFFIC.predictions if e.role is role)]
    for topic, role in ((PREDICTIONS_PRIMARY, Role.PRIMARY), (PREDICTIONS_SHADOW, Role.SHADOW))
}


def feed(join: PartitionJoin, pin: Pin) -> None:
    """Everything below the offsets of the pin, one source after the other."""
    for topic, events in EVENTS.items():
        end = pin.applied[topic]
        join.ingest(EventBatch.of(topic, 0, events[join.position(topic) : end]), end)
    end, begin = pin.applied[OUTCOMES.name], join.position(OUTCOMES.name)
    outcomes = list(enumerate(TRAFFIC.outcomes))[begin:end]
    join.ingest_outcomes([(i, o.event_at_ms, o) for i, o in outcomes], end)
    end, begin = pin.applied[PLATFORM.name], join.position(PLATFORM.name)
    reports = list(enumerate(TRAFFIC.platform))[begin:end]
    join.ingest_platform([(i, p.event_at_ms, p) for i, p in reports], end)


def live(rounds: int, *, restart: bool = False) -> list[WindowReport]:
    """What a worker reports that fetches all sources in so many rounds, and perhaps begins again in the middle."""
    join, generation, saved = PartitionJoin(0, 1), 1, b""
    join.declare(SETTINGS)
    found: list[WindowReport] = []
    for n in _rounds(rounds, restart):
        if n < 0:
            join, generation = PartitionJoin.restore(saved), 2
            continue
        ends = {t: len(e) * n // rounds for t, e in EVENTS.items()}
        ends[OUTCOMES.name] = len(TRAFFIC.outcomes) * n // rounds
        ends[PLATFORM.name] = len(TRAFFIC.platform) * n // rounds
        feed(join, Pin(ends, 0))
        for topic in EVENTS:
            join.caught_up(topic, n == rounds)
        join.advance(START_MS + 60_000 if n == rounds else None)
        found += join.take_reports(generation)
        if restart and n == rounds // 2 - 3:
            saved = join.snapshot()
    return found


def _rounds(rounds: int, restart: bool) -> Iterator[int]:
    yield from range(1, rounds // 2 + 1 if restart else rounds + 1)
    if restart:
        yield -1
        yield from range(rounds // 2 - 5, rounds + 1)


@pytest.mark.parametrize(("rounds", "restart"), [(40, False), (7, False), (40, True)])
def test_recounted_windows_are_those_of_the_join(rounds: int, restart: bool) -> None:
    """Every count of every window, whatever the sizes of the fetches, and after a restart that redid some work."""
    reports = live(rounds, restart=restart)
    found = recount(SETTINGS, 0, reports, feed)

    assert found.differences == ()
    assert (found.identical, found.edge) == (found.windows, 0)
    assert found.windows == len(newest(reports)) >= 12


def test_a_changed_count_is_named() -> None:
    """One count of one window: the window, the record's value and the recounted one."""
    reports = live(40)
    key, wrong = sorted(newest(reports).items())[3]
    tally = Tally.from_report(wrong, BUCKET_COUNTS)
    tally.bump("exposed", 5)
    changed = [with_content(r, tally) if r is wrong else r for r in reports]
    found = recount(SETTINGS, 0, changed, feed)

    had = wrong.totals.get("exposed", 0)
    assert found.differences == (
        f"partition 0, window {key[1]}: total exposed is {had + 5:,} in the record, {had:,} recounted",
    )
    assert found.identical == found.windows - 1
    assert found.contents[key][0] == (wrong.generation, wrong.revision)
    assert with_content(wrong, found.contents[key][1]).cells == wrong.cells


def test_requests_before_the_worker_knew_the_rollout_are_an_edge() -> None:
    """A first window that holds less than the topics do is told apart from a difference."""
    reports = live(40)
    first = min(key for key, r in newest(reports).items() if r.cells)
    short = [
        replace(r, cells=(), histograms=(), totals={}) if (0, r.window_start_ms) == first else r for r in reports
    ]
    found = recount(SETTINGS, 0, short, feed)

    assert (found.edge, found.differences) == (1, ())


def test_pins_only_go_forward() -> None:
    """A worker that began again reports earlier offsets: those moments were lived through already."""
    found = list(pins(live(40, restart=True)))

    assert found == sorted(found, key=lambda p: p.watermark_ms)
    assert all(a.applied[t] <= b.applied[t] for a, b in pairwise(found) for t in a.applied)


def test_a_record_of_a_worker_that_summed_no_memory_is_no_difference() -> None:
    """What an earlier worker did not count it does not deny; where one total of memory stands, all must."""
    reports = live(7)
    earlier = [
        replace(r, totals={k: n for k, n in r.totals.items() if not k.startswith("memory_")}) for r in reports
    ]
    half = [
        replace(r, totals={k: n for k, n in r.totals.items() if not k.startswith("memory_reports")})
        for r in reports
    ]

    assert any("memory_bytes.candidate" in r.totals for r in reports)
    assert recount(SETTINGS, 0, earlier, feed).differences == ()
    assert "memory_reports" in recount(SETTINGS, 0, half, feed).differences[0]
