"""The Kafka that we start ourselves: its folder, its data, its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paritygate.cli.broker import RunningBroker, process, start_broker
from paritygate.cli.broker.address import read_state
from paritygate.cli.broker.apache import ApacheKafka
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.topics import DECISIONS
from tests.support.broker import BrokerPool
from tests.support.kafka import KafkaBench


@pytest.fixture(scope="module", autouse=True)
def _possible(brokers: BrokerPool) -> None:
    """Skip where no Kafka can be started, or where one was named and none is to be started."""
    if brokers.get("apache").kind != "apache":
        pytest.skip("PARITYGATE_BOOTSTRAP names a broker: none is started")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A broker's folder; whatever still runs in it afterwards is ended."""
    yield tmp_path / "broker"
    state = read_state(tmp_path / "broker")
    if state is not None:
        process.kill(state.pid, state.born)


def _start(folder: Path, *, fresh: bool = False) -> RunningBroker:
    return start_broker(folder, prefer="apache", fresh=fresh)


def test_data_and_address_outlive_the_process_until_fresh_is_said(folder: Path) -> None:
    """A second start serves the records of the first at its address; ``fresh`` starts from nothing."""
    with _start(folder) as first:
        bench = KafkaBench(first, "kept")
        settings = bench.settings()
        bench.create_topics(settings, topics=(DECISIONS,))
        name = settings.topic(DECISIONS.name)
        bench.produce(name, [("rollout", b"decision")])
        address, pid = first.bootstrap, first.pid
        with pytest.raises(ConfigError, match="runs already"):
            ApacheKafka(folder).start()

    assert pid is not None
    assert process.birth(pid) is None
    with _start(folder) as second:
        assert second.bootstrap == address
        assert [r.value for r in KafkaBench(second, "kept").read(name)] == [b"decision"]
    with _start(folder, fresh=True) as third:
        assert name not in KafkaBench(third, "fresh").admin.list_topics(timeout=10).topics


def test_broken_data_are_one_clear_line(folder: Path) -> None:
    """Data that Kafka cannot read end the start with its reason and the mend; no process stays."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "meta.properties").write_text("garbage")

    with pytest.raises(ConfigError, match=r"ended while it started: .*move .*/data away or say --fresh"):
        _start(folder)

    assert read_state(folder) is None
