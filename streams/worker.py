"""Run one worker process: refuse what would idle or lie, then hand over to Faust until a signal comes.

Law: a worker either works or ends with a reason and a non-zero exit code; it never sits in a group without
reading. SIGTERM and SIGINT publish what is closed, checkpoint, and end within 5 s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError
from prometheus_client import start_http_server

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import ConfluentIds
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import BULK, TOPICS
from paritygate.streams.app import Spine, state_topic
from paritygate.streams.connect import aiokafka_config
from paritygate.streams.log_lines import described, start_logging
from paritygate.streams.memory import give_back_start, keep_freed_memory, relax_collector
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.settings import WorkerSettings
from paritygate.streams.warm import warm_up

log = logging.getLogger(__name__)

_SESSION_LIMITS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")
#: How long a broker may take to describe the topics.
ANSWER_WITHIN_S = 10.0
#: How often it is looked at whether all goes well.
LOOK_EVERY_S = 0.5
#: How long a stop may take.
STOP_WITHIN_S = 5.0


async def check_cluster(settings: WorkerSettings) -> None:
    """Refuse to start where the join would lose pairs in silence, or the worker would idle for ever.

    Missing topics, unequal partition counts, a session timeout that the brokers do not take.

    :raises BrokerUnavailableError: no broker answered.
    :raises ConfigError: names the topics and what to do.
    """
    kafka = settings.kafka
    try:
        # No client waits for longer than this altogether, also where something accepts and never answers.
        async with asyncio.timeout(ANSWER_WITHIN_S):
            counts, limits_ms = await _look(kafka, [*(kafka.topic(t.name) for t in TOPICS), state_topic(settings)])
    except (KafkaConnectionError, TimeoutError, OSError):
        raise BrokerUnavailableError(
            f"no Kafka broker answers at {kafka.bootstrap}: {kafka.what_to_check}"
        ) from None
    except (KafkaError, ValueError) as e:
        raise ConfigError(f"the broker at {kafka.bootstrap} cannot be used: {described(e)}") from None
    check_counts(settings, counts)
    check_session(settings, limits_ms)


async def _look(kafka: KafkaSettings, names: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Partition counts of the topics that are there, and the brokers' limits of a session where they are told."""
    admin = AIOKafkaAdminClient(**aiokafka_config(kafka), request_timeout_ms=int(ANSWER_WITHIN_S * 1000))
    try:
        await admin.start()
        described_topics = await admin.describe_topics(names)
        limits_ms = await _session_limits_ms(admin)
    finally:
        await admin.close()
    return {d["topic"]: len(d["partitions"]) for d in described_topics if d["error_code"] == 0}, limits_ms


async def _session_limits_ms(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """What any of the brokers sets; empty where we may not ask: then the watchdog finds it out."""
    try:
        node = (await admin.describe_cluster())["brokers"][0]
        asked = [ConfigResource(ConfigResourceType.BROKER, str(node["node_id"]), dict.fromkeys(_SESSION_LIMITS))]
        (answer,) = await admin.describe_configs(asked)
        return {entry[0]: int(entry[1]) for r in answer.resources for entry in r[4] if entry[0] in _SESSION_LIMITS}
    except (KafkaError, LookupError, ValueError, TypeError) as e:
        log.debug("the brokers do not tell their session limits: %s", described(e))
        return {}


def check_session(settings: WorkerSettings, limits_ms: Mapping[str, int]) -> None:
    """Refuse a session timeout that the brokers refuse: Faust would try to join for ever and say nothing.

    :raises ConfigError: names the setting and the broker's limit.
    """
    lowest, highest = (limits_ms.get(name) for name in _SESSION_LIMITS)
    session_ms = settings.session_timeout_s * 1000
    for limit_ms, name, is_refused in (
        (lowest, _SESSION_LIMITS[0], lowest is not None and session_ms < lowest),
        (highest, _SESSION_LIMITS[1], highest is not None and session_ms > highest),
    ):
        if is_refused:
            raise ConfigError(
                f"PARITYGATE_WORKER_SESSION_TIMEOUT_S is {settings.session_timeout_s:g}, but the brokers' {name} "
                f"is {limit_ms}: the worker would never join its group"
            )


def check_counts(settings: WorkerSettings, counts: Mapping[str, int]) -> None:
    """Refuse partition counts (by topic, as on the cluster) with which pairs, order or snapshots would be lost.

    :raises ConfigError: names the topics, their counts and what to do.
    """
    kafka, state = settings.kafka, state_topic(settings)
    missing = [kafka.topic(t.name) for t in TOPICS if kafka.topic(t.name) not in counts]
    if missing:
        raise ConfigError(f"topics are missing: {', '.join(missing)}; make them with 'paritygate topics create'")
    bulk = {kafka.topic(t.name): counts[kafka.topic(t.name)] for t in BULK}
    if set(bulk.values()) != {settings.partitions}:
        listed = ", ".join(f"{name} has {count}" for name, count in bulk.items())
        raise ConfigError(
            f"the joined topics must all have {settings.partitions} partitions (PARITYGATE_WORKER_PARTITIONS), "
            f"but {listed}; a key would land on different partitions and never meet its pair"
        )
    for topic in TOPICS:
        name = kafka.topic(topic.name)
        if topic.partitions is not None and counts[name] != topic.partitions:
            raise ConfigError(
                f"{name} has {counts[name]} partitions, not {topic.partitions}: its order is what decides, "
                "and across partitions there is none; make it anew"
            )
    if counts.get(state, settings.partitions) != settings.partitions:
        raise ConfigError(
            f"{state}, which holds the worker's snapshots, has {counts[state]} partitions, not "
            f"{settings.partitions}: use another PARITYGATE_WORKER_APP_ID with the new topics"
        )


def run_worker(settings: WorkerSettings, confluent_ids: ConfluentIds | None = None) -> int:
    """Run until a signal; returns the exit code. Blocks.

    :param confluent_ids: what the schema ids of events in Confluent's wire format stand for.

    :raises ParityGateError: before anything is started, when it cannot work.
    """
    start_logging(settings.log_level)
    asyncio.run(check_cluster(settings))
    warm_up()
    metrics = WorkerMetrics()
    _serve_metrics(settings, metrics)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(
            f"PARITYGATE_WORKER_DATA_DIR {settings.data_dir} cannot be made: {e.strerror or e}"
        ) from None
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Process(Spine(settings, metrics, confluent_ids), loop)
    try:
        relax_collector()
        keep_freed_memory()
        give_back_start()
        worker.execute_from_commandline()
    except SystemExit as e:
        return worker.say_end(e.code if isinstance(e.code, int) else 1)
    return worker.say_end(0)


class Process(faust.Worker):
    """Faust's worker as one process of ours: no terminal art, no logging of its own, and it ends when it must."""

    def __init__(self, spine: Spine, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(spine.app, loop=loop, quiet=True, redirect_stdouts=False, override_logging=False)
        self.spinner = None  # it writes escape codes, also to files
        self._spine = spine
        self._ended = threading.Event()
        self._code: int | None = None
        self._failure: BaseException | None = None
        self._watch: asyncio.Task[None] | None = None
        self._looked_at_s = time.monotonic()
        self._stuck_after_s = spine.stuck_after_s

    @property
    def reason(self) -> BaseException | None:
        """What it failed of, if it did."""
        return self._failure or self.app.crash_reason or self.crash_reason

    async def on_first_start(self) -> None:
        """Watch from the beginning: Faust starts its timers only when all has gone well once."""
        await super().on_first_start()
        self._watch = asyncio.create_task(self._watch_over(), name="watch")
        threading.Thread(target=self._watch_the_loop, name="hang", daemon=True).start()

    async def _watch_over(self) -> None:
        while self._failure is None:
            self._looked_at_s = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            self._failure = self._spine.failure()
        os.kill(os.getpid(), signal.SIGTERM)

    def _watch_the_loop(self) -> None:
        """End a process whose event loop hangs: Faust's heartbeats go on, and the group would wait for ever."""
        while not self._ended.wait(LOOK_EVERY_S):
            silent_s = time.monotonic() - self._looked_at_s
            if self._code is None and self._failure is None and silent_s > self._stuck_after_s:
                log.error("the worker ends: it has done one thing for %.0f s and nothing else", silent_s)
                os._exit(1)

    async def stop(self) -> None:
        """Stop in order, for at most ``STOP_WITHIN_S``; after it the process ends as it is."""
        threading.Thread(target=self._end_anyway, name="end", daemon=True).start()
        await super().stop()

    def say_end(self, code: int) -> int:
        """Say why it ends; the exit code, which is not 0 where it failed."""
        if self._code is None:
            self._code = code or (1 if self.reason is not None else 0)
            if self.reason is not None:
                log.error("the worker ends: %s", described(self.reason))
            else:
                log.info("stopped by a signal")
        # A thread of Faust that still waits for the broker would keep the process: then it is ended below.
        if not any(
            t.is_alive() and not t.daemon for t in threading.enumerate() if t is not threading.main_thread()
        ):
            self._ended.set()
        return self._code

    def _end_anyway(self) -> None:
        if self._ended.wait(STOP_WITHIN_S):
            return
        # A broker that is away holds up what Faust does to part from its group. A crash costs nothing here.
        if self._code is None:
            log.warning("the broker is away: ends without a goodbye after %g s", STOP_WITHIN_S)
        os._exit(self.say_end(0))


def _serve_metrics(settings: WorkerSettings, metrics: WorkerMetrics) -> None:
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as e:
        raise ConfigError(
            f"metrics cannot be served on 127.0.0.1:{settings.metrics_port} ({e.strerror or e}): "
            "choose another PARITYGATE_WORKER_METRICS_PORT, or 0 for none"
        ) from None
