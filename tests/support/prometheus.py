"""A real Prometheus that scrapes processes of a test, with the rules and jobs of ``deploy/``."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from paritygate.cli.broker.probe import free_port
from tests.support.tree import ROOT

DEPLOY = ROOT / "deploy"
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on this machine")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    port: int
    began_s: float

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer of the HTTP API."""
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def ever(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression had at any second since the start."""
        found: list[dict[str, Any]] = self.get(
            "query_range", query=expression, start=self.began_s, end=time.time(), step=1
        )["result"]
        return found


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int]) -> Iterator[Prometheus]:
    """Scrape every second what ``deploy/prometheus.yml`` names, each job at the port given here."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    command = [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    with urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
                        break
                except OSError:
                    said = (folder / "prometheus.log").read_text()
                    assert server.poll() is None, said
                    assert time.monotonic() < until, said
                    time.sleep(0.1)
            yield Prometheus(port, time.time())
        finally:
            server.terminate()
            server.wait(60)
