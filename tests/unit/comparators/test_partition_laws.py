"""The laws of the join against the batch model: order, batches, repeats and crashes change nothing."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.numbers import NumberRule
from paritygate.comparators.settings import JoinSettings
from paritygate.comparators.tally import Tally
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from tests.support.batch_model import difference, final_reports, recompute, streamed
from tests.support.join_bench import GAP, POISON, TOPICS, JoinBench, prediction, topic_of

LATENESS_MS = 200
JOIN = JoinSettings(
    "roll", ("geography", "endpoint"), window_ms=1_000, grace_ms=1_000, lateness_ms=LATENESS_MS,
    dedupe_ms=2_000, retain_ms=2_000, latency_shifts=(-5, 19), label_shares=True,
    numbers=(NumberRule("tokens", 1.1, 500.0), NumberRule("cited", 1.0, 1.0), NumberRule("tokens", 1.25, 100.0)),
)  # fmt: skip
OTHER = replace(
    JOIN, rollout_id="other", dimensions=(), window_ms=700, dedupe_ms=3_000, label_shares=False, numbers=()
)
END_MS = 60_000

_OF_REQUESTS = ("exposed", "invalid", "change", "numbers")

LAWS = settings(
    max_examples=40, derandomize=True, deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking such traffic takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip


@dataclass
class Traffic:
    """Entries per topic, in the order in which they lie there."""

    logs: dict[str, list[Any]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})

    def records(self) -> Iterator[Any]:
        for log in self.logs.values():
            yield from (entry for entry in log if not isinstance(entry, str))

    def expected(self, join: JoinSettings) -> dict[int, Tally]:
        records = list(self.records())
        return recompute(
            (r for r in records if isinstance(r, PredictionEvent)),
            (r for r in records if isinstance(r, Outcome)),
            (r for r in records if isinstance(r, PlatformEvent)),
            join,
        )


OUTPUTS = (
    json.dumps({"prediction": "yes", "confidence": 0.5, "model_version": "1"}),
    json.dumps({"prediction": "no", "confidence": 0.25, "model_version": "2", "why": [1, 2]}),
    json.dumps({"prediction": "yes", "confidence": 7}),
    "no json",
)

MEASURES: tuple[dict[str, float], ...] = (
    {}, {"tokens": 37.0}, {"tokens": 911.0, "cited": 1.0}, {"cited": 0.25},
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn, request: int) -> list[PredictionEvent]:
    """What both arms (or one) said to one request."""
    at_ms = 10_000 + request * 150 + draw(st.integers(0, 400))
    canary = draw(st.booleans())
    rollout = draw(st.sampled_from(["roll", "roll", "roll", "other", "nobody's"]))
    found = []
    for arm in (Arm.BASELINE, Arm.CANDIDATE):
        if draw(st.integers(0, 7)) == 0:
            continue
        primary = (arm is Arm.CANDIDATE) is canary
        found.append(
            prediction(
                request, arm, at_ms, rollout_id=rollout,
                role=Role.PRIMARY if primary else Role.SHADOW,
                status=draw(st.sampled_from([*[Status.OK] * 6, Status.ERROR, Status.TIMEOUT, Status.SHED])),
                latency_ms=draw(st.sampled_from([0.0, 0.5, 9.0, 10.0, 11.0, 4e9])),
                label=draw(st.sampled_from(["yes", "no", None])),
                confidence=draw(st.sampled_from([0.5, None])),
                output=draw(st.sampled_from(OUTPUTS)),
                endpoint=draw(st.sampled_from(["/a", "/b"])) if arm is Arm.BASELINE else "/b",
                segments=draw(st.sampled_from([{}, {"geography": "EWR"}, {"geography": "JFK"}])),
                measures=draw(st.sampled_from(MEASURES)),
            )
        )  # fmt: skip
    return found


@st.composite
def traffic(draw: st.DrawFn, delay_ms: int = LATENESS_MS) -> Traffic:
    """Logs in which events are out of order by at most the delay, and repeats come within ``dedupe_ms``."""
    made = Traffic()
    placed: dict[str, list[tuple[int, int, Any]]] = {topic: [] for topic in TOPICS}
    number = 0
    for request in range(draw(st.integers(0, 50))):
        for event in draw(answers(request)):
            number += 1
            delay = draw(st.integers(0, delay_ms))
            placed[topic_of(event)].append((event.event_at_ms + delay, number, event))
            if draw(st.integers(0, 5)) == 0:
                again = draw(st.sampled_from([event, replace(event, latency_ms=77.0, output="other")]))
                placed[topic_of(event)].append(
                    (event.event_at_ms + draw(st.integers(200, 2_000)), 10**6 + number, again)
                )
        if draw(st.booleans()):
            at_ms = 10_300 + request * 150
            outcome = Outcome(
                request_id=f"r{request}", rollout_id="roll", measure=draw(st.sampled_from(["review", "kpi"])),
                event_at_ms=at_ms, baseline=draw(st.sampled_from([None, 0.25, 1.0])), candidate=0.5,
            )  # fmt: skip
            for _ in range(draw(st.sampled_from([1, 1, 2]))):
                placed[topic_of(outcome)].append((at_ms, number, outcome))
            report = PlatformEvent(
                rollout_id="roll", arm=draw(st.sampled_from(list(Arm))), model_version="1", instance_id="i",
                event_at_ms=at_ms, running_ms=1_000, gpu_ooms=draw(st.integers(0, 1)), dropped_events=2,
                memory_bytes=draw(st.sampled_from([0, 1, 3 << 30, (1 << 45) + 1])),
            )  # fmt: skip
            placed[topic_of(report)].append((at_ms, number, report))
    for topic, entries in placed.items():
        for _, _, record in sorted(entries, key=lambda e: e[:2]):
            made.logs[topic].extend(draw(st.sampled_from([[], [], [], [], [GAP], [POISON]])))
            made.logs[topic].append(record)
    return made


def fill(bench: JoinBench, made: Traffic) -> None:
    for topic, log in made.logs.items():
        for entry in log:
            bench.append(entry, topic=topic)


def requests_only(tallies: dict[int, Tally]) -> dict[int, Tally]:
    """Without outcomes and platform reports: they count in the oldest open window where theirs is gone."""
    found = {}
    for start, tally in tallies.items():
        kept = Tally(tally.dimensions, tally.cells)
        kept.histograms = {n: h for n, h in tally.histograms.items() if not n.startswith("scores.")}
        kept.totals = {n: t for n, t in tally.totals.items() if n.startswith(_OF_REQUESTS)}
        if kept.cells or kept.histograms or kept.totals:
            found[start] = kept
    return found


def together(tallies: dict[int, Tally]) -> dict[int, Tally]:
    """All windows as one."""
    total = Tally(next(iter(tallies.values())).dimensions if tallies else ())
    for tally in tallies.values():
        total.add(tally)
    return {0: total}


def check(bench: JoinBench, made: Traffic) -> None:
    for join in bench.settings:
        got = streamed([r for r in bench.reports if r.rollout_id == join.rollout_id])
        want = made.expected(join)

        assert difference(requests_only(got), requests_only(want)) == ""
        assert not (got or want) or difference(together(got), together(want)) == ""
    bins = bench.join.bins()

    assert sum(bins.values()) == bench.read_offsets() == sum(len(log) for log in bench.logs.values())
    assert "pending" not in bins
    assert "late" not in bins


@LAWS
@given(made=traffic(), data=st.data())
def test_any_interleaving_gives_the_batch_result(made: Traffic, data: st.DataObject) -> None:
    """However the topics are interleaved, cut into batches and published: the result is the batch result."""
    bench = JoinBench(JOIN, OTHER)
    fill(bench, made)
    for topic, count, publish in data.draw(steps):
        bench.fetch(topic, count)
        if publish:
            bench.publish()
    bench.finish(END_MS)

    check(bench, made)


def read_and_crash(bench: JoinBench, data: st.DataObject) -> None:
    """Read in any steps, with snapshots at some and crashes at others."""
    snapshot = bench.snapshot()
    for topic, count, act in data.draw(crashing_steps):
        bench.fetch(topic, count)
        if act in ("publish", "checkpoint"):
            bench.publish()
        if act in ("snapshot", "checkpoint"):
            snapshot = bench.snapshot()
        if act == "crash":
            bench.crash(snapshot)


@LAWS
@given(made=traffic(), data=st.data())
def test_a_crash_anywhere_changes_nothing(made: Traffic, data: st.DataObject) -> None:
    """Snapshot at any step, crash at any later one (in the middle of reading again, too): same final reports."""
    bench = JoinBench(JOIN, OTHER)
    fill(bench, made)
    read_and_crash(bench, data)
    bench.finish(END_MS)

    check(bench, made)


#: Events that come so late that it depends on the reading whether they are still paired.
late_traffic = traffic(delay_ms=6_000)


@LAWS
@given(made=late_traffic, data=st.data())
def test_windows_add_up_to_the_bins(made: Traffic, data: st.DataObject) -> None:
    """However late events are, and wherever it crashes: what stands in the windows is what the bins hold."""
    bench = JoinBench(JOIN, OTHER)
    fill(bench, made)
    read_and_crash(bench, data)
    bench.finish(END_MS)

    bins = bench.join.bins()
    total: Counter[str] = Counter()
    standing = [
        report
        for join in (JOIN, OTHER)
        for report in final_reports(r for r in bench.reports if r.rollout_id == join.rollout_id).values()
    ]
    for tally in (Tally.from_report(report, BUCKET_COUNTS) for report in standing):
        total.update(tally.totals)
        total.update({name: tally.count(name) for name in ("pairs", "missing_candidate", "missing_baseline")})
    for name in ("missing_candidate", "missing_baseline", "late", "duplicate", "conflict", "outcome_duplicate"):
        assert total[name] == bins.get(name, 0), name
    assert 2 * total["pairs"] == bins.get("paired", 0)


steps = st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(1, 25), st.booleans()), max_size=30)
crashing_steps = st.lists(
    st.tuples(
        st.sampled_from(TOPICS), st.integers(1, 25),
        st.sampled_from(["", "publish", "snapshot", "checkpoint", "checkpoint", "crash"]),
    ),
    max_size=40,
)  # fmt: skip


@LAWS
@given(made=traffic(), data=st.data())
def test_requests_are_counted_alike_whichever_topic_is_read_first(made: Traffic, data: st.DataObject) -> None:
    """Reading one topic whole before the other gives what reading them the other way round gives."""
    results = []
    for order in (TOPICS, TOPICS[::-1]):
        bench = JoinBench(JOIN)
        fill(bench, made)
        size = data.draw(st.integers(1, 30))
        for topic in order:
            while bench.fetch(topic, size):
                bench.publish()
        bench.finish(END_MS)
        results.append(streamed(bench.reports))

    assert difference(*(requests_only(r) for r in results)) == ""


@pytest.mark.parametrize("crash", [False, True])
def test_a_long_run_with_crashes_equals_the_batch(crash: bool) -> None:
    """Two thousand requests over many dedupe generations, a crash every few batches: equal to the batch."""
    made = Traffic()
    for request in range(2_000):
        for arm in (Arm.BASELINE, Arm.CANDIDATE):
            if (request + (arm is Arm.CANDIDATE)) % 13:
                event = prediction(request, arm, 10_000 + request * 10, rollout_id="roll")
                made.logs[topic_of(event)].append(event)
                if request % 7 == 0:
                    made.logs[topic_of(event)].append(event)
    bench = JoinBench(JOIN)
    fill(bench, made)
    snapshot, batch = bench.snapshot(), 0
    while bench.fetch(TOPICS[batch % 2], 61):
        bench.publish()
        batch += 1
        if batch % 5 == 0:
            snapshot = bench.snapshot()
        if crash and batch in (8, 9, 23, 37, 50):
            bench.crash(snapshot)
    bench.finish(END_MS)

    assert difference(streamed(bench.reports), made.expected(JOIN)) == ""
    assert bench.join.bins()["duplicate"] > 200


def partition_of(entry: Any, number: int, count: int) -> int:
    """Where a producer puts a record: by its key; what is no record lies anywhere."""
    if isinstance(entry, str):
        return number % count
    key = entry.instance_id if isinstance(entry, PlatformEvent) else entry.request_id
    return zlib.crc32(key.encode()) % count


@LAWS
@given(made=traffic(), count=st.integers(2, 5))
def test_any_partitioning_gives_the_batch_result(made: Traffic, count: int) -> None:
    """However many partitions there are: the sum of their reports is the batch result."""
    benches = [JoinBench(JOIN, partition=p) for p in range(count)]
    for topic, log in made.logs.items():
        for number, entry in enumerate(log):
            benches[partition_of(entry, number, count)].append(entry, topic=topic)
    for bench in benches:
        bench.finish(END_MS)

    got, want = streamed([r for bench in benches for r in bench.reports]), made.expected(JOIN)
    assert difference(requests_only(got), requests_only(want)) == ""
    assert not (got or want) or difference(together(got), together(want)) == ""


@LAWS
@given(st.lists(traffic(), min_size=3, max_size=3))
def test_tallies_merge_in_any_order(made: list[Traffic]) -> None:
    """``+`` is associative and commutative, and what was added can be taken out again."""
    a, b, c = (together(m.expected(JOIN))[0] for m in made)
    a.dimensions = b.dimensions = c.dimensions = JOIN.dimensions

    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    both = a + b
    both.add(b, sign=-1)
    assert both == a
