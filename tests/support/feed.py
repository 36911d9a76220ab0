"""Start a rollout and write its traffic as services would."""

from __future__ import annotations

import time

from confluent_kafka import Producer

from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.command import Command, CommandKind


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def start_command(plan: RolloutPlan) -> tuple[str, bytes]:
    """Key and value of the command that starts a plan."""
    command = Command(
        kind=CommandKind.START, rollout_id=plan.rollout, actor="tests", issued_at_ms=1, plan=plan.to_plain()
    )
    return plan.rollout, command.to_bytes()


def send(settings: KafkaSettings, records: list[tuple[str, str, bytes]], *, per_s: int = 4_000) -> None:
    """Write records at a steady pace and wait until the broker has them."""
    producer = Producer(settings.confluent_producer(**{"linger.ms": 5}))
    began = time.monotonic()
    for i, (topic, key, value) in enumerate(records):
        producer.produce(settings.topic(topic), key=key, value=value)
        if i % 200 == 0:
            producer.poll(0)
            time.sleep(max(0.0, began + i / per_s - time.monotonic()))
    assert producer.flush(120) == 0
