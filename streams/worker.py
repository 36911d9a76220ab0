"""Run one worker process: refuse what would idle or lie, then hand over to Faust until a signal comes.

Law: a worker either works or ends with a reason and a non-zero exit code; it never sits in a group without
reading. SIGTERM and SIGINT publish what is closed, checkpoint, and end within 5 s.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from prometheus_client import start_http_server

from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import BULK, TOPICS
from paritygate.streams.app import Spine
from paritygate.streams.fetch import aiokafka_config
from paritygate.streams.metrics import WorkerMetrics
from paritygate.streams.settings import WorkerSettings

log = logging.getLogger(__name__)


async def check_topics(settings: WorkerSettings) -> None:
    """Refuse to start on missing topics or unequal partition counts: the join would lose pairs in silence.

    :raises BrokerUnavailableError: no broker answered.
    :raises ConfigError: names the topics and what to do.
    """
    kafka = settings.kafka
    admin = AIOKafkaAdminClient(**aiokafka_config(kafka), request_timeout_ms=10_000)
    try:
        await admin.start()
        described = await admin.describe_topics([kafka.topic(t.name) for t in TOPICS])
    except KafkaConnectionError:
        raise BrokerUnavailableError(
            f"no Kafka broker answers at {kafka.bootstrap}: is it running? 'paritygate broker up' starts one"
        ) from None
    finally:
        await admin.close()
    counts = {d["topic"]: len(d["partitions"]) for d in described if d["error_code"] == 0}
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


def run_worker(settings: WorkerSettings) -> int:
    """Run until a signal; returns the exit code. Blocks.

    :raises ParityGateError: before anything is started, when it cannot work.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Its information lines repeat each subscription as a table; ours say what matters of them.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    asyncio.run(check_topics(settings))
    metrics = WorkerMetrics()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1", registry=metrics.registry)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app = Spine(settings, metrics).app
    worker = faust.Worker(app, loglevel=settings.log_level, loop=loop, quiet=True, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
        return code or (1 if app.crash_reason is not None else 0)
    return 0
