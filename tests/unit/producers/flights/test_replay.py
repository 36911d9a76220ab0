from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from paritygate.producers.call import ArmModel, CallResult
from paritygate.producers.exchange import Pair
from paritygate.producers.flights.data import Flight
from paritygate.producers.flights.replay import FlightRequest, FlightTraffic, OutcomeFeed, request_id
from paritygate.producers.outcomes import OutcomeReporter
from paritygate.producers.shadow import ShadowRouter
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.prediction import Arm, PredictionEvent, Status


class Sink:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.events: list[PredictionEvent] = []

    def publish_outcome(self, outcome: Outcome) -> bool:
        self.outcomes.append(outcome)
        return True

    def publish(self, event: PredictionEvent) -> bool:
        self.events.append(event)
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def some_flights(count: int, late: bool | None = True) -> list[Flight]:
    return [Flight(i, {"number": i}, {"origin": "EWR"}, 0, late) for i in range(count)]


def ok(probability_late: float) -> CallResult:
    return CallResult(status=Status.OK, latency_ms=1.0, answer={"probability_late": probability_late})


def a_pair(name: str, baseline: CallResult, candidate: CallResult) -> Pair:
    return Pair(
        request_id=name, event_at_ms=0, primary=Arm.BASELINE, segments={"origin": "EWR"}, baseline=baseline,
        candidate=candidate,
    )  # fmt: skip


def test_request_ids_follow_from_run_seed_and_number() -> None:
    """The same run gives the same ids, another one others, and each is a UUID of version 8."""
    ids = [request_id(run, seed, n) for run in ("a", "b") for seed in (0, 1) for n in range(50)]

    assert len(set(ids)) == 200
    assert ids[0] == request_id("a", 0, 0)
    assert all((uuid.UUID(i).version, uuid.UUID(i).variant) == (8, uuid.RFC_4122) for i in ids)


async def test_requests_leave_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a steady rate the waits add up to the time that the rate promises."""
    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.now_s += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    traffic = FlightTraffic(some_flights(101), run_id="r", rate_per_s=50, steady=clock)

    sent = [r async for r in traffic.requests()]

    assert clock.now_s == pytest.approx(2.0)
    assert [r.flight.number for r in sent] == list(range(101))
    assert (traffic.sent_requests, traffic.late_requests) == (101, 0)


async def test_a_slow_service_is_seen_and_not_flooded() -> None:
    """Open requests stay within the bound, and requests that left late are counted."""
    clock, open_now, most = Clock(), 0, 0

    async def handle(_request: FlightRequest) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        clock.now_s += 1
        open_now -= 1

    traffic = FlightTraffic(some_flights(40), run_id="r", rate_per_s=1000, concurrency=4, steady=clock)
    await traffic.drive(handle)

    assert most <= 4
    assert open_now == 0
    assert traffic.late_requests > 0


async def test_failed_requests_do_not_stop_the_traffic() -> None:
    """The clients of a demo go on, and the failures are counted."""

    async def handle(request: FlightRequest) -> None:
        if request.flight.number % 2:
            raise RuntimeError

    traffic = FlightTraffic(some_flights(10), run_id="r", rate_per_s=1e6)
    await traffic.drive(handle)

    assert (traffic.sent_requests, traffic.failed_requests) == (10, 5)


async def test_stop_ends_the_traffic() -> None:
    """No request leaves after it, and drive() returns when the open ones are answered."""
    traffic = FlightTraffic(some_flights(1000), run_id="r", rate_per_s=1e6)

    async def handle(request: FlightRequest) -> None:
        if request.flight.number == 10:
            traffic.stop()

    await traffic.drive(handle)

    assert 11 <= traffic.sent_requests < 1000


@pytest.mark.parametrize("options", [{"rate_per_s": 0}, {"rate_per_s": 1, "concurrency": 0}])
def test_impossible_traffic_is_refused(options: dict[str, Any]) -> None:
    """A rate or bound that is not positive is a ConfigError."""
    with pytest.raises(ConfigError):
        FlightTraffic([], run_id="r", **options)


def test_scores_come_after_the_delay_for_those_who_answered() -> None:
    """1 - Brier of each arm; None for an arm that failed; nothing where the truth is unknown."""
    sink, clock = Sink(), Clock()
    feed = OutcomeFeed(OutcomeReporter(sink, rollout_id="ro", clock=lambda: 9), delay_s=1.5, steady=clock)
    failed = CallResult(status=Status.ERROR, error=ValueError())
    for flight in some_flights(3):
        feed.expect(FlightRequest(f"r-{flight.number}", flight))
    feed.expect(FlightRequest("cancelled", some_flights(1, late=None)[0]))
    feed.on_pair(a_pair("r-0", ok(0.5), ok(0.9)))
    feed.on_pair(a_pair("r-1", ok(0.0), failed))
    feed.on_pair(a_pair("r-2", failed, failed))
    feed.on_pair(a_pair("cancelled", ok(0.5), ok(0.5)))
    feed.on_pair(a_pair("stranger", ok(0.5), ok(0.5)))

    clock.now_s = 1.4
    assert feed.publish_due() == 0
    clock.now_s = 1.5
    assert feed.publish_due() == 2

    assert [(o.request_id, o.baseline, o.candidate) for o in sink.outcomes] == [
        ("r-0", 0.75, 0.99), ("r-1", 0.0, None),
    ]  # fmt: skip
    assert sink.outcomes[0].segments == {"origin": "EWR"}
    assert (sink.outcomes[0].measure, sink.outcomes[0].event_at_ms) == ("human_review_score", 9)


def test_an_answer_without_a_probability_is_not_scored() -> None:
    """A foreign answer shape costs its score, not the feed."""
    sink, clock = Sink(), Clock()
    feed = OutcomeFeed(OutcomeReporter(sink, rollout_id="ro"), delay_s=0, steady=clock)
    feed.expect(FlightRequest("r-0", some_flights(1)[0]))
    feed.on_pair(a_pair("r-0", CallResult(status=Status.OK, answer=["late"]), ok(1.0)))

    assert feed.publish_due() == 1
    assert (sink.outcomes[0].baseline, sink.outcomes[0].candidate) == (None, 1.0)


def test_truths_that_nobody_asks_for_are_forgotten() -> None:
    """The memory of the feed is bounded, oldest first."""
    feed = OutcomeFeed(OutcomeReporter(Sink(), rollout_id="ro"), max_waiting=2, delay_s=0)
    for flight in some_flights(3):
        feed.expect(FlightRequest(f"r-{flight.number}", flight))
    for name in ("r-0", "r-1", "r-2"):
        feed.on_pair(a_pair(name, ok(0.5), ok(0.5)))

    assert feed.forgotten == 1
    assert feed.publish_due(all_of_them=True) == 2


async def test_the_whole_way_leaves_two_events_and_one_outcome_per_flight() -> None:
    """Traffic, router and feed together: every flight that arrived is answered twice and scored once."""
    sink = Sink()
    feed = OutcomeFeed(OutcomeReporter(sink, rollout_id="ro"), delay_s=0)
    router = ShadowRouter(
        rollout_id="ro", publisher=sink, choose=lambda _: Arm.BASELINE, on_pair=feed.on_pair,
        baseline=ArmModel(version="v1", predict=lambda _: {"probability_late": 0.5}),
        candidate=ArmModel(version="v2", predict=lambda _: {"probability_late": 1.0}),
        max_concurrent_shadows=1000,
    )  # fmt: skip
    traffic = FlightTraffic(some_flights(60), run_id="r", rate_per_s=1e6, concurrency=8)

    async def handle(request: FlightRequest) -> None:
        feed.expect(request)
        await router.predict(
            request.flight.request, request_id=request.request_id, segments=request.flight.segments
        )

    running = asyncio.create_task(feed.run(0.001))
    await traffic.drive(handle)
    await router.aclose()
    running.cancel()
    feed.publish_due(all_of_them=True)

    assert len(sink.events) == 120
    assert len({o.request_id for o in sink.outcomes}) == len(sink.outcomes) == 60
    assert {(o.baseline, o.candidate) for o in sink.outcomes} == {(0.75, 1.0)}
