"""A worker in a process of its own, which tests may end as rudely as they like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from paritygate.schemas.client import KafkaSettings


class WorkerProcess:
    """``paritygate worker`` on a prefix of topics; ended by its own pid, at the latest on leaving the block."""

    def __init__(self, settings: KafkaSettings, folder: Path, name: str = "w1", **extra: str) -> None:
        self._folder = folder
        self._name = name
        self._env = {
            **os.environ,
            "PARITYGATE_BOOTSTRAP": settings.bootstrap,
            "PARITYGATE_TOPIC_PREFIX": settings.topic_prefix,
            "PARITYGATE_WORKER_INSTANCE_ID": name,
            "PARITYGATE_WORKER_DATA_DIR": str(folder / name),
            "PARITYGATE_WORKER_CHECKPOINT_MS": "300",
            "PARITYGATE_WORKER_LOG_LEVEL": "info",
            **{f"PARITYGATE_WORKER_{k.upper()}": v for k, v in extra.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = folder / f"{name}.log"

    def start(self, fault_point: str = "") -> WorkerProcess:
        """Start it; returns at once. ``fault_point``: where it is to kill itself, see ``tests.faults.worker``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        module = ["tests.faults.worker"] if fault_point else ["paritygate.cli.main", "worker"]
        env = self._env | {"FAULT_POINT": fault_point}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *module], env=env, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        """kill -9: no chance to say goodbye."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)

    def terminate(self, timeout_s: float = 60) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def wait_owning(self, timeout_s: float = 150) -> None:
        """Wait until it owns partitions (again)."""
        seen = self.log().count("owning partitions [0")
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.log().count("owning partitions [0") > seen or "owning partitions [0" in self.log():
                return
            assert self.process is not None
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.log()}"
            time.sleep(0.1)
        raise AssertionError(f"the worker owns nothing after {timeout_s} s:\n{self.log()}")

    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def __enter__(self) -> WorkerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.kill()
