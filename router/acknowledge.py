"""Acknowledge: say on ``router.acks.v1`` what this router really applied, and what it refused. It can stop nothing.

Law: a flood of records that are refused makes no flood of acknowledgements: each names the newest and how many.
"""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import KafkaException, Producer

from paritygate.schemas.ack import Refusal, RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.topics import ROUTER_ACKS

_PRODUCER = {
    "linger.ms": 0,
    "queue.buffering.max.messages": 1000,
    "message.timeout.ms": 30_000,
    "allow.auto.create.topics": False,
}


#: How often at most a router says that it refused something, unless it has something else to say.
REFUSALS_EVERY_S: Final = 5.0


class Acknowledger:
    """Writes the acknowledgements of one router about one rollout.

    :raises KafkaException: the client library refuses the settings.
    """

    def __init__(self, settings: KafkaSettings, rollout_id: str, router_id: str) -> None:
        self._rollout_id, self._router_id = rollout_id, router_id
        self._topic = settings.topic(ROUTER_ACKS.name)
        self._producer = Producer(settings.confluent_producer(**_PRODUCER))
        self._refused: Refusal | None = None
        self._untold, self._told_s = False, float("-inf")

    def refuse(self, offset: int, reason: str) -> None:
        """A decision about this rollout is not obeyed; the next acknowledgement says so."""
        count = 1 if self._refused is None else self._refused.count + 1
        self._refused, self._untold = Refusal(offset=offset, reason=reason, count=count), True

    @property
    def due(self) -> bool:
        """A refusal waits to be told, and may be."""
        return self._untold and time.monotonic() - self._told_s >= REFUSALS_EVERY_S

    def say(self, sequence: int, weight: int, state: str) -> bool:
        """Hand over one acknowledgement without blocking; False where there is no room for it."""
        ack = RouterAck(
            rollout_id=self._rollout_id,
            router_id=self._router_id,
            sequence=sequence,
            weight=weight,
            applied_at_ms=int(time.time() * 1000),
            state=state,
            refused=self._refused,
        )
        if self._untold:
            self._untold, self._told_s = False, time.monotonic()
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
