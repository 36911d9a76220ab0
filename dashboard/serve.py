"""Serve: run the dashboard until it is told to end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from paritygate.dashboard.app import DashboardSettings, create_app
from paritygate.dashboard.follow import Follower
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import EVERYBODY, Trust


def serve(
    kafka: KafkaSettings,
    settings: DashboardSettings,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None],
    trust: Trust = EVERYBODY,
) -> None:
    """Blocks until SIGTERM or Ctrl-C. ``port`` 0 takes a free one; ``ready`` is told the address.

    ``trust``: whose commands and decisions count.

    :raises ConfigError: the address cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as e:
        listener.close()
        raise ConfigError(f"--host, --port: {host}:{port} cannot be opened: {e.strerror or e}") from None
    listener.listen(256)
    app = create_app(Follower(kafka, trust), settings, lambda: time.time_ns() // 1_000_000)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, server_header=False,
        timeout_keep_alive=30,
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{listener.getsockname()[1]}/")
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Lets the viewers go before it waits for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C."""
        self.config.app.state.let_go()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)
