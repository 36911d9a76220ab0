"""Three real Kafka brokers on loopback: node 1 also is the controller, nodes 2 and 3 may be killed and stopped.

Law: every topic of ours has a replica on each, so that the death of one moves its leaders and loses nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from paritygate.cli.broker.apache import ApacheKafka, cluster_id
from paritygate.cli.broker.probe import LOOPBACK, free_port
from paritygate.cli.broker.running import RunningBroker
from paritygate.schemas.client import KafkaSettings

_SETTINGS = """
node.id={node}
process.roles={roles}
controller.quorum.voters=1@{host}:{controller}
listeners={listeners}
advertised.listeners=PLAINTEXT://{host}:{port}
default.replication.factor=3
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
share.coordinator.state.topic.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
"""


class Node(ApacheKafka):
    """One broker of a cluster."""

    def __init__(self, run_dir: Path, *, node: int, cluster: str, controller: int, **options: Any) -> None:
        super().__init__(run_dir, heap_mb=384, **options)
        self._node, self._cluster, self._controller = node, cluster, controller

    def _write_settings(self, port: int) -> None:
        super()._write_settings(port)
        path = self.run_dir / "server.properties"
        plain = f"PLAINTEXT://{LOOPBACK}:{port}"
        leads = self._node == 1
        extra = _SETTINGS.format(
            node=self._node,
            roles="broker,controller" if leads else "broker",
            host=LOOPBACK,
            controller=self._controller,
            listeners=f"{plain},CONTROLLER://{LOOPBACK}:{self._controller}" if leads else plain,
            port=port,
        )
        path.write_text(path.read_text("utf-8") + extra, encoding="utf-8")

    def _format(self) -> None:
        self._write_settings(free_port())
        subprocess.run(
            [
                *self._jvm("-XX:TieredStopAtLevel=1", main="kafka.tools.StorageTool"),
                *("format", "-t", self._cluster, "-c", str(self.run_dir / "server.properties")),
            ],
            capture_output=True,
            check=True,
            timeout=120,
        )

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)


class Cluster(RunningBroker):
    """Three nodes behind one address list."""

    kind = "apache"
    durable = True

    def __init__(self, run_dir: Path) -> None:
        cluster, controller = cluster_id(), free_port()
        self.nodes = [Node(run_dir / f"n{n}", node=n, cluster=cluster, controller=controller) for n in (1, 2, 3)]

    def start(self) -> Cluster:
        """Start all of them, the controller first."""
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.stop()
            raise
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)
        return self

    def stop(self) -> None:
        """Stop all of them, the controller last."""
        for node in reversed(self.nodes):
            node.stop()

    def kill(self) -> None:
        """Kill all of them."""
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """Start all of them again."""
        for node in self.nodes:
            node.restart()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def leaders(self, settings: KafkaSettings, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Node that leads each partition, as a node that lives tells."""
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        known = AdminClient(settings.confluent()).list_topics(timeout=60).topics
        return {(t, p): part.leader for t in topics for p, part in known[t].partitions.items()}
