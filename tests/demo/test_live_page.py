"""The page beside a real broker, a real worker and the demo's service, in a real browser; each of them may die."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paritygate.cli.broker.probe import free_port
from paritygate.schemas.client import KafkaSettings
from tests.support.browser import Page, browser, needs_chromium
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench
from tests.support.traffic import make_traffic, plan_for
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.demo, pytest.mark.timeout(600), needs_chromium]


class Site:
    """``paritygate dashboard`` in a process of its own, always at the same address."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env, self._port = env, free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "paritygate.cli.main", "dashboard", "--port", str(self._port)]
        self._process = subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self.address in self._process.stdout.readline()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            assert self._process.stdout is not None
            self._process.stdout.close()


@contextmanager
def site(env: dict[str, str]) -> Iterator[Site]:
    running = Site(env)
    running.start()
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path / "profile") as page:
        yield page


def feed(settings: KafkaSettings, seed: int) -> None:
    send(
        settings, make_traffic("held", requests=500, start_ms=now_ms() + 2_000, span_ms=2_000, seed=seed).records()
    )


def environment(settings: KafkaSettings) -> dict[str, str]:
    return {
        **os.environ,
        "PARITYGATE_BOOTSTRAP": settings.bootstrap,
        "PARITYGATE_TOPIC_PREFIX": settings.topic_prefix,
    }


def test_from_the_list_to_the_difference_that_rolled_it_back(kafka: KafkaBench, tmp_path: Path, tab: Page) -> None:
    """The ``segment`` scenario: where it is worse, and what the two models really answered there."""
    settings = kafka.settings("page")
    kafka.create_topics(settings)
    command = [
        sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "segment", "--no-worker",
        "--no-dashboard", "--folder", str(tmp_path / "demo"),
    ]  # fmt: skip
    env = environment(settings)
    with WorkerProcess(settings, tmp_path) as worker, site(env) as page:
        worker.wait_owning()
        tab.show(1440).open(page.address)
        assert "Rollouts" in tab.text
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr

        tab.wait("document.querySelector(\"a[href^='/rollouts/']\") !== null")  # it came to the open list
        tab.click("a[href^='/rollouts/']")
        tab.wait("document.body.innerText.includes('rolled back')")
        assert "low_cost" in tab.text
        assert "EWR" in tab.text
        tab.click("a[href*='/segment?'][href*='low_cost']")
        assert "Stable and candidate side by side" in tab.text
        tab.click("a[href*='/example?']")
        assert "Both answers" in tab.text
        assert "low_cost" in tab.text
        assert "as primary" in tab.text
        assert "as shadow" in tab.text
        assert tab.complaints == []


def test_the_page_says_what_died_and_goes_on_by_itself(kafka: KafkaBench, tmp_path: Path, tab: Page) -> None:
    """Worker, then the page itself, by kill -9: what is stale is said, and the open tab recovers both times."""
    settings, plan = kafka.settings("page"), plan_for("held")
    kafka.create_topics(settings)
    kafka.produce(settings.topic("rollouts.v1"), [start_command(plan)])
    with WorkerProcess(settings, tmp_path) as worker, site(environment(settings)) as page:
        worker.wait_owning()
        send(
            settings, make_traffic("held", requests=500, start_ms=now_ms() + 2_000, span_ms=2_000, seed=1).records()
        )
        tab.show(1440).open(f"{page.address}/rollouts/held")
        tab.run("window.stayed = true")
        tab.wait("document.body.innerText.includes('Stable and candidate side by side')")
        worker.kill()
        tab.wait("document.body.innerText.includes('The numbers are stale')")
        worker.start().wait_owning()
        send(
            settings, make_traffic("held", requests=500, start_ms=now_ms() + 2_000, span_ms=2_000, seed=2).records()
        )
        tab.wait("!document.body.innerText.includes('The numbers are stale')")
        assert tab.run("window.stayed") is True

        page.kill()
        tab.wait("document.getElementById('connection').textContent.includes('stale')")
        page.start()
        tab.wait("document.getElementById('connection').textContent === 'live'")
        assert "held" in tab.text
