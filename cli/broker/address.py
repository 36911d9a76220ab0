"""Where the broker is: the order of the ways to name one, and the state file of the one we started.

Law: an address that somebody gave wins over one that we remember, and a remembered broker counts only while
the very process that we started lives. Reads environment and files; starts nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from paritygate.cli.broker.process import is_alive
from paritygate.schemas.errors import ConfigError

STATE_FILE = "broker.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """A broker that ``paritygate broker up`` or ``start_broker`` started on this machine.

    ``born`` tells our process from a later one that got the same pid; ``started_at_ms`` is UTC epoch.
    """

    kind: str
    bootstrap: str
    pid: int
    born: str
    started_at_ms: int
    log: str
    durable: bool

    @property
    def alive(self) -> bool:
        """Does the process that we started still run?"""
        return is_alive(self.pid, self.born)


def broker_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of this working directory's broker: ``$PARITYGATE_RUN/broker``, else ``run/broker`` here."""
    return Path(environ.get("PARITYGATE_RUN") or "run").resolve() / "broker"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where downloads are kept: ``$PARITYGATE_CACHE``, else ``$XDG_CACHE_HOME/paritygate``."""
    if own := environ.get("PARITYGATE_CACHE"):
        return Path(own).resolve()
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "paritygate"


def read_state(run_dir: Path) -> BrokerState | None:
    """The state kept in ``run_dir``, or None where there is none.

    :raises ConfigError: the file is there but is not ours to read.
    """
    path = run_dir / STATE_FILE
    try:
        return BrokerState(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): end the broker by hand and delete the file") from error


def write_state(run_dir: Path, state: BrokerState) -> None:
    """Replace the state in one step, so that a reader sees the old or the new, never half of one."""
    path = run_dir / STATE_FILE
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def remove_state(run_dir: Path) -> None:
    """Forget the broker of ``run_dir``; nothing to forget is no error."""
    (run_dir / STATE_FILE).unlink(missing_ok=True)


def resolve_bootstrap(
    bootstrap: str | None = None, *, environ: Mapping[str, str] = os.environ, run_dir: Path | None = None
) -> str:
    """The address to use: ``--bootstrap``, else ``PARITYGATE_BOOTSTRAP``, else the broker we started here.

    Does not ask whether it answers. Starts nothing.

    :raises ConfigError: none of the three names a broker, or ours has ended.
    """
    if given := bootstrap or environ.get("PARITYGATE_BOOTSTRAP"):
        return given
    state = read_state(run_dir or broker_folder(environ))
    if state is None:
        raise ConfigError(
            "no Kafka address: set PARITYGATE_BOOTSTRAP or --bootstrap, or run 'paritygate broker up'"
        )
    if not state.alive:
        raise ConfigError(
            f"the broker at {state.bootstrap} (pid {state.pid}) has ended, its log is {state.log}: "
            "run 'paritygate broker up'"
        )
    return state.bootstrap
