"""Memory is bounded whatever arrives, and what a bound gives up is counted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from paritygate.comparators.seen import Seen
from paritygate.comparators.settings import JoinSettings
from paritygate.schemas.prediction import Arm
from tests.support.join_bench import SHADOW_TOPIC, JoinBench, pairs, prediction

BOUNDED = JoinSettings("roll", ("geography",), max_pending=500, max_seen=2_000, max_cells=20, dedupe_ms=30_000)
BASE, CAND = Arm.BASELINE, Arm.CANDIDATE
#: Windows that may be kept: those between the newest event and the retention behind grace and lateness, and a few.
WINDOWS = 20


def sizes(bench: JoinBench) -> dict[str, int]:
    """How much of each kind the join holds."""
    (rollout,) = bench.join._rollouts.values()
    pending, requests = rollout.pairing.pending, rollout.pairing.requests
    return {
        "pending": max(len(p) for p in pending),
        "slots": max(len(p._live) for p in pending),
        "seen": len(requests),
        "places": len(requests._places._table),
        "windows": len(rollout.windows.by_index),
        "cells": len(rollout.vocabulary),
        "values": max(len(values) for values in rollout.vocabulary._values),
        "snapshot": len(zlib.compress(bench.join.snapshot(), 1)),  # as whoever stores it does
    }


def check(bench: JoinBench) -> dict[str, int]:
    found = sizes(bench)
    assert found["pending"] <= BOUNDED.max_pending
    assert found["slots"] <= 4 * BOUNDED.max_pending + 4_096  # a batch waits whole before it is cut
    assert found["seen"] <= 2 * BOUNDED.max_seen
    # What is remembered and what waits, a batch more, and the table no emptier than a fifth.
    assert found["places"] <= 8 * (2 * BOUNDED.max_seen + 2 * BOUNDED.max_pending + 4_096)
    assert found["cells"] <= BOUNDED.max_cells + 2
    assert found["values"] <= BOUNDED.max_values_per_dimension + 1
    assert found["snapshot"] < 200_000
    assert sum(bench.join.bins().values()) == bench.read_offsets()
    return found


def fed(bench: JoinBench, events: Iterable[Any], every: int = 1_000) -> Iterator[dict[str, int]]:
    """Read and publish after every so many events."""
    for number, event in enumerate(events, 1):
        bench.append(event)
        if number % every == 0:
            bench.fetch_all()
            bench.publish()
            yield check(bench)


def test_shadow_silent_for_an_hour() -> None:
    """12,000 answers without their other arm: what waits is bounded, and every one is counted as missing."""
    bench = JoinBench(BOUNDED)
    bench.join.caught_up(SHADOW_TOPIC, True)
    for found in fed(bench, (prediction(n, BASE, 10_000 + n * 300) for n in range(12_000))):
        bench.join.caught_up(SHADOW_TOPIC, True)
        assert found["windows"] <= 1_000 * 300 // 1_000 + WINDOWS
    bench.finish(10_000_000)
    bins = bench.join.bins()
    assert bins["missing_candidate"] + bins.get("evicted", 0) == 12_000
    assert sizes(bench)["windows"] <= 3


def test_one_side_ten_minutes_ahead() -> None:
    """The other side is not at its end and holds time back: the oldest that wait are settled and told."""
    bench = JoinBench(BOUNDED)
    bench.append(prediction(0, CAND, 10_000))
    for found in fed(bench, (prediction(n, BASE, 10_000 + n * 50) for n in range(12_000))):
        assert found["windows"] <= 12_000 * 50 // 1_000 + WINDOWS
    evicted = bench.join.bins()["evicted"]
    assert evicted == 12_000 - BOUNDED.max_pending
    for _ in fed(bench, (prediction(n, CAND, 10_000 + n * 50) for n in range(1, 12_000))):
        pass
    bench.finish(10_000_000)
    bins = bench.join.bins()
    assert bins["evicted"] == evicted
    assert bins["late"] == evicted, "an answer whose request was given up is late, not a second request"
    assert bins["paired"] == 2 * BOUNDED.max_pending


def test_every_event_brings_a_segment_value_of_its_own() -> None:
    """6,000 distinct values: the vocabulary stops at its bound, and no request is lost to it."""
    bench = JoinBench(BOUNDED)
    events = (
        replace(event, segments={"geography": f"place-{n}"})
        for n in range(6_000)
        for event in pairs([n], 10_000 + n * 10)
    )
    for _ in fed(bench, events, every=800):
        pass
    bench.finish(10_000_000)
    assert bench.join.bins() == {"paired": 12_000}


def test_one_hot_key() -> None:
    """One request 8,000 times: one entry in memory, and all but the first are repeats."""
    bench = JoinBench(BOUNDED)
    for found in fed(bench, (prediction("hot", BASE, 10_000 + n) for n in range(8_000)), every=500):
        assert found["seen"] <= 1
        assert found["places"] <= 4_096
    bins = bench.join.bins()
    assert bins["duplicate"] + bins.get("conflict", 0) == 7_999


def test_ids_beyond_the_bound_are_forgotten_by_age_and_told() -> None:
    """A repeat of a forgotten request is late, never a request again; of a remembered one it is a repeat."""
    bench = JoinBench(BOUNDED)
    sent = [e for n in range(6_000) for e in pairs([n], 10_000 + n * 4)]
    for _ in fed(bench, sent):
        pass
    assert bench.join.forgotten >= 6_000 - BOUNDED.max_seen
    assert sizes(bench)["seen"] <= BOUNDED.max_seen
    for event in (sent[0], sent[1], sent[-2], sent[-1]):
        bench.append(event)
    bench.finish(10_000_000)
    assert bench.join.bins() == {"paired": 12_000, "late": 2, "duplicate": 2}
    told = {(r.window_start_ms, r.revision): r.totals.get("forgotten", 0) for r in bench.reports}
    assert max(told.values()) > 0


@pytest.mark.parametrize("crash_after", [0, 7, 11])
def test_bounded_memory_is_the_same_after_a_restart(crash_after: int) -> None:
    """What was forgotten for want of room stays forgotten: a crash changes no bin."""
    results = []
    for crashes in (False, True):
        bench = JoinBench(BOUNDED)
        sent = [e for n in range(6_000) for e in pairs([n], 10_000 + n * 4)]
        repeats = sent[::500]
        for number, _ in enumerate(fed(bench, [*sent, *repeats], every=1_000)):
            if crashes and number == crash_after:
                bench.crash(bench.snapshot())
        bench.finish(10_000_000)
        results.append(bench.join.bins())
    assert results[0] == results[1]
    assert results[0]["late"] > 0
    assert results[0]["duplicate"] > 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 9_000)), max_size=80))
@hypothesis_settings(max_examples=200)
def test_memory_of_keys_is_a_set_with_an_age(acts: list[tuple[bool, int, int]]) -> None:
    """Against a plain dict: a key is known while its slice is remembered, and never more than the bound are."""
    seen: Seen[str] = Seen(1_000, max_keys=8)
    times: dict[str, int] = {}
    for moves, key, at_ms in acts:
        if moves:
            seen.move(at_ms)
            continue
        seen.add(str(key), at_ms)
        times[str(key)] = max(at_ms, times.get(str(key), at_ms))
        assert len(seen) <= 16
        oldest_ms = seen.horizon.from_ms or -1_000_000
        known = {str(k) for k in range(61) if str(k) in seen}
        assert known == {k for k, t in times.items() if t >= oldest_ms}
