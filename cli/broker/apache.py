"""Apache Kafka as one process: KRaft, one node, loopback, its data in a folder of ours.

Law: data that were formatted once are never formatted again, so records outlive every start. Two JVM starts:
``kafka.tools.StorageTool format`` once (0.9 s), ``kafka.Kafka`` (answers after about 3 s).
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import ClassVar

from paritygate.cli.broker.address import cache_folder
from paritygate.cli.broker.jars import ensure_jars, find_java, kafka_version, packaged
from paritygate.cli.broker.probe import LOOPBACK, free_port, is_free
from paritygate.cli.broker.running import LocalBroker, Say, silent
from paritygate.schemas.errors import ConfigError

HEAP_MB = 768
_ERROR = re.compile(r"(?:\S+ (?:ERROR|FATAL) +\S+ |Exception in thread \S+ |Error: )(.*)")
#: What log4j prints below an error: the exception, then its stack.
_EXCEPTION = re.compile(r"[\w.$]+(?:Exception|Error): (.*)")


class ApacheKafka(LocalBroker):
    """A real Kafka in ``run_dir``: ``data/``, ``broker.log`` (kept), ``server.properties``.

    :param heap_mb: the most heap the JVM may take; 768 MB does for the demo and the tests.
    """

    kind = "apache"
    durable = True
    name: ClassVar[str] = f"Apache Kafka {kafka_version()}"

    def __init__(
        self,
        run_dir: Path,
        *,
        attached: bool = True,
        port: int | None = None,
        say: Say = silent,
        heap_mb: int = HEAP_MB,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__(run_dir.resolve(), attached=attached, port=port, say=say)
        self.heap_mb, self.environ = heap_mb, environ
        self.log_path = self.run_dir / "broker.log"

    @property
    def data(self) -> Path:
        """The folder that holds every record."""
        return self.run_dir / "data"

    @property
    def logs(self) -> Sequence[Path]:
        """Kafka's own log, then what the JVM printed."""
        return (self.run_dir / "broker.log", self.run_dir / "broker.out")

    def prepare(self) -> None:
        """Find Java, get the jars, format new data. :raises ConfigError: one of them failed."""
        self._java = find_java(self.environ)
        self._jars = ensure_jars(cache_folder(self.environ), environ=self.environ, say=self.say)
        self._keep_last_port()
        scratch = self.run_dir / "tmp"  # native libraries are unpacked here and not in /tmp
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        (self.run_dir / "log4j2.properties").write_text(packaged("log4j2.properties"), encoding="utf-8")
        if not (self.data / "meta.properties").exists():
            self._format()

    def _keep_last_port(self) -> None:
        """Clients that know the last address find the broker again, where nobody else took the port."""
        settings = self.run_dir / "server.properties"
        if self._wanted_port is None and settings.exists():
            match = re.search(
                rf"^listeners=PLAINTEXT://{LOOPBACK}:(\d+)", settings.read_text("utf-8"), re.MULTILINE
            )
            if match and is_free(int(match[1])):
                self._preferred_port = int(match[1])

    def _format(self) -> None:
        """Write the storage's identity once."""
        began = time.monotonic()
        self._write_settings(free_port())
        told = subprocess.run(  # noqa: S603
            [
                *self._jvm("-XX:TieredStopAtLevel=1", main="kafka.tools.StorageTool"),
                *("format", "-t", cluster_id(), "-c", str(self.run_dir / "server.properties")),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if told.returncode:
            raise ConfigError(
                f"{self.data} could not be formatted: {self.why(told.stdout + told.stderr)}; see {self.logs[0]}"
            )
        self.say(f"formatted {self.data} in {time.monotonic() - began:.1f} s")

    def command(self, port: int) -> Sequence[str]:
        """The JVM with Kafka's main class and settings for this port."""
        self._write_settings(port)
        heap = ("-Xms256m", f"-Xmx{self.heap_mb}m", "-XX:+ExitOnOutOfMemoryError")
        return (*self._jvm(*heap, main="kafka.Kafka"), str(self.run_dir / "server.properties"))

    def _jvm(self, *options: str, main: str) -> tuple[str, ...]:
        return (
            self._java,
            *options,
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={self.run_dir / 'tmp'}",
            f"-Dlog4j2.configurationFile={(self.run_dir / 'log4j2.properties').as_uri()}",
            f"-Dparitygate.broker.log={self.logs[0]}",
            "-cp",
            f"{self._jars}/*",
            main,
        )

    def _write_settings(self, port: int) -> None:
        controller_port = free_port()
        while controller_port == port:
            controller_port = free_port()
        text = Template(packaged("server.properties")).substitute(
            port=port, controller_port=controller_port, data=self.data
        )
        (self.run_dir / "server.properties").write_text(text, encoding="utf-8")

    def why(self, told: str) -> str:
        """The first error of Kafka's log or of the JVM, without timestamp and class names, and the mend."""
        lines = told.splitlines()
        for number, line in enumerate(lines):
            if match := _ERROR.match(line):
                following = lines[number + 1] if number + 1 < len(lines) else ""
                cause = _EXCEPTION.match(following)
                reason = (cause or match)[1].strip()
                return f"{reason} (are its data broken? move {self.data} away or say --fresh)"
        return super().why(told)


def cluster_id() -> str:
    """Sixteen random bytes as Kafka writes a Uuid: URL-safe base64 without padding, no leading dash."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass  # it would be read as an option
    return text
