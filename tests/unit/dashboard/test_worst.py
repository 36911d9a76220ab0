"""Prometheus hears of the worst segments of open rollouts, of few of them, and of how many there are."""

from __future__ import annotations

from paritygate.dashboard.worst import WORST, WorstSegments
from paritygate.schemas.metrics import Counter, Gauge, Metrics
from paritygate.schemas.topics import AUDIT
from tests.support.board import EVIL, HEARD_MS, StillFollower, follower_of, hostile_report, many_segments
from tests.support.story import Entry, logs_of
from tests.unit.rollouts.conftest import command, report

BIG: list[Entry] = [command("start"), *[many_segments(w, 1000, partition=p) for w in range(2) for p in range(2)]]


def told(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    return {tuple(labels.values()): value for found, labels, value in metrics.values() if found == name}


def tell(worst: WorstSegments, follower: StillFollower) -> None:
    worst.tell(follower.board.entries.values(), lambda _: None)


def test_the_worst_are_told_and_the_rest_is_counted() -> None:
    """Of 1,000 segments 50 have series, the worst first; how many there are stands beside them."""
    metrics = Metrics()
    tell(WorstSegments(metrics), follower_of(logs_of(BIG)))
    requests = told(metrics, Gauge.SEGMENT_REQUESTS.value)

    assert len(requests) == WORST
    assert {("r1", f"origin=s{i:02}00") for i in range(10)} <= set(requests)
    assert set(requests.values()) == {80.0}
    assert told(metrics, Gauge.SEGMENTS.value) == {("r1",): 1000.0}
    errors = told(metrics, Gauge.SEGMENT_ERRORS.value)
    assert errors["r1", "origin=s0100", "candidate"] == 12 / 80
    assert errors["r1", "origin=s0100", "baseline"] == 0.0


def test_what_is_no_longer_among_them_has_no_series() -> None:
    """A segment that others have overtaken, and all of a rollout that is over, are gone at the next look."""
    metrics = Metrics()
    worst, follower = WorstSegments(metrics), follower_of(logs_of(BIG))
    tell(worst, follower)
    before = set(told(metrics, Gauge.SEGMENT_REQUESTS.value))
    ledger = follower.board.entries["r1"].ledger
    assert ledger is not None
    ledger.take(report(2, origin="s0999", errors=60))
    follower.board.entries["r1"].version += 1
    tell(worst, follower)
    after = set(told(metrics, Gauge.SEGMENT_REQUESTS.value))

    assert after - before == {("r1", "origin=s0999")}
    assert len(before - after) == 1
    logs = logs_of([*BIG, command("rollback")])
    follower.board.take(AUDIT.name, 9999, HEARD_MS, b"r1", logs.of("r1")[-1].to_bytes())
    tell(worst, follower)
    assert told(metrics, Gauge.SEGMENT_REQUESTS.value) == {}
    assert told(metrics, Gauge.SEGMENTS.value) == {}


def test_the_cap_holds_and_counts_what_it_refuses() -> None:
    """With room for 20 label sets no family has more, and each refusal is counted."""
    metrics = Metrics(max_series=20)
    tell(WorstSegments(metrics), follower_of(logs_of(BIG)))

    assert len(told(metrics, Gauge.SEGMENT_REQUESTS.value)) == 20
    assert len(told(metrics, Gauge.SEGMENT_ERRORS.value)) == 20
    dropped = told(metrics, f"{Counter.SERIES_DROPPED.value}")
    assert dropped[Gauge.SEGMENT_REQUESTS.value,] == WORST - 20
    assert dropped[Gauge.SEGMENT_ERRORS.value,] == 2 * WORST - 20


def test_a_hostile_name_is_one_label() -> None:
    """Quotes, line ends and control characters of a segment's name cannot forge a series."""
    metrics = Metrics()
    evil: list[Entry] = [
        command("start", promotion_gates={"error_rate": {"maximum": 0.9}}),
        report(0),
        hostile_report(1, 1),
    ]
    tell(WorstSegments(metrics), follower_of(logs_of(evil)))

    assert ("r1", f"origin={EVIL}") in told(metrics, Gauge.SEGMENT_REQUESTS.value)
