"""``paritygate dashboard``: serve the page of every rollout, and the same as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from paritygate import __version__
from paritygate.cli.console import print_line
from paritygate.cli.extras import first_missing
from paritygate.cli.kafka import kafka_settings
from paritygate.cli.options import Bootstrap
from paritygate.cli.said import command_keys, decision_keys
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import Trust

#: What the dashboard needs beyond the base install; the first that is missing is named.
_NEEDED = ("starlette", "uvicorn", "numpy", "jsonschema_rs")
#: Where a page of this machine alone may be asked for.
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def dashboard(
    bootstrap: Bootstrap = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's are open to all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8470,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name under which browsers may ask, beside this machine's; may be repeated."),
    ] = None,
    *,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show payloads as they are, not their types and lengths.")
    ] = False,
) -> None:
    """Serve the page of every rollout until Ctrl-C; it only reads, and asks for no password."""
    missing = first_missing(*_NEEDED)
    if missing is not None:
        raise ConfigError(f'the dashboard needs {missing}: pip install "paritygate[dashboard]"')
    kafka = kafka_settings(bootstrap)
    from paritygate.dashboard.app import DashboardSettings  # noqa: PLC0415
    from paritygate.dashboard.serve import serve  # noqa: PLC0415

    hosts = (*_LOOPBACK, *(allow_host or ()))
    if host not in {*_LOOPBACK, "::1"} and not allow_host:
        hosts = ("*",)
    settings = DashboardSettings(hosts=hosts, show_values=show_values, version=__version__)
    serve(
        kafka,
        settings,
        host=host,
        port=port,
        ready=lambda address: print_line(f"dashboard: {address}"),
        trust=Trust(command_keys(), decision_keys()),
    )
