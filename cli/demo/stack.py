"""What the demo stands on: a broker, the topics, and a worker process. Ended by their own pids."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from paritygate.cli.broker import process
from paritygate.cli.broker.launch import start_broker
from paritygate.cli.broker.running import Say
from paritygate.cli.topics import create_topics
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ParityGateError

_OWNING = "owning partitions [0"
#: A worker that cannot get into its group ends with the reason; the next one usually can.
START_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running broker with topics and a worker that owns its partitions."""

    kafka: KafkaSettings
    kind: str
    folder: Path
    worker_log: Path


@contextmanager
def running_stack(folder: Path, bootstrap: str | None, say: Say, *, with_worker: bool = True) -> Iterator[Stack]:
    """Start what is missing, yield it, end what was started; Ctrl-C included. Blocks until all is ready.

    :raises ParityGateError: the broker or the worker cannot be had; the text says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with start_broker(folder / "broker", bootstrap=bootstrap, fresh=True, say=say) as broker:
        kafka = KafkaSettings.from_mapping(os.environ, broker.bootstrap)
        create_topics(kafka, partitions=4)
        log = folder / "worker.log"
        with _running_worker(kafka, folder, log, say) if with_worker else nullcontext():
            yield Stack(kafka=kafka, kind=broker.kind, folder=folder, worker_log=log)


@contextmanager
def _running_worker(kafka: KafkaSettings, folder: Path, log: Path, say: Say) -> Iterator[None]:
    say("topics are there; starting the worker")
    log.unlink(missing_ok=True)
    started = time.monotonic()
    settings = {
        "PARITYGATE_WORKER_INSTANCE_ID": "demo-1",
        "PARITYGATE_WORKER_DATA_DIR": str(folder / "worker"),
        # A short event time means a short wait: the demo's windows are 250 ms.
        "PARITYGATE_WORKER_FETCH_WAIT_MS": "25",
        "PARITYGATE_WORKER_STUCK_AFTER_S": "30",
        # Its readiness is read from its log.
        "PARITYGATE_WORKER_LOG_LEVEL": "info",
    }
    for attempts_left in reversed(range(START_ATTEMPTS)):
        child = process.spawn(
            [sys.executable, "-m", "paritygate.cli.main", "worker", "--bootstrap", kafka.bootstrap],
            output=log,
            attached=True,
            environ=os.environ | settings,
        )
        born = process.birth(child.pid) or ""
        try:
            if not _owns(child, log) and attempts_left:
                say(f"the worker ended ({_last_line(log)}); starting it again, as a supervisor would")
                continue
            if child.poll() is not None:
                raise ParityGateError(f"the worker ended at once: {_last_line(log)} (its log: {log})")
            say(f"the worker owns its partitions after {time.monotonic() - started:.1f} s")
            yield
            return
        finally:
            process.end(child.pid, born)
            child.wait()


@contextmanager
def running_dashboard(kafka: KafkaSettings, folder: Path, say: Say) -> Iterator[None]:
    """The page of every rollout, in a process of its own; its address is said. Without it the demo goes on."""
    log = folder / "dashboard.log"
    log.unlink(missing_ok=True)
    child = process.spawn(
        [sys.executable, "-m", "paritygate.cli.main", "dashboard", "--bootstrap", kafka.bootstrap, "--port", "0"],
        output=log,
        attached=True,
    )
    born = process.birth(child.pid) or ""
    try:
        address = _address(child, log)
        say(f"dashboard: {address}" if address else f"no dashboard: {_last_line(log)}")
        yield
    finally:
        process.end(child.pid, born)
        child.wait()


def _address(child: subprocess.Popen[bytes], log: Path, timeout_s: float = 90.0) -> str:
    """What the dashboard says it listens on; empty where it ended or says nothing: the demo goes on without it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and child.poll() is None:
        for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
            if line.startswith("dashboard: "):
                return line.removeprefix("dashboard: ")
        time.sleep(0.1)
    return ""


def _owns(child: subprocess.Popen[bytes], log: Path, timeout_s: float = 90.0) -> bool:
    """Wait until the worker owns partitions; False when it ended before.

    :raises ParityGateError: it neither owns nor ends.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if log.exists() and _OWNING in log.read_text(errors="replace"):
            return True
        if child.poll() is not None:
            return False
        time.sleep(0.1)
    raise ParityGateError(f"the worker owns no partition after {timeout_s:.0f} s; its log: {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "no word"
