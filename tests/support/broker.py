"""Brokers for tests: one of each kind a session, started when the first test asks for it.

Law: none outlives the session, not even a killed one (the process is attached, see ``cli/broker/process.py``).
A kind that this machine cannot run skips its tests with the reason.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paritygate.cli.broker import RunningBroker, start_broker
from paritygate.schemas.errors import ParityGateError
from tests.support.container import start_container

KINDS = ("apache", "container")


class BrokerPool:
    """At most one running broker a kind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, RunningBroker] = {}
        self._why_not: dict[str, str] = {}

    def get(self, kind: str) -> RunningBroker:
        """The broker of this kind; skips the test where it cannot be had."""
        if kind not in KINDS:
            pytest.fail(f"{kind!r} is no kind of broker: {', '.join(KINDS)}")
        if kind in self._why_not:
            pytest.skip(self._why_not[kind])
        if kind not in self._running:
            start = self._apache if kind == "apache" else start_container
            try:
                self._running[kind] = start()
            except ParityGateError as error:
                self._why_not[kind] = f"no {kind} broker: {error}"
                pytest.skip(self._why_not[kind])
        return self._running[kind]

    def _apache(self) -> RunningBroker:
        """A named broker, else a real Kafka of our own; an in-memory one would not do."""
        named = os.environ.get("PARITYGATE_BOOTSTRAP")
        return start_broker(self._folder, prefer=None if named else "apache")

    def close(self) -> None:
        """Stop all that run."""
        for broker in self._running.values():
            broker.stop()
        self._running.clear()
