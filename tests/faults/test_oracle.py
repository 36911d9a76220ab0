"""The oracle against the join itself, without a broker: it agrees, and it sees the smallest difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from paritygate.comparators.partition import PartitionJoin
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.codec import decode
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY, Registry
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import BULK, OUTCOMES, PLATFORM
from tests.faults.older import older_schema
from tests.faults.oracle import Difference, Topics, compare
from tests.faults.traffic import CONFLUENT_ID, FaultTraffic, plan_of
from tests.support.kafka import Record

START_MS = 1_700_000_000_000
NAMES = {t.name: t.name for t in BULK}
SIZE = 40
Bins = dict[int, dict[str, int]]


def laid(traffic: FaultTraffic) -> list[Record]:
    """The traffic as it would lie in the topics of one partition."""
    ends: dict[str, int] = {}
    found = []
    for sent in [*traffic.records(), *traffic.closing()]:
        offset = ends[sent.topic] = ends.get(sent.topic, -1) + 1
        found.append(
            Record(
                topic=sent.topic, partition=0, offset=offset, timestamp_ms=sent.at_ms, key=sent.key.encode(),
                value=sent.value,
            )
        )  # fmt: skip
    return found


def joined(records: Iterable[Record], plan: RolloutPlan) -> tuple[list[WindowReport], Bins]:
    """What a join makes of them, reading all topics side by side."""
    older = older_schema()
    registry = Registry([*(s for r in REGISTRY.records for s in REGISTRY.versions(r)), older])
    ids = {CONFLUENT_ID: REGISTRY.by_version("PredictionEvent", 1)}
    join = PartitionJoin(0, 1)
    join.declare(plan.join_settings())
    logs: dict[str, list[Record]] = {t.name: [] for t in BULK}
    for record in records:
        logs[record.topic].append(record)
    kinds: dict[str, Any] = dict.fromkeys(logs, PredictionEvent) | {
        OUTCOMES.name: Outcome, PLATFORM.name: PlatformEvent,
    }  # fmt: skip
    reports: list[WindowReport] = []
    places = dict.fromkeys(logs, 0)
    while any(places[t] < len(log) for t, log in logs.items()):
        for topic, log in logs.items():
            start = places[topic]
            some = log[start : start + SIZE]
            places[topic] = start + len(some)
            rows = []
            for record in some:
                try:
                    row: Any = decode(kinds[topic], record.value, registry=registry, confluent_ids=ids)
                except PoisonError:
                    join.dead_letter(topic, [record.offset])
                else:
                    rows.append((record.offset, record.timestamp_ms, row))
            if topic == OUTCOMES.name:
                join.ingest_outcomes(rows, places[topic])
            elif topic == PLATFORM.name:
                join.ingest_platform(rows, places[topic])
            else:
                join.ingest(EventBatch.of(topic, 0, rows), places[topic])
                join.caught_up(topic, places[topic] == len(log))
        join.advance()
        reports += join.take_reports(1)
    return reports, {0: join.bins()}


@pytest.fixture(scope="module")
def run() -> tuple[list[Record], list[WindowReport], Bins, RolloutPlan]:
    plan = plan_of("faults")
    records = laid(FaultTraffic("faults", pairs=4_000, start_ms=START_MS, seed=11, partitions=1))
    return records, *joined(records, plan), plan


def judged(run: tuple[list[Record], list[WindowReport], Bins, RolloutPlan]) -> Difference:
    records, reports, bins, plan = run
    return compare(Topics(records, NAMES), reports, bins, plan.join_settings())


def test_oracle_agrees_with_the_join(run: tuple[list[Record], list[WindowReport], Bins, RolloutPlan]) -> None:
    """Every count, bucket, total and bin of thousands of requests with every trouble there is."""
    found = judged(run)
    assert found.lines == []
    assert found.found == 0
    assert found.compared["cells"] > 2_000
    assert found.compared["histograms"] > 10_000
    assert found.compared["totals"] > 1_000
    assert found.compared["bins"] >= 11
    assert run[2][0]["late"] == found.compared["sums"] * 10


def test_traffic_holds_every_trouble(run: tuple[list[Record], list[WindowReport], Bins, RolloutPlan]) -> None:
    """Without one of them the fault runs would prove less than they say."""
    _, reports, bins, _ = run
    assert set(bins[0]) >= {
        "paired", "shed", "missing_candidate", "missing_baseline", "duplicate", "conflict", "late", "foreign",
        "outcome", "outcome_duplicate", "platform", "poison",
    }  # fmt: skip
    totals = {name for r in reports for name in r.totals}
    assert totals >= {"future", "exposed", "late", "change.number_changed", "invalid.baseline.not_json"}
    starts = [r.window_start_ms for r in reports if r.cells]
    assert len(starts) > len(set(starts)) + 10, "windows must change after they were reported"


@pytest.mark.parametrize("what", ["cells", "histograms", "totals", "window"])
def test_oracle_sees_one_count(run: tuple[list[Record], list[WindowReport], Bins, RolloutPlan], what: str) -> None:
    """A single count that is off by one, or one window that is not there, is found."""
    records, reports, bins, plan = run
    full = max((r for r in reports if r.cells and r.totals), key=lambda r: r.revision)
    if what == "window":
        changed = [r for r in reports if r.window_start_ms != full.window_start_ms]
    else:
        if what == "cells":
            cell = full.cells[0]
            wrong = replace(
                full, cells=(replace(cell, counts=(cell.counts[0] + 1, *cell.counts[1:])), *full.cells[1:])
            )
        elif what == "histograms":
            h = full.histograms[0]
            wrong = replace(
                full, histograms=(replace(h, counts=(h.counts[0] + 1, *h.counts[1:])), *full.histograms[1:])
            )
        else:
            wrong = replace(full, totals={**full.totals, "exposed": full.totals.get("exposed", 0) + 1})
        changed = [*reports, replace(wrong, revision=1 << 40)]
    assert judged((records, changed, bins, plan)).found > 0
