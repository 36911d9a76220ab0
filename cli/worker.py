"""``paritygate worker``: run the Faust worker that joins, measures and decides."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from paritygate.cli.extras import first_missing
from paritygate.cli.kafka import kafka_settings
from paritygate.cli.options import Bootstrap
from paritygate.schemas.errors import ConfigError

#: What the worker needs beyond the base install; the first that is missing is named.
_NEEDED = ("faust", "aiokafka", "pyarrow", "numpy")


def worker(
    bootstrap: Bootstrap = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics here, on 127.0.0.1.")
    ] = None,
) -> None:
    """Run one worker until SIGTERM or Ctrl-C; start more to share the partitions.

    Everything else is set by PARITYGATE_WORKER_* in the environment.
    """
    missing = first_missing(*_NEEDED)
    if missing is not None:
        raise ConfigError(f'the worker needs {missing}: pip install "paritygate[stream]"')
    kafka = kafka_settings(bootstrap)
    from paritygate.schemas.confluent_ids import CONFLUENT_IDS, parse_confluent_ids  # noqa: PLC0415
    from paritygate.streams.settings import WorkerSettings  # noqa: PLC0415
    from paritygate.streams.worker import run_worker  # noqa: PLC0415

    environment = dict(os.environ)
    if metrics_port is not None:
        environment["PARITYGATE_WORKER_METRICS_PORT"] = str(metrics_port)
    confluent_ids = parse_confluent_ids(environment.get(CONFLUENT_IDS, ""))
    raise typer.Exit(run_worker(WorkerSettings.from_mapping(kafka, environment), confluent_ids))
