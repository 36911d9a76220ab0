"""Commit the join's positions to the consumer group, so that lag tools show the truth.

Law: a position is committed after the snapshot that holds it and is never read back: snapshots decide where
reading goes on, and a group that is reset by hand changes no count. What fails here costs a person's view, so
it is said once and ends nothing.

Faust commits only topics that it reads itself, and the prediction topics and outcomes are not among them. The
coordinator takes a member's commits for any topic, so they go out under the membership that Faust holds in this
very generation: kafka-consumer-groups shows all topics in one group, and a worker that lost its membership is
refused (ILLEGAL_GENERATION), as it should be. Measured on Apache Kafka 4.3.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.standing import Standing
from paritygate.schemas.topics import OUTCOMES, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW
from paritygate.streams.connect import aiokafka_config
from paritygate.streams.log_lines import described

log = logging.getLogger(__name__)

#: Topics whose positions are committed here; Faust commits ``platform.v1`` and ``rollouts.v1``.
COMMITTED = (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES)
_REQUEST_MS = 3_000
#: The next owner is at it already.
_NOT_OURS = (IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who commits: the group, and the generation and id that the coordinator knows this process by."""

    group: str
    generation: int
    member_id: str


class GroupPositions:
    """Commits what it is told in the background, the newest first; what was overtaken is not sent."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._client: AIOKafkaClient | None = None
        self._coordinator: int | None = None
        self._membership: Membership | None = None
        self._newest: Mapping[int, Standing] = {}
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""

    def join(self, membership: Membership) -> None:
        """A new generation: commits go out under this membership from now on."""
        self._membership = membership

    def commit(self, standings: Mapping[int, Standing]) -> None:
        """Commit the positions of these partitions soon; returns at once."""
        self._newest = standings
        if self._membership is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._send_all(self._membership), name="positions")

    async def leave(self, timeout_s: float = 1.0) -> None:
        """Wait for what is still to be committed; from now on nothing is, until :meth:`join`."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout_s)
            self._task.cancel()
        self._membership, self._task, self._newest = None, None, {}

    async def close(self) -> None:
        """Leave, and close the connection."""
        await self.leave()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _send_all(self, membership: Membership) -> None:
        while self._newest:
            standings, self._newest = self._newest, {}
            try:
                await self._send(membership, standings)
            except _NOT_OURS:
                return
            except (TimeoutError, KafkaError, OSError) as e:
                self._coordinator = None
                if self._trouble != (why := described(e)):
                    log.warning("positions are not committed to group %s (%s); lag tools see old ones",
                                membership.group, why)  # fmt: skip
                    self._trouble = why
                return
            if self._trouble:
                log.warning("positions are committed to group %s again", membership.group)
                self._trouble = ""

    async def _send(self, membership: Membership, standings: Mapping[int, Standing]) -> None:
        client = await self._connected()
        if self._coordinator is None:
            self._coordinator = await client.coordinator_lookup(CoordinationType.GROUP, membership.group)
        response = await client.send(
            self._coordinator,
            OffsetCommitRequest(
                membership.group, membership.generation, membership.member_id,
                OffsetCommitRequest.DEFAULT_RETENTION_TIME, self._offsets(standings),
            ),
            group=ConnectionGroup.COORDINATION,
        )  # fmt: skip
        for _, partitions in response.topics:
            for _, code in partitions:
                if code:
                    raise for_code(code)()

    async def _connected(self) -> AIOKafkaClient:
        if self._client is None:
            client = AIOKafkaClient(**aiokafka_config(self._kafka), request_timeout_ms=_REQUEST_MS)
            try:
                await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
        return self._client

    def _offsets(self, standings: Mapping[int, Standing]) -> list[tuple[str, list[tuple[int, int, str]]]]:
        return [(self._kafka.topic(t.name), self._of(t.name, standings)) for t in COMMITTED]

    @staticmethod
    def _of(topic: str, standings: Mapping[int, Standing]) -> list[tuple[int, int, str]]:
        """Partition, offset and text of one topic; the standing goes with the primary topic's offset."""
        told = topic == PREDICTIONS_PRIMARY.name
        return [(p, s.ranges[topic][1], s.to_text() if told else "") for p, s in standings.items()]
