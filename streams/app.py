"""Wire the Faust app: membership, assignment, the snapshot Table, agents, timers. The only place that wires.

Faust decides who owns which partition and brings the snapshots back. The owner of partition p of
``platform.v1`` (and of the state Table, which has the same partition count and so the same owner) reads
partition p of every bulk topic itself, in whole record batches: an agent costs 72 µs an event, which the
prediction topics cannot pay. The agents below therefore only carry ownership.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import faust

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import ConfluentIds
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.signature import Trust
from paritygate.schemas.topics import PLATFORM, ROLLOUTS
from paritygate.streams.connect import ssl_context
from paritygate.streams.control import RolloutRegistry
from paritygate.streams.decide import Decider
from paritygate.streams.join import JoinKeeper
from paritygate.streams.keys import read_command_keys, read_decision_keys, read_signer
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.outbox import Outbox
from paritygate.streams.pace import Contest
from paritygate.streams.positions import GroupPositions, Membership
from paritygate.streams.published import PublishedWindows
from paritygate.streams.roll_call import RollCall
from paritygate.streams.settings import WorkerSettings
from paritygate.streams.snapshots import TableStore

log = logging.getLogger(__name__)

STATE_TABLE = "join-state"
#: A window report is one record, and ``windows.v1`` takes as much; snapshots are written in smaller parts.
MAX_REQUEST_BYTES = 8 << 20


def wall_clock_ms() -> int:
    """UTC epoch milliseconds. The pure rooms get time as an argument; this is where it comes from."""
    return time.time_ns() // 1_000_000


def state_topic(settings: WorkerSettings) -> str:
    """Name on the cluster of the changelog that holds the snapshots; Faust derives it from the names given."""
    return f"{settings.kafka.topic_prefix}{settings.app_id}-{STATE_TABLE}-changelog"


class Spine:
    """What one worker runs, and how it follows Faust's assignments."""

    def __init__(
        self, settings: WorkerSettings, metrics: WorkerMetrics, confluent_ids: ConfluentIds | None = None
    ) -> None:
        kafka = settings.kafka
        self._settings = settings
        self._metrics = metrics
        self.app = _bare_app(settings)
        raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw", "internal": True}
        self._owned = self.app.topic(kafka.topic(PLATFORM.name), partitions=settings.partitions, **raw)
        self._commands = self.app.topic(kafka.topic(ROLLOUTS.name), partitions=1, **raw)
        self._table = self.app.Table(
            STATE_TABLE,
            default=bytes,
            partitions=settings.partitions,
            key_type=bytes,
            value_type=bytes,
            on_recover=self._on_recovered,
        )
        outbox = Outbox(self.app)
        signer = read_signer(settings)
        trust = Trust(commands=read_command_keys(settings), decisions=read_decision_keys(settings, signer))
        self._registry = RolloutRegistry(
            kafka,
            retire_after_s=settings.retire_after_s,
            clock_ms=wall_clock_ms,
            trust=trust,
        )
        self._roll_call = RollCall(kafka, wall_clock_ms)
        self._keeper = JoinKeeper(
            settings,
            registry=self._registry,
            outbox=outbox,
            store=TableStore(self._table, outbox),
            published=PublishedWindows(kafka),
            metrics=metrics,
            positions=GroupPositions(kafka),
            clock_ms=wall_clock_ms,
            confluent_ids=confluent_ids,
            tell_routers=self._roll_call.tell,
        )
        self._decider = Decider(settings, outbox, metrics, signer, trust)
        self._reading = False
        self._contest = Contest()
        self._taking: asyncio.Task[Any] | None = None
        # From the start and through each rebalance: a member that is never told its share must not wait for ever.
        self._taking_since_ms: int | None = wall_clock_ms()
        self._error: Exception | None = None
        for topic in (self._owned, self._commands):
            self.app.agent(topic, name=f"own-{topic.get_topic_name()}")(_own)
        self.app.on_partitions_revoked.connect(self._on_revoked)
        self.app.on_before_shutdown.connect(self._on_shutdown)

    async def _on_recovered(self) -> None:
        """Take what was assigned. Faust drops what this raises, and may call it again before it has ended."""
        await self._stop_taking()
        self._taking = asyncio.current_task()
        self._taking_since_ms = wall_clock_ms()
        try:
            await self._take()
        except Exception as e:
            self._error = e
        finally:
            self._taking_since_ms = None

    async def _stop_taking(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None and not taking.done():
            taking.cancel()
            await asyncio.wait([taking])

    async def _take(self) -> None:
        if not self._reading:
            await self._registry.start()
            self._roll_call.start()
            self._reading = True
        instance = self._settings.instance_id
        if instance and self._contest.is_on(self.app.consumer_generation_id, wall_clock_ms()):
            raise ConfigError(
                f"another worker has PARITYGATE_WORKER_INSTANCE_ID {instance} too, and each throws the other out: "
                "give each worker one of its own"
            )
        assigned = self.app.consumer.assignment()
        changelog = self._table.changelog_topic.get_topic_name()
        mine = {tp.partition for tp in assigned if tp.topic == self._owned.get_topic_name()}
        state = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == changelog}
        if mine != state:
            raise RuntimeError(f"partitions {sorted(mine)} and their state {sorted(state)} have different owners")
        await self._keeper.take(sorted(mine), self._membership())
        log.info("owning partitions %s at generation %d", sorted(mine), self.app.consumer_generation_id)
        if any(tp.topic == self._commands.get_topic_name() for tp in assigned):
            self._decider.start()
        else:
            await self._decider.stop()
        self._metrics.owned(self._keeper.partitions)

    def _membership(self) -> Membership:
        """How the coordinator knows us. Faust has no public way to its member id."""
        consumer: Any = self.app.consumer
        coordinator = consumer._thread._ensure_consumer()._coordinator
        return Membership(
            group=self.app.conf.id, generation=self.app.consumer_generation_id, member_id=coordinator.member_id
        )

    async def _on_revoked(self, *_args: Any, **_kwargs: Any) -> None:
        await self._stop_taking()
        self._taking_since_ms = wall_clock_ms()
        await self._decider.stop()
        await self._keeper.release()
        self._metrics.owned(())

    async def _on_shutdown(self, *_args: Any, **_kwargs: Any) -> None:
        await self._stop_taking()
        await self._decider.stop()
        await self._keeper.close()
        await self._roll_call.stop()
        if self._reading:
            await self._registry.stop()

    @property
    def stuck_after_s(self) -> float:
        """How long nothing may move."""
        return self._settings.stuck_after_s

    def failure(self) -> BaseException | None:
        """Why this process must end, if it must: a supervisor restarts it, and a restart is exact."""
        error = self._error or self._keeper.failed() or self._decider.failed()
        now_ms = wall_clock_ms()
        since_ms = self._taking_since_ms
        if since_ms is None:
            since_ms = self._keeper.answered_at_ms if self._keeper.partitions else now_ms
        silent_s = (now_ms - since_ms) / 1000
        if error is None and silent_s > self._settings.stuck_after_s:
            error = BrokerUnavailableError(f"no broker has answered for {silent_s:.0f} s")
        return error


async def _own(stream: Any) -> None:
    """Hold a share of a topic in the group; what it carries is read by the keeper and the decider."""
    async for _ in stream:
        pass


def _bare_app(settings: WorkerSettings) -> faust.App:
    kafka = settings.kafka
    app = faust.App(
        kafka.topic_prefix + settings.app_id,
        broker=[f"kafka://{address.strip()}" for address in kafka.bootstrap.split(",")],
        store="memory://",
        datadir=str(settings.data_dir),
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication_factor,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=max(0.5, settings.session_timeout_s / 10),
        broker_rebalance_timeout=max(10.0, settings.session_timeout_s),
        stream_wait_empty=False,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_linger=0.0,
        # As long as the broker may be silent: what could not be written by then ends the worker.
        producer_request_timeout=settings.stuck_after_s,
        worker_redirect_stdouts=False,
        **_optional(settings),
        **_security(kafka),
    )
    # The setting alone does not keep Faust's web server (0.0.0.0:6066, no authentication) from starting.
    app.boot_strategy.enable_web = False
    return app


def _optional(settings: WorkerSettings) -> dict[str, Any]:
    return {"consumer_group_instance_id": settings.instance_id} if settings.instance_id else {}


def _security(kafka: KafkaSettings) -> dict[str, Any]:
    tls = kafka.security_protocol.endswith("SSL")
    if kafka.security_protocol.startswith("SASL"):
        return {
            "broker_credentials": faust.SASLCredentials(
                username=kafka.sasl_username,
                password=kafka.sasl_password,
                mechanism=kafka.sasl_mechanism,
                # Without a context Faust would speak in the clear, whatever the protocol says.
                ssl_context=ssl_context(kafka) if tls else None,
            )
        }
    return {"broker_credentials": faust.SSLCredentials(context=ssl_context(kafka))} if tls else {}
