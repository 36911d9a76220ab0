"""``paritygate notify``: tell people what became of a rollout, by webhook, from a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from paritygate.cli.console import note
from paritygate.cli.kafka import kafka_settings, require_topics
from paritygate.cli.options import Bootstrap
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.topics import DECISIONS

CONFIG = Annotated[Path, typer.Argument(metavar="NOTIFY.YAML", help="Whom to tell, and how.", show_default=False)]


def notify(
    config_file: CONFIG,
    bootstrap: Bootstrap = None,
    test: Annotated[bool, typer.Option("--test", help="Send each target one message now, and end.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics here, on 127.0.0.1.")
    ] = None,
) -> None:
    """Tell each target what changes in any rollout, until SIGTERM or Ctrl-C. Run one; it only reads."""
    from paritygate.cli.notify.config import read_targets  # noqa: PLC0415  (pydantic costs 40 ms)

    targets = read_targets(config_file, os.environ)
    if test:
        from paritygate.cli.notify.trial import try_targets  # noqa: PLC0415

        raise typer.Exit(0 if try_targets(targets) else 1)
    settings = kafka_settings(bootstrap)
    require_topics(settings, DECISIONS.name)
    from paritygate.cli.notify.courier import Courier  # noqa: PLC0415
    from paritygate.schemas.metrics import Metrics  # noqa: PLC0415

    metrics, stop = Metrics(), threading.Event()
    if metrics_port is not None:
        _serve(metrics, metrics_port)

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    couriers = [
        threading.Thread(target=Courier(settings, target, stop, note, metrics).run, name=target.name)
        for target in targets
    ]
    try:
        for courier in couriers:
            courier.start()
        # An event that is waited for without end does not let signals in on every system.
        while not stop.wait(0.5) and any(courier.is_alive() for courier in couriers):
            pass
    finally:
        stop.set()
        for courier in couriers:
            courier.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(metrics: object, port: int) -> None:
    from prometheus_client import start_http_server  # noqa: PLC0415

    try:
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)  # type: ignore[attr-defined]
    except OSError as e:
        raise ConfigError(f"metrics cannot be served on 127.0.0.1:{port} ({e.strerror or e})") from None
