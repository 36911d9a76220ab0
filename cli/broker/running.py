"""A broker that runs, whoever started it: its address, and how to stop it, break it and bring it back.

Law: leaving the ``with`` block stops what entering it started and nothing else; a broker that was found is
left alone. Every start either ends with a broker that answers or with one sentence that names the mend.
"""

from __future__ import annotations

import abc
import atexit
import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from paritygate.cli.broker import address, process
from paritygate.cli.broker.probe import LOOPBACK, answers, free_port, is_free, port_open
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError

Say = Callable[[str], None]
_READY_WITHIN_S = 120.0
_PORT_TRIES = 3
_TAIL_BYTES = 64 * 1024


def silent(_text: str) -> None:
    """Say nothing."""


class RunningBroker(abc.ABC):
    """A broker with an address. ``durable`` says whether records outlive its process."""

    kind: str
    bootstrap: str = ""
    durable: bool
    pid: int | None = None
    log_path: Path | None = None

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it if we started it; stopping twice is no error. Blocks until it is gone."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End it as a crash would. :raises ConfigError: it is not ours to break."""

    @abc.abstractmethod
    def restart(self) -> None:
        """Bring it back on the same address and data. :raises ConfigError: it is not ours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class FoundBroker(RunningBroker):
    """A broker that was there before us: named by the user, or started by ``paritygate broker up``."""

    def __init__(self, bootstrap: str, *, kind: str = "external", durable: bool = True) -> None:
        self.bootstrap, self.kind, self.durable = bootstrap, kind, durable

    @classmethod
    def from_state(cls, state: address.BrokerState) -> FoundBroker:
        """The broker that the state file tells of."""
        found = cls(state.bootstrap, kind=state.kind, durable=state.durable)
        found.pid, found.log_path = state.pid, Path(state.log)
        return found

    def stop(self) -> None:
        """Leave it alone."""

    def kill(self) -> None:
        """Refuse."""
        raise ConfigError(f"the broker at {self.bootstrap} was not started here and is not killed")

    def restart(self) -> None:
        """Refuse."""
        raise ConfigError(f"the broker at {self.bootstrap} was not started here and is not restarted")


class LocalBroker(RunningBroker):
    """A broker process of our own on loopback, with its folder. Subclasses say which program and which log.

    :param attached: the process must not outlive us (tests, the demo); otherwise it stays (``broker up``).
    :param port: where to listen; None takes the port of the last run if it is free, else any free one.
    """

    name: ClassVar[str]
    #: How the program words that its port is taken.
    port_taken: ClassVar[re.Pattern[str]] = re.compile(r"[Aa]ddress (already )?in use")

    def __init__(self, run_dir: Path, *, attached: bool = True, port: int | None = None, say: Say = silent) -> None:
        self.run_dir, self.attached, self.say = run_dir, attached, say
        self._wanted_port = port
        self._preferred_port: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._born = ""

    # What a program must tell us ------------------------------------------------------------------

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make everything that outlives a start: downloads, format, folders."""

    @abc.abstractmethod
    def command(self, port: int) -> Sequence[str]:
        """The command line that serves ``port``."""

    @property
    @abc.abstractmethod
    def logs(self) -> Sequence[Path]:
        """The files that say why it ended, best first."""

    # Life -----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it and wait until it answers. Blocks up to two minutes, longer while it downloads.

        :raises ConfigError: a tool, a port or the data cannot be used.
        :raises BrokerUnavailableError: it started but did not answer.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(self.run_dir):
            state = address.read_state(self.run_dir)
            if state is not None and state.alive:
                raise ConfigError(f"a broker (pid {state.pid}) runs already in {self.run_dir}: stop it first")
            self.prepare()
            self._start_on(self._choose_port())
        return self

    def _choose_port(self) -> int:
        if self._wanted_port is None:
            return self._preferred_port or free_port()
        if not is_free(self._wanted_port):
            raise ConfigError(
                f"port {self._wanted_port} is taken: choose another with --port, or none for a free one"
            )
        return self._wanted_port

    def _start_on(self, port: int) -> None:
        for attempt in range(_PORT_TRIES):
            try:
                self._start_once(port)
            except _PortTakenError:
                # Somebody took the port between our look and the broker's.
                if self._wanted_port is not None or attempt == _PORT_TRIES - 1:
                    raise
                port = free_port()
            else:
                return

    def _start_once(self, port: int) -> None:
        began = time.monotonic()
        command = self.command(port)
        output = self.logs[-1]
        marks = {path: path.stat().st_size if path.exists() else 0 for path in self.logs}
        self._child = process.spawn(command, output=output, attached=self.attached)
        self.pid = self._child.pid
        self._born = process.birth(self.pid) or ""
        if self.attached:
            atexit.register(self.stop)
        self.bootstrap = f"{LOOPBACK}:{port}"
        try:
            self._wait_until_ready(port, began, marks)
        except BaseException:
            self.kill()
            raise
        address.write_state(
            self.run_dir,
            address.BrokerState(
                kind=self.kind,
                bootstrap=self.bootstrap,
                pid=self.pid,
                born=self._born,
                started_at_ms=time.time_ns() // 1_000_000,
                log=str(self.logs[0]),
                durable=self.durable,
            ),
        )
        self.say(
            f"{self.name} answers at {self.bootstrap} after {time.monotonic() - began:.1f} s "
            f"(pid {self.pid}, log {self.logs[0]})"
        )

    def _wait_until_ready(self, port: int, began: float, marks: dict[Path, int]) -> None:
        assert self._child is not None
        settings = KafkaSettings(bootstrap=self.bootstrap)
        while time.monotonic() - began < _READY_WITHIN_S:
            if self._child.poll() is not None:
                raise self._failure(port, "\n".join(_tail(path, marks[path]) for path in self.logs))
            if port_open(port) and answers(settings, timeout_s=2.0):
                return
            time.sleep(0.05)
        raise BrokerUnavailableError(
            f"{self.name} did not answer at {self.bootstrap} within {_READY_WITHIN_S:g} s: see {self.logs[0]}"
        )

    def _failure(self, port: int, told: str) -> ConfigError:
        if self.port_taken.search(told):
            return _PortTakenError(f"port {port} was taken while {self.name} started: run the command again")
        return ConfigError(f"{self.name} ended while it started: {self.why(told)}; see {self.logs[0]}")

    def why(self, told: str) -> str:
        """The line of the log that says why the program ended."""
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """Stop it in order, kill it after 10 s. Its data stay."""
        if self.pid is not None and self._born:
            process.end(self.pid, self._born)
        self._forget()

    def kill(self) -> None:
        """End it as a crash would; its data stay as the crash leaves them."""
        if self.pid is not None and self._born:
            process.kill(self.pid, self._born)
        self._forget()

    def restart(self) -> None:
        """Stop it if it runs, then start it on the same address and data."""
        port = int(self.bootstrap.rpartition(":")[2])
        self.stop()
        self._wanted_port = port
        self.start()

    def _forget(self) -> None:
        if self.pid is None:
            return
        atexit.unregister(self.stop)
        if self._child is not None:
            self._child.wait()
        self._child, self.pid, self._born = None, None, ""
        address.remove_state(self.run_dir)


class _PortTakenError(ConfigError):
    """The port was free when we looked and taken when the broker did."""


@contextlib.contextmanager
def _one_at_a_time(run_dir: Path) -> Iterator[None]:
    """Hold the folder while a broker starts in it, so that two starts cannot mix their files."""
    import fcntl  # noqa: PLC0415 - no such thing on Windows, where the other commands still work

    with (run_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tail(path: Path, offset: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(offset, path.stat().st_size - _TAIL_BYTES) if path.stat().st_size >= offset else 0)
        return file.read().decode(errors="replace")
