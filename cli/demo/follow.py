"""Follow one rollout's decisions in the background, for the picture and for the end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from confluent_kafka import TopicPartition

from paritygate.cli.follow import is_over
from paritygate.cli.kafka import new_consumer
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import DecodeError
from paritygate.schemas.topics import AUDIT


class Follower:
    """Reads ``audit.v1`` from its beginning; every decision of the rollout, in order."""

    def __init__(self, kafka: KafkaSettings, rollout_id: str, show: Callable[[GateDecision], None]) -> None:
        self._rollout_id = rollout_id
        self._show = show
        self._topic = kafka.topic(AUDIT.name)
        self._consumer = new_consumer(kafka)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-follow", daemon=True)
        self.decisions: list[GateDecision] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @property
    def ended(self) -> bool:
        """Rolled back, or promoted to all of the traffic."""
        return any(is_over(d) for d in self.decisions)

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until ``count`` decisions are there."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.decisions) >= count, timeout_s)

    def _run(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, 0, 0)])
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            try:
                decision = GateDecision.from_bytes(message.value() or b"")
            except DecodeError:
                continue
            if decision.rollout_id == self._rollout_id:
                with self._changed:
                    self.decisions.append(decision)
                    self._changed.notify_all()
                self._show(decision)
