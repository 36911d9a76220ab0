"""Export what a serving process publishes: the publisher's counts and both arms' latencies as Prometheus series.

Hang :meth:`ProducerMetrics.saw` on the router's ``on_event`` and :meth:`ProducerMetrics.reported` on the platform
reporter's ``on_report``, and call :meth:`ProducerMetrics.refresh` now and
then (every scrape interval is enough). Serve ``metrics.registry`` with ``prometheus_client``. Latencies carry the
trace of their request as an exemplar, for a Prometheus that asks for OpenMetrics.
"""

from __future__ import annotations

import re
from typing import Final

from paritygate.producers.publisher import PredictionPublisher
from paritygate.producers.shadow import ShadowRouter
from paritygate.schemas.metrics import Counter, Gauge, Histogram, Metrics
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import PredictionEvent, Role, Status

#: What may stand beside a bucket as its exemplar: a trace id of the W3C, not any text that a caller calls one.
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


class ProducerMetrics:
    """Series of one serving process; safe to call from the event loop."""

    def __init__(self, metrics: Metrics, publisher: PredictionPublisher) -> None:
        self.metrics = metrics
        metrics.begin("producers")
        self._publisher = publisher

    def saw(self, event: PredictionEvent) -> None:
        """One event was handed to the publisher: its latency, and how a mirrored call ended."""
        rollout, arm = event.rollout_id, event.arm.value
        if event.status is not Status.SHED:
            trace = {"trace_id": event.trace_id} if _TRACE_ID.fullmatch(event.trace_id) else None
            self.metrics.observe(Histogram.LATENCY, event.latency_ms / 1000, trace, rollout=rollout, arm=arm)
        if event.role is Role.SHADOW:
            self.metrics.inc(Counter.MIRRORED, rollout=rollout, arm=arm, status=event.status.value)

    def reported(self, event: PlatformEvent) -> None:
        """One platform report was made: the memory of an arm, where it was measured."""
        if event.memory_bytes:
            self.metrics.set(Gauge.MEMORY, event.memory_bytes, rollout=event.rollout_id, arm=event.arm.value)

    def refresh(self, router: ShadowRouter | None = None) -> None:
        """Bring the counters up to the publisher's own totals."""
        stats = self._publisher.stats()
        self.metrics.raise_to(Counter.PUBLISHED, stats["offered"])
        self.metrics.raise_to(Counter.DELIVERED, stats["delivered"])
        self.metrics.raise_to(Counter.OUTPUT_STUBBED, stats["output_too_large"])
        self.metrics.set(Gauge.QUEUE, stats["waiting"] + stats["in_flight"])
        for reason, count in (
            ("queue_full", stats["dropped_queue_full"]),
            ("invalid", stats["dropped_invalid"]),
            ("closed", stats["dropped_closed"]),
            ("delivery", stats["failed_delivery"]),
        ):
            self.metrics.raise_to(Counter.DROPPED, count, reason=reason)
        if router is not None:
            self.metrics.set(Gauge.MIRRORS_IN_FLIGHT, router.running_shadows, rollout=router.rollout_id)
