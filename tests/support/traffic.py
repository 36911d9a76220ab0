"""Synthetic traffic of one rollout: seeded, with every kind of trouble that the join must count exactly."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paritygate.producers.publisher import PredictionPublisher
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import encode
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW

PLAN_YAML = """
rollout: {rollout}
service: {rollout}
baseline: {{version: "1"}}
candidate: {{version: "2"}}
owner: tests
rollback_condition: any gate that is proven to be broken
segments: [tier, region]
stages:
  - {{name: shadow, weight: 0, minimum_seconds: 5, minimum_pairs: 1000000}}
  - {{name: "50", weight: 50}}
  - {{name: "100", weight: 100}}
join:
  {{window_ms: 1000, grace_ms: {grace_ms}, lateness_ms: 1500, retain_ms: 2000, dedupe_ms: {dedupe_ms},
    max_future_ms: 60000}}
promotion_gates:
  latency_p50_ms: {{maximum_regression_percent: 100}}
  error_rate: {{maximum: 0.2}}
  schema_validation_pass_rate: {{minimum: 0.8}}
"""


def plan_for(rollout: str, *, grace_ms: int = 3_000, dedupe_ms: int = 30_000) -> RolloutPlan:
    """A plan that holds in shadow whatever this module's traffic does."""
    return RolloutPlan.from_yaml(PLAN_YAML.format(rollout=rollout, grace_ms=grace_ms, dedupe_ms=dedupe_ms))


@dataclass(slots=True)
class Traffic:
    """What was sent, per topic in order, and the records behind it."""

    predictions: list[PredictionEvent]
    outcomes: list[Outcome]
    platform: list[PlatformEvent]

    def records(self) -> list[tuple[str, str, bytes]]:
        """``(topic, key, value)`` in sending order: everything when its time has come, as live traffic does."""
        beside: list[tuple[int, str, str, bytes]] = [
            *((o.event_at_ms, OUTCOMES.name, o.request_id, encode(o)) for o in self.outcomes),
            *((p.event_at_ms, PLATFORM.name, p.instance_id, encode(p)) for p in self.platform),
        ]
        beside.sort(key=lambda r: r[0], reverse=True)
        found: list[tuple[str, str, bytes]] = []
        for event in self.predictions:
            while beside and beside[-1][0] <= event.event_at_ms:
                found.append(beside.pop()[1:])
            topic = PREDICTIONS_PRIMARY if event.role is Role.PRIMARY else PREDICTIONS_SHADOW
            found.append((topic.name, event.request_id, encode(event)))
        return found + [record[1:] for record in reversed(beside)]


def make_traffic(
    rollout: str, *, requests: int, start_ms: int, span_ms: int, seed: int = 1, shuffle_ms: int = 400
) -> Traffic:
    """``requests`` requests over ``span_ms`` of event time, shuffled by up to ``shuffle_ms``.

    3 % have no candidate event, 1 % no baseline event, 2 % of events are sent twice, 2 % fail, 2 % of the
    outputs are invalid, labels change, a tenth is answered live by the candidate.
    """
    rng = random.Random(seed)
    events: list[tuple[float, PredictionEvent]] = []
    outcomes: list[tuple[float, Outcome]] = []
    for i in range(requests):
        at_ms = start_ms + i * span_ms // requests
        pair = _pair(rng, rollout, f"{rollout}-{i:07d}", at_ms)
        for event in pair:
            due = at_ms + rng.random() * shuffle_ms
            events.append((due, event))
            if rng.random() < 0.02:
                events.append((due + rng.random() * shuffle_ms, event))
        if rng.random() < 0.2:
            outcomes.append((at_ms, _outcome(rng, rollout, pair[0], at_ms)))
    platform = [
        PlatformEvent(
            rollout_id=rollout, arm=arm, model_version="1", instance_id=f"pod-{n}", event_at_ms=at, running_ms=1000,
            memory_bytes=(n << 30) + at % 4096,
        )
        for at in range(start_ms, start_ms + span_ms, 1000)
        for n, arm in enumerate(Arm)
    ]  # fmt: skip
    events.sort(key=lambda e: e[0])
    return Traffic([e for _, e in events], [o for _, o in outcomes], platform)


def trace_of(request_id: str) -> str:
    """The trace in which a request ran."""
    return f"{zlib.crc32(request_id.encode()) + 1:032x}"


def _pair(rng: random.Random, rollout: str, request_id: str, at_ms: int) -> Sequence[PredictionEvent]:
    live = rng.random() < 0.1
    base = PredictionEvent(
        request_id=request_id, rollout_id=rollout, arm=Arm.BASELINE, role=Role.SHADOW if live else Role.PRIMARY,
        event_at_ms=at_ms, latency_ms=rng.lognormvariate(1, 0.5), status=Status.OK, model_version="1",
        endpoint="/score", instance_id="pod-0", trace_id=trace_of(request_id),
        segments={"tier": rng.choice(["gold", "silver"]), "region": rng.choice(["eu", "us", "ap"])},
    )  # fmt: skip
    candidate = replace(base, arm=Arm.CANDIDATE, role=Role.PRIMARY if live else Role.SHADOW, model_version="2")
    pair = [_answered(rng, base), _answered(rng, candidate)]
    luck = rng.random()
    if luck < 0.03:
        return pair[:1]
    return pair[1:] if luck < 0.04 else pair


def _answered(rng: random.Random, event: PredictionEvent) -> PredictionEvent:
    if rng.random() < 0.02:
        return replace(event, status=rng.choice([Status.ERROR, Status.TIMEOUT]), error_type="Boom")
    label, confidence = rng.choice(["yes", "no"]), round(rng.random(), 3)
    shown = confidence if rng.random() > 0.02 else 7
    output = f'{{"prediction":"{label}","confidence":{shown},"model_version":"{event.model_version}"}}'
    return replace(event, label=label, confidence=confidence, output=output, latency_ms=rng.lognormvariate(1, 0.5))


def _outcome(rng: random.Random, rollout: str, event: PredictionEvent, at_ms: int) -> Outcome:
    return Outcome(
        request_id=event.request_id, rollout_id=rollout, measure="human_review_score", event_at_ms=at_ms,
        baseline=round(rng.random(), 3), candidate=round(rng.random(), 3), segments=event.segments,
    )  # fmt: skip


def publish(settings: KafkaSettings, traffic: Traffic) -> None:
    """As services do, with the partition count that their topics have."""
    with PredictionPublisher(settings, instance_id="pod-0") as publisher:
        for event in traffic.predictions:
            assert publisher.publish(event)
        for outcome in traffic.outcomes:
            assert publisher.publish_outcome(outcome)
        for report in traffic.platform:
            assert publisher.publish_platform(report)
        assert publisher.flush(120) == 0
