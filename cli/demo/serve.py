"""The demo's model service: both arms behind the real router, following the decisions about them.

This is what a user's service does: publish through ``PredictionPublisher``, ask through ``ShadowRouter``,
obey a ``DecisionWatcher``. Only the traffic is a replay, and the faults are put into the candidate on purpose.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paritygate.cli.demo.exposure import ExposureClock
from paritygate.producers.call import ArmModel
from paritygate.producers.exposition import ProducerMetrics
from paritygate.producers.flights.data import ENDPOINT, Flight
from paritygate.producers.flights.faults import candidate_of
from paritygate.producers.flights.models import Models
from paritygate.producers.flights.replay import FlightRequest, FlightTraffic, OutcomeFeed
from paritygate.producers.outcomes import OutcomeReporter
from paritygate.producers.platform import PlatformReporter
from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.router.state import RoutingState
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm, PredictionEvent

INSTANCE = "flight-delays-1"
#: Both models only compute, and three processes share two cores here: processor time is what a call costs,
#: whoever else runs. A service whose models wait for something leaves the router's wall clock in place.
SERVICE_TIMER = time.thread_time
#: How long the traffic goes on after the end, so that the counts of the last windows arrive.
LINGER_S = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the service saw of its own run."""

    requests: int
    failed_requests: int
    events: int
    seconds: float
    rollback_latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one run serves with. ``ended`` says when the rollout is over."""

    kafka: KafkaSettings
    rollout_id: str
    scenario: str
    models: Models
    flights: Iterable[Flight]
    rate_per_s: float
    folder: Path
    ended: Callable[[], bool]
    limit_s: float
    metrics: Metrics

    def serve(self) -> Served:
        """Serve traffic until the rollout has ended, or ``limit_s`` is over. Blocks."""
        return asyncio.run(self._serve())

    async def _serve(self) -> Served:
        clock = ExposureClock(limit=0.01)

        def changed(state: RoutingState) -> None:
            if state.rolled_back:
                clock.rolled_back(time.monotonic() * 1000)

        watcher = DecisionWatcher(
            self.kafka,
            self.rollout_id,
            INSTANCE,
            self.folder / f"router-{self.rollout_id}",
            on_change=changed,
            metrics=self.metrics,
        )
        publisher = PredictionPublisher(self.kafka, instance_id=INSTANCE)
        try:
            await asyncio.to_thread(publisher.check_topics)
            await asyncio.to_thread(watcher.wait_ready, 10.0)
            return await self._run(watcher, publisher, clock)
        finally:
            await asyncio.to_thread(publisher.close)
            await asyncio.to_thread(watcher.close)

    async def _run(self, watcher: DecisionWatcher, publisher: PredictionPublisher, clock: ExposureClock) -> Served:
        baseline, candidate = self.models.baseline, self.models.candidate
        versions = {Arm.BASELINE: baseline.version, Arm.CANDIDATE: candidate.version}
        faulty = candidate_of(
            self.scenario,
            baseline=baseline.predict,
            candidate=candidate.predict,
            candidate_version=candidate.version,
            weight=lambda: watcher.weight,
            timer=SERVICE_TIMER,
        )
        exposition = ProducerMetrics(self.metrics, publisher)
        platform = PlatformReporter(
            publisher,
            rollout_id=self.rollout_id,
            instance_id=INSTANCE,
            versions=versions,
            on_report=exposition.reported,
        )
        outcomes = OutcomeFeed(OutcomeReporter(publisher, rollout_id=self.rollout_id))
        events = 0

        def published(event: PredictionEvent) -> None:
            nonlocal events
            events += 1
            clock.saw(event, time.monotonic() * 1000)
            exposition.saw(event)

        router = ShadowRouter(
            rollout_id=self.rollout_id,
            baseline=ArmModel(version=baseline.version, predict=baseline.predict),
            candidate=ArmModel(version=candidate.version, predict=faulty),
            publisher=publisher,
            choose=watcher.choose,
            instance_id=INSTANCE,
            on_pair=outcomes.on_pair,
            on_event=published,
            on_error=platform.saw_error,
            timer=SERVICE_TIMER,
            seed=1,
        )
        traffic = FlightTraffic(self.flights, run_id=self.rollout_id, rate_per_s=self.rate_per_s, concurrency=8)

        async def handle(request: FlightRequest) -> None:
            outcomes.expect(request)
            await router.predict(
                request.flight.request,
                request_id=request.request_id,
                endpoint=ENDPOINT,
                segments=request.flight.segments,
            )

        async def export() -> None:
            while True:
                exposition.refresh(router)
                await asyncio.sleep(1)

        beside = [asyncio.create_task(work) for work in (outcomes.run(), platform.run(0.5), export())]
        stopper = asyncio.create_task(self._stop_at_end(traffic))
        began = time.monotonic()
        try:
            await traffic.drive(handle)
        finally:
            stopper.cancel()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, stopper, return_exceptions=True)
            with suppress(TimeoutError):
                await router.drain(2.0)
            outcomes.publish_due(all_of_them=True)
        return Served(
            requests=traffic.sent_requests,
            failed_requests=traffic.failed_requests,
            events=events,
            seconds=time.monotonic() - began,
            rollback_latency_ms=clock.latency_ms,
        )

    async def _stop_at_end(self, traffic: FlightTraffic) -> None:
        deadline = time.monotonic() + self.limit_s
        while time.monotonic() < deadline and not self.ended():  # noqa: ASYNC110  (it ends in another thread)
            await asyncio.sleep(0.1)
        await asyncio.sleep(LINGER_S)
        traffic.stop()
