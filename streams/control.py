"""Follow the control topics: which rollouts exist, and which have ended. Every worker needs to know.

Law: a rollout is known from the decision that started it on, under the plan of exactly the command that this
decision accepted; a start that was refused is nobody's plan. Events of other ids are *foreign*; before an
event is called so, both topics are read to their ends, so that a rollout that was started before the event
was written is always seen before it. Nobody waits for a start that none of the trusted keys has signed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.signature import DECISION, EVERYBODY, CommandLog, Trust
from paritygate.schemas.topics import AUDIT, ROLLOUTS
from paritygate.streams.connect import start_consumer

log = logging.getLogger(__name__)

#: How long a start command may stand without a decision before its rollout counts as refused.
MAX_DECISION_MS = 10_000
#: Most rollouts whose unsigned start is remembered, until a signed decision continues it.
MAX_UNSIGNED = 1000


class RolloutRegistry:
    """Plans and endings, read from ``rollouts.v1`` and ``audit.v1`` without a consumer group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        retire_after_s: float,
        clock_ms: Callable[[], int],
        trust: Trust = EVERYBODY,
    ) -> None:
        self._said = CommandLog(trust.commands)
        self._deciders = trust.decisions
        self._signs = False
        self._unsigned: dict[str, list[GateDecision]] = {}
        self._commands = TopicPartition(kafka.topic(ROLLOUTS.name), 0)
        self._decisions = TopicPartition(kafka.topic(AUDIT.name), 0)
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer = None
        self._retire_after_ms = int(retire_after_s * 1000)
        self._clock_ms = clock_ms
        self._lock = asyncio.Lock()
        self._starts: dict[int, Command] = {}
        self._accepted: dict[str, int] = {}
        self._ended_at_ms: dict[str, int] = {}
        self._refused: set[str] = set()
        self.plans: dict[str, RolloutPlan] = {}

    async def start(self) -> None:
        """Read both topics to their ends."""
        self._consumer = await start_consumer(self._kafka, fetch_max_wait_ms=50)
        self._consumer.assign([self._commands, self._decisions])
        await self._consumer.seek_to_beginning()
        await self.refresh()

    async def stop(self) -> None:
        """Close the connection."""
        await self._consumer.stop()

    async def refresh(self) -> None:
        """Read what was appended since, up to the present ends of the topics."""
        async with self._lock:
            ends = await self._consumer.end_offsets([self._commands, self._decisions])
            while any([await self._consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await self._consumer.getmany(timeout_ms=50)).values():
                    for record in records:
                        self._take(record)
            self._adopt()

    async def settle(self, rollout_ids: set[str]) -> None:
        """Read on until each of the ids is started, or is surely not: nobody asked, or it was refused.

        A start that is asked for and not yet decided is waited for, once for each id, as long as a decider may
        need: the events behind it in the log are its own.
        """
        deadline_ms = self._clock_ms() + MAX_DECISION_MS
        await self.refresh()
        while rollout_ids & self._undecided() and self._clock_ms() < deadline_ms:
            await asyncio.sleep(0.05)
            await self.refresh()
        self._refused |= rollout_ids & self._undecided()

    def _undecided(self) -> set[str]:
        asked = {c.rollout_id for offset, c in self._starts.items() if offset not in self._said.doubted}
        return asked - self._accepted.keys() - self._refused

    def live(self) -> dict[str, RolloutPlan]:
        """Plans of the rollouts that are still to be joined: running, or ended a short time ago."""
        horizon = self._clock_ms() - self._retire_after_ms
        return {r: p for r, p in self.plans.items() if self._ended_at_ms.get(r, horizon + 1) > horizon}

    def _take(self, record: Any) -> None:
        value = record.value or b""
        try:
            if record.topic == self._commands.topic:
                self._said.take(record.offset, value, record.headers)
                self._take_command(record.offset, Command.from_bytes(value))
            else:
                self._take_decision(GateDecision.from_bytes(value), partial(self._is_signed, record))
        except ParityGateError as e:
            # The decider refuses it too and says so, once; it must not stop the join of all others.
            log.debug("%s offset %d is ignored: %s", record.topic, record.offset, e)

    def _take_command(self, offset: int, command: Command) -> None:
        if command.kind is CommandKind.START:
            self._starts[offset] = command

    def _is_signed(self, record: Any) -> bool:
        return self._deciders is None or not self._deciders.refusal(DECISION, record.value or b"", record.headers)

    def _take_decision(self, decision: GateDecision, is_signed: Callable[[], bool]) -> None:
        """Only what starts or ends a rollout matters, and is asked for its signature: the audit is long."""
        rollout, waiting = decision.rollout_id, self._unsigned.get(decision.rollout_id, [])
        first, last = decision.sequence == 0, decision.action is Action.ROLLBACK
        signed = (not self._signs or first or last or bool(waiting)) and is_signed()
        believed, self._signs = signed or not self._signs, signed or self._signs
        if first and believed:
            self._accepted.setdefault(rollout, decision.commands_next - 1)
        elif first and len(self._unsigned) < MAX_UNSIGNED:
            self._unsigned.setdefault(rollout, []).append(decision)
        elif signed and waiting:
            # What is signed speaks for what it continues; a plan never changes.
            start = next((d for d in waiting if d.policy_digest == decision.policy_digest), None)
            if start is not None:
                self._accepted.setdefault(rollout, start.commands_next - 1)
            del self._unsigned[rollout]
        # A promoted rollout is joined on: a fail still rolls it back, until another one takes its place.
        if last and believed:
            self._ended_at_ms.setdefault(rollout, self._clock_ms())

    def _adopt(self) -> None:
        """Plans of started rollouts whose command has been read by now; the topics come in either order."""
        for rollout in [r for r in self._accepted if r not in self.plans]:
            start = self._starts.pop(self._accepted[rollout], None)
            if start is not None:
                self.plans[rollout] = plan = RolloutPlan.from_plain(start.plan or {})
                self._supersede(plan)

    def _supersede(self, plan: RolloutPlan) -> None:
        """A new rollout of a service ends the one before it."""
        for rollout, other in self.plans.items():
            if rollout != plan.rollout and other.service == plan.service:
                self._ended_at_ms.setdefault(rollout, self._clock_ms())
