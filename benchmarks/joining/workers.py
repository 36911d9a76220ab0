"""Worker processes as users run them: ``paritygate worker`` with settings from the environment.

Law: a worker is told nothing of the benchmark; what it does is read from its metrics, as Prometheus would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from joining.stage import Stage
from paritygate.cli.broker.probe import free_port
from paritygate.schemas.metrics import Counter, Gauge

_WITHIN_S = 900.0
_EACH_S = 0.5

Sample = tuple[str, dict[str, str], float]


class Workers:
    """So many workers in one group over the topics of a stage; stopped when the block is left."""

    def __init__(self, stage: Stage, folder: Path, count: int) -> None:
        self._folder = folder
        self._name = f"bench-{time.time_ns():x}"
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = [free_port() for _ in range(count)]
        self.processes = [self._start(stage, number, port) for number, port in enumerate(self._ports)]

    def _start(self, stage: Stage, number: int, port: int) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "PARITYGATE_BOOTSTRAP": stage.settings.bootstrap,
            "PARITYGATE_TOPIC_PREFIX": stage.settings.topic_prefix,
            "PARITYGATE_WORKER_APP_ID": self._name,
            "PARITYGATE_WORKER_INSTANCE_ID": f"w{number}",
            "PARITYGATE_WORKER_PARTITIONS": str(stage.partitions),
            "PARITYGATE_WORKER_DATA_DIR": str(self._folder / f"{self._name}-{number}"),
            "PARITYGATE_WORKER_METRICS_PORT": str(port),
        }
        with (self._folder / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "paritygate.cli.main", "worker"], env=env, stdout=log, stderr=log
            )

    def wait_paired(self, events: int) -> None:
        """Wait until so many events have found their other arm.

        :raises RuntimeError: a worker ended, or they did not for a long time.
        """
        until = time.monotonic() + _WITHIN_S
        while self._sum(str(Counter.PAIRED_EVENTS)) < events:
            self._must_go_on(until, f"the workers did not join all within {_WITHIN_S:g} s")
            time.sleep(_EACH_S)

    def wait_owning(self, partitions: int) -> None:
        """Wait until every partition has an owner.

        :raises RuntimeError: a worker ended, or it takes long.
        """
        until = time.monotonic() + 60
        while self._sum(str(Gauge.OWNED)) < partitions:
            self._must_go_on(until, "the workers own nothing after a minute")
            time.sleep(_EACH_S)

    def _must_go_on(self, until_s: float, otherwise: str) -> None:
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"a worker ended; its log is in {self._folder}")
        if time.monotonic() > until_s:
            raise RuntimeError(f"{otherwise}; the logs are in {self._folder}")

    def stages_s(self) -> dict[str, float]:
        """Seconds by stage of the join's task, over all workers."""
        found: dict[str, float] = {}
        for name, labels, value in self._samples():
            if name == str(Counter.STAGE_SECONDS):
                found[labels["stage"]] = found.get(labels["stage"], 0.0) + value
        return found

    def _sum(self, name: str) -> float:
        return sum(value for found, _, value in self._samples() if found == name)

    def _samples(self) -> Iterator[Sample]:
        for port in self._ports:
            try:
                with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    text = answer.read().decode()
            except OSError:
                continue  # it has not come up yet
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    yield sample.name, sample.labels, sample.value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
