"""``apache/kafka`` in a container, for the machine that has a Docker engine.

The Kafka container that testcontainers brings knows only another vendor's image, so this is our own. Two listeners:
HOST, advertised as the test reaches it, and INSIDE for containers of the same network. The host port is chosen
before the start and stays, so that a test may kill the broker and bring it back on the same address.
"""

from __future__ import annotations

from docker import errors
from testcontainers.core.container import DockerContainer

from paritygate.cli.broker import RunningBroker
from paritygate.cli.broker.probe import free_port, require_answer
from paritygate.schemas.errors import BrokerUnavailableError

IMAGE = "apache/kafka:4.3.1"
INSIDE_PORT, CONTROLLER_PORT, HOST_PORT = 9092, 9093, 9094
_READY_WITHIN_S = 120.0


def environment(host: str, port: int) -> dict[str, str]:
    """The image's settings where clients on this machine reach it at ``host:port``."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{CONTROLLER_PORT}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
        "KAFKA_LISTENERS": f"INSIDE://:{INSIDE_PORT},CONTROLLER://:{CONTROLLER_PORT},HOST://:{HOST_PORT}",
        "KAFKA_ADVERTISED_LISTENERS": f"INSIDE://localhost:{INSIDE_PORT},HOST://{host}:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT",
        "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "4000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
    }


class ApacheKafkaContainer(DockerContainer):
    """One node in KRaft mode, its HOST listener bound to a free port of the engine's machine."""

    def __init__(self, image: str = IMAGE) -> None:
        super().__init__(image)
        host, port = self.get_docker_client().host(), free_port()
        self.bootstrap = f"{host}:{port}"
        self.with_bind_ports(HOST_PORT, port).with_envs(**environment(host, port))


class ContainerBroker(RunningBroker):
    """The container as the broker suite wants a broker."""

    kind = "container"
    durable = True

    def __init__(self) -> None:
        self._container = ApacheKafkaContainer()
        self.bootstrap = self._container.bootstrap
        self._container.start()

    def stop(self) -> None:
        """Remove the container with its data."""
        self._container.stop()

    def kill(self) -> None:
        """Kill its process; the container's disk stays."""
        self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Start the container's process again on its disk."""
        self._container.get_wrapped_container().start()
        require_answer(self.bootstrap, environ={}, timeout_s=_READY_WITHIN_S)


def start_container() -> RunningBroker:
    """A container that answers.

    :raises BrokerUnavailableError: no engine, no image, or no answer.
    """
    try:
        broker = ContainerBroker()
    except (errors.DockerException, OSError) as error:
        raise BrokerUnavailableError(f"no Docker engine that runs {IMAGE}: {error}") from error
    try:
        require_answer(broker.bootstrap, environ={}, timeout_s=_READY_WITHIN_S)
    except BaseException:
        broker.stop()
        raise
    return broker
