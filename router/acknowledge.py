"""Acknowledge: say on ``router.acks.v1`` what this router really applied. It can stop nothing."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException, Producer

from paritygate.schemas.ack import RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import ROUTER_ACKS

_PRODUCER = {
    "linger.ms": 0,
    "queue.buffering.max.messages": 1000,
    "message.timeout.ms": 30_000,
    "allow.auto.create.topics": False,
}


class Acknowledger:
    """Writes the acknowledgements of one router about one rollout.

    :raises KafkaException: the client library refuses the settings.
    """

    def __init__(self, settings: KafkaSettings, rollout_id: str, router_id: str) -> None:
        self._rollout_id, self._router_id = rollout_id, router_id
        self._topic = settings.topic(ROUTER_ACKS.name)
        self._producer = Producer(settings.confluent_producer(**_PRODUCER))

    def say(self, sequence: int, weight: int, state: str) -> bool:
        """Hand over one acknowledgement without blocking; False where there is no room for it."""
        ack = RouterAck(
            rollout_id=self._rollout_id,
            router_id=self._router_id,
            sequence=sequence,
            weight=weight,
            applied_at_ms=int(time.time() * 1000),
            state=state,
        )
        try:
            self._producer.produce(self._topic, ack.to_bytes(), key=self._router_id.encode())
            self._producer.poll(0)
        except (BufferError, KafkaException):
            return False
        return True

    def poll(self) -> None:
        """Serve what the client library has to say."""
        self._producer.poll(0)

    def close(self) -> None:
        """Wait a second at most for what is under way."""
        self._producer.flush(1)
