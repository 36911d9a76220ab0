"""Counts by instance: kept where a gate asks for them, the same however events arrive."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from paritygate.comparators import latency
from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.instances import BUCKETS, PLACE, matrix, places
from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import Counts, Tally
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from tests.support.codes import codes_of

AT_MS = 1_700_000_000_000
TOPICS = {Arm.BASELINE: "predictions.primary.v1", Arm.CANDIDATE: "predictions.shadow.v1"}


def event(request: int, arm: Arm, instance: str, **more: Any) -> PredictionEvent:
    return PredictionEvent(
        request_id=f"r{request}", rollout_id="r", arm=arm, model_version="v", event_at_ms=AT_MS + request,
        latency_ms=more.get("latency_ms", 10.0), status=more.get("status", Status.OK), output="{}", label=None,
        role=Role.PRIMARY if arm is Arm.BASELINE else Role.SHADOW, endpoint="/", instance_id=instance,
    )  # fmt: skip


def joined(events: list[PredictionEvent], *, instances: bool = True) -> Tally:
    """What all reports of the events add up to."""
    join = PartitionJoin(0, 1)
    join.declare(JoinSettings("r", instances=instances, grace_ms=1_000, lateness_ms=0))
    for arm, topic in TOPICS.items():
        mine = [e for e in events if e.arm is arm]
        join.ingest(EventBatch.of(topic, 0, [(i, e.event_at_ms, e) for i, e in enumerate(mine)]), len(mine))
        join.caught_up(topic, True)
    join.advance(AT_MS + 60_000)
    total = Tally(())
    for report in join.take_reports(1):
        total.add(Tally.from_report(report, BUCKET_COUNTS))
    return total


def by_instance(tally: Tally) -> Counts:
    found = matrix(tally)
    assert found is not None
    return found


def traffic() -> list[PredictionEvent]:
    """100 requests: instances b0 and b1 of the baseline, of which b1 is slow, and c0, which fails some."""
    events = []
    for request in range(100):
        name = f"b{request % 2}"
        events.append(event(request, Arm.BASELINE, name, latency_ms=40.0 if request % 2 else 10.0))
        if request % 20 == 7:
            continue
        bad = Status.ERROR if request % 10 == 3 else Status.OK
        events.append(event(request, Arm.CANDIDATE, "c0", status=bad))
    return events


def test_requests_are_counted_at_their_instances() -> None:
    """Requests, failures, answers and their latency buckets; an answer that never came is of nobody."""
    found = by_instance(joined(traffic()))
    b0, b1, c0 = (int(places(codes_of([name]))[0]) for name in ("b0", "b1", "c0"))
    slow, quick = (int(latency.bucket(np.array([ms]))[0]) for ms in (40.0, 10.0))

    assert found[0, PLACE["requests"], [b0, b1]].tolist() == [50, 50]
    assert found[1, PLACE["requests"], [c0, 0]].tolist() == [95, 5]
    assert found[1, PLACE["errors"], [c0, 0]].tolist() == [10, 5]
    assert found[1, PLACE["answered"], [c0, 0]].tolist() == [85, 0]
    assert found[0, PLACE["latency_buckets"], [b0, b1]].tolist() == [50 * quick, 50 * slow]
    assert found[0, PLACE["checked"]].sum() == 100


def test_order_and_repeats_change_nothing() -> None:
    """Events in another order, and some of them twice."""
    events = traffic()
    shuffled = random.Random(3).sample(events, len(events))

    assert (by_instance(joined([*shuffled, *events[::7]])) == by_instance(joined(events))).all()


def test_nothing_is_counted_where_nobody_asks() -> None:
    """Reports of a plan without such a gate are what they were."""
    plain, asked = joined(traffic(), instances=False), joined(traffic())

    assert matrix(plain) is None
    assert {n for n in asked.histograms if not n.startswith("instances.")} == set(plain.histograms)
    assert plain.cells.keys() == asked.cells.keys()


@pytest.mark.parametrize("ids", [[None, "a", ""], ["a", "b", "a"], []])
def test_places_follow_from_ids_alone(ids: list[str | None]) -> None:
    """An unknown instance has place 0, a known one the same other place in every batch."""
    found = places(codes_of(ids))

    assert [place == 0 for place in found] == [not i for i in ids]
    assert found.tolist() == [int(places(codes_of([i]))[0]) for i in ids]
    assert (found < BUCKETS).all()
