"""The topics of one kind of traffic on the broker, filled once and read by every engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from joining.feeder import preload
from joining.traffic import Traffic, Truth
from paritygate.cli.topics import create_topics
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, ROLLOUTS

_WAIT_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Full topics. ``topics``: of the baseline's and the candidate's arm, as named on the cluster."""

    settings: KafkaSettings
    partitions: int
    traffic: Traffic
    truth: Truth
    fed_s: float

    @property
    def topics(self) -> tuple[str, str]:
        return topics_of(self.settings)

    @classmethod
    def fill(cls, bootstrap: str, name: str, partitions: int, traffic: Traffic) -> Stage:
        """Make the topics and append all events."""
        settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=f"{name}.")
        create_topics(settings, partitions)
        began = time.monotonic()
        truth = preload(bootstrap, topics_of(settings), partitions, traffic)
        return cls(
            settings=settings, partitions=partitions, traffic=traffic, truth=truth, fed_s=time.monotonic() - began
        )

    def clear_outputs(self, plans: Sequence[RolloutPlan]) -> None:
        """Delete all that a worker wrote or read but the events, and start rollouts anew."""
        admin = AdminClient(self.settings.confluent())
        known = admin.list_topics(timeout=_WAIT_S).topics
        doomed = [t for t in known if t.startswith(self.settings.topic_prefix) and t not in self.topics]
        _delete(admin, doomed)
        until = time.monotonic() + _WAIT_S
        while True:
            try:
                create_topics(self.settings, self.partitions)
                break
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        producer = Producer(self.settings.confluent_producer())
        for plan in plans:
            command = Command(
                kind=CommandKind.START,
                rollout_id=plan.rollout,
                actor="benchmark",
                issued_at_ms=1,
                plan=plan.to_plain(),
            )
            producer.produce(self.settings.topic(ROLLOUTS.name), key=plan.rollout, value=command.to_bytes())
        assert producer.flush(_WAIT_S) == 0

    def drop(self) -> None:
        """Delete every topic of this stage, so that the disk is free for the next."""
        admin = AdminClient(self.settings.confluent())
        known = admin.list_topics(timeout=_WAIT_S).topics
        _delete(admin, [t for t in known if self.settings.topic_prefix in t])


def topics_of(settings: KafkaSettings) -> tuple[str, str]:
    """Where each arm's events lie in the shadow stage."""
    return settings.topic(PREDICTIONS_PRIMARY.name), settings.topic(PREDICTIONS_SHADOW.name)


def _delete(admin: AdminClient, names: list[str]) -> None:
    if not names:
        return
    for gone in admin.delete_topics(names, operation_timeout=_WAIT_S).values():
        gone.result(_WAIT_S)
    until = time.monotonic() + _WAIT_S
    while set(names) & set(admin.list_topics(timeout=_WAIT_S).topics):
        if time.monotonic() > until:
            raise RuntimeError(f"topics are still there after {_WAIT_S:g} s: {names}")
        time.sleep(0.1)
