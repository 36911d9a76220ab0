"""The verbs ``paritygate broker up | down | status``.

Law: data go to standard output (``--json`` for programs), progress to standard error. Each verb may be said
twice: ``up`` leaves a running broker alone, ``down`` with nothing to stop is no error.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from paritygate.cli.broker import process
from paritygate.cli.broker.address import broker_folder, read_state, remove_state
from paritygate.cli.broker.launch import Way, start_broker
from paritygate.cli.broker.probe import answers
from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.options import Bootstrap, Json
from paritygate.schemas.client import KafkaSettings

broker_app = typer.Typer(no_args_is_help=True, help="Start, stop or look at the local Kafka broker.")


def _print(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(data)
        return
    width = max(map(len, data))
    for name, value in data.items():
        print_line(f"{name:<{width}}  {'-' if value is None else value}")


@broker_app.command()
def up(
    bootstrap: Bootstrap = None,
    kind: Annotated[Way | None, typer.Option(help="Ask for this kind; without it the best one there is.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Listen here; without it any free port.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the data of earlier runs first.")] = False,
    as_json: Json = False,
) -> None:
    """Start a broker on this machine, or check the one that was named, and wait until it answers."""
    broker = start_broker(
        broker_folder(), prefer=kind, bootstrap=bootstrap, attached=False, port=port, fresh=fresh, say=note
    )
    data = {
        "bootstrap": broker.bootstrap,
        "kind": broker.kind,
        "durable": broker.durable,
        "pid": broker.pid,
        "log": str(broker.log_path) if broker.log_path else None,
    }
    _print(data, as_json=as_json)


@broker_app.command()
def down(as_json: Json = False) -> None:
    """Stop the broker that ``up`` started here; its data and its log stay."""
    folder = broker_folder()
    state = read_state(folder)
    ended = "gone"
    if state is not None:
        began = time.monotonic()
        ended = process.end(state.pid, state.born)
        remove_state(folder)
        note(f"{state.kind} broker (pid {state.pid}) {ended} after {time.monotonic() - began:.1f} s")
    else:
        note(f"no broker was started in {folder}")
    if as_json:
        _print({"ended": ended, "pid": state.pid if state else None}, as_json=True)


@broker_app.command()
def status(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """Say which broker would be used and whether it answers; exit code 1 where it does not."""
    data = describe(broker_folder(), bootstrap or os.environ.get("PARITYGATE_BOOTSTRAP"))
    _print(data, as_json=as_json)
    raise typer.Exit(0 if data["answers"] else 1)


def describe(folder: Path, bootstrap: str | None) -> dict[str, Any]:
    """What ``status`` prints: the address, who started it, whether it answers."""
    state = None if bootstrap else read_state(folder)
    if bootstrap:
        known: dict[str, Any] = {"kind": "external", "bootstrap": bootstrap}
    elif state is not None:
        known = {k: v for k, v in asdict(state).items() if k != "born"}
        known["running"] = state.alive
        known["uptime_ms"] = time.time_ns() // 1_000_000 - state.started_at_ms if state.alive else None
    else:
        known = {"kind": None, "bootstrap": None}
    address = known["bootstrap"]
    reachable = bool(address) and answers(KafkaSettings.from_mapping(os.environ, address), timeout_s=3.0)
    return {**known, "answers": reachable}
