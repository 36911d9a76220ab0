"""Choose a broker: the one that was named, a real Kafka of our own, or the in-memory one.

Law: what was asked for is never silently replaced. Only where nothing was asked for may the in-memory broker
stand in, and then one line says that it is in-memory and why.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from paritygate.cli.broker.address import cache_folder, read_state
from paritygate.cli.broker.apache import ApacheKafka
from paritygate.cli.broker.jars import ensure_jars, find_java
from paritygate.cli.broker.memory import MemoryBroker, find_binary
from paritygate.cli.broker.probe import require_answer
from paritygate.cli.broker.running import FoundBroker, RunningBroker, Say, silent
from paritygate.schemas.errors import ConfigError


class Way(StrEnum):
    """The kinds of broker that we can start ourselves."""

    APACHE = "apache"
    MEMORY = "memory"


def start_broker(
    run_dir: Path,
    *,
    prefer: Way | str | None = None,
    bootstrap: str | None = None,
    environ: Mapping[str, str] = os.environ,
    attached: bool = True,
    port: int | None = None,
    fresh: bool = False,
    say: Say = silent,
) -> RunningBroker:
    """A broker that answers; use it as a context manager, leaving it stops what this call started.

    The order: ``bootstrap`` or ``PARITYGATE_BOOTSTRAP`` where ``prefer`` is None; a broker that already runs in
    ``run_dir``; Apache Kafka where Java 17 and Maven (or its cache) are there; the in-memory broker.

    :param prefer: ``"apache"`` or ``"memory"`` asks for that kind and for no other.
    :param attached: it must not outlive this process; call from a thread that lives as long as it is needed.
    :param fresh: delete the data of an earlier run in ``run_dir`` first.
    :raises ConfigError: no way is open, or the chosen one failed; the text says what to mend.
    :raises BrokerUnavailableError: the named broker, or ours, does not answer.
    """
    if prefer is not None and bootstrap:
        raise ConfigError(f"{bootstrap} was named and a new {prefer} broker was asked for: say one of the two")
    if prefer is None and (named := bootstrap or environ.get("PARITYGATE_BOOTSTRAP")):
        require_answer(named, environ=environ)
        say(f"using the broker at {named}")
        return FoundBroker(named)
    state = read_state(run_dir)
    if state is not None and state.alive:
        if prefer is not None and state.kind != prefer:
            raise ConfigError(
                f"{run_dir} runs a broker of kind {state.kind}, not {prefer}: 'paritygate broker down' first"
            )
        say(f"using the {state.kind} broker that runs at {state.bootstrap} (pid {state.pid})")
        return FoundBroker.from_state(state)
    if _choose(prefer, environ, say) is Way.MEMORY:
        return MemoryBroker(run_dir, attached=attached, port=port, say=say).start()
    if fresh:
        shutil.rmtree(run_dir / "data", ignore_errors=True)
    return ApacheKafka(run_dir, attached=attached, port=port, say=say, environ=environ).start()


def _choose(prefer: Way | str | None, environ: Mapping[str, str], say: Say) -> Way:
    if prefer is not None:
        return Way(prefer)
    try:
        find_java(environ)
        ensure_jars(cache_folder(environ), environ=environ, say=say)
    except ConfigError as reason:
        try:
            find_binary()
        except ConfigError as missing:
            raise ConfigError(f"no broker can be started: {reason}; {missing}") from reason
        say(f"in-memory broker, for looking only: nothing is kept when it ends ({reason})")
        return Way.MEMORY
    return Way.APACHE
