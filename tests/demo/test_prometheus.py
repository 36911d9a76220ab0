"""Every panel and rule on a real Prometheus that scrapes a real worker and the demo's service."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paritygate.cli.broker.probe import free_port
from tests.support.kafka import KafkaBench
from tests.support.prometheus import DEPLOY, needs_prometheus, prometheus
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.demo, pytest.mark.timeout(600), needs_prometheus]

GRAFANA = runpy.run_path(str(DEPLOY / "grafana" / "build.py"))


def test_every_panel_shows_something_of_a_rollout(kafka: KafkaBench, tmp_path: Path) -> None:
    """While a scenario runs each expression has a series, each rule is evaluated, and both jobs are up."""
    settings = kafka.settings("prometheus")
    kafka.create_topics(settings)
    ports = {"paritygate-worker": free_port(), "paritygate-demo": free_port()}
    env = {
        **os.environ,
        "PARITYGATE_BOOTSTRAP": settings.bootstrap,
        "PARITYGATE_TOPIC_PREFIX": settings.topic_prefix,
    }
    command = [
        sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "canary-only", "--no-worker",
        "--no-dashboard", "--folder", str(tmp_path / "demo"), "--metrics-port", str(ports["paritygate-demo"]),
    ]  # fmt: skip
    with (
        WorkerProcess(settings, tmp_path, metrics_port=str(ports["paritygate-worker"])) as worker,
        prometheus(tmp_path, ports) as server,
    ):
        worker.wait_owning()
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        time.sleep(2)  # a last scrape, and a look of the rules at it
        empty = [expr for expr in GRAFANA["expressions"]() if not server.ever(expr)]
        rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
        up = {series["metric"]["job"]: max(v for _, v in series["values"]) for series in server.ever("up")}

    assert empty == []
    assert rules
    assert {r["name"]: r.get("lastError", "") for r in rules if r["health"] != "ok"} == {}
    assert up == dict.fromkeys(ports, "1")
