"""What every test may ask for: ``broker`` (a real Kafka, one a session) and ``kafka`` (topics of its own on it).

The broker suite in ``tests/docker`` runs on the Kafka that this machine starts and once more on the container;
where no engine answers the second is skipped with the reason. ``PARITYGATE_TEST_BROKERS=apache,container``
sends every other test through both as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from paritygate.cli.broker import RunningBroker
from tests.support.broker import KINDS, BrokerPool
from tests.support.kafka import KafkaBench

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("faults", derandomize=True, deadline=None, max_examples=1_500)
settings.load_profile("ci")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that uses ``broker`` the kinds it runs on."""
    marks = list(metafunc.definition.iter_markers("parametrize"))
    if "broker" not in metafunc.fixturenames or any("broker" in mark.args[0] for mark in marks):
        return
    suite = metafunc.definition.path.parent == Path(__file__).parent / "docker"
    kinds = KINDS if suite else os.environ.get("PARITYGATE_TEST_BROKERS", "apache").split(",")
    extra = {"container": [pytest.mark.docker]}
    parameters = [pytest.param(kind, marks=[pytest.mark.broker, *extra.get(kind, [])]) for kind in kinds]
    metafunc.parametrize("broker", parameters, indirect=True, scope="session")


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPool]:
    """The brokers of this session, started when the first test asks."""
    pool = BrokerPool(tmp_path_factory.mktemp("broker"))
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, brokers: BrokerPool) -> RunningBroker:
    """A durable broker that tests may fill; who breaks it (``kill``) brings it back (``restart``)."""
    return brokers.get(request.param)


@pytest.fixture
def kafka(broker: RunningBroker, request: pytest.FixtureRequest) -> Iterator[KafkaBench]:
    """Topics of this test's own on the broker."""
    bench = KafkaBench(broker, request.node.name)
    yield bench
    bench.close()
