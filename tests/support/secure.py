"""A real Kafka that takes clients over TLS with SCRAM passwords, beside a plain listener for the test itself."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paritygate.cli.broker.apache import ApacheKafka, cluster_id
from paritygate.cli.broker.probe import LOOPBACK, free_port

USER, PASSWORD = "paritygate", "pass with $igns"

_SETTINGS = """
listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secure},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.client.auth=none
# Above what a worker takes for the least: it must ask.
group.min.session.timeout.ms=8000
"""


class SecureKafka(ApacheKafka):
    """``bootstrap`` is the plain listener; :meth:`environment` leads a client to the other one."""

    def __init__(self, run_dir: Path, **options: Any) -> None:
        super().__init__(run_dir, **options)
        self.secure_port = free_port()
        self.certificates = run_dir / "certificates"

    def environment(self) -> Mapping[str, str]:
        """What every process of ours reads to connect over TLS with a password."""
        return {
            "PARITYGATE_BOOTSTRAP": f"{LOOPBACK}:{self.secure_port}",
            "PARITYGATE_SECURITY_PROTOCOL": "SASL_SSL",
            "PARITYGATE_SASL_MECHANISM": "SCRAM-SHA-512",
            "PARITYGATE_SASL_USERNAME": USER,
            "PARITYGATE_SASL_PASSWORD": PASSWORD,
            "PARITYGATE_SSL_CA_LOCATION": str(self.certificates / "ca.pem"),
        }

    def _write_settings(self, port: int) -> None:
        if not self.certificates.exists():
            make_certificates(self.certificates)
        super()._write_settings(port)
        path = self.run_dir / "server.properties"
        plain = path.read_text("utf-8")
        controller = plain.split(f"CONTROLLER://{LOOPBACK}:")[1].split("\n")[0]
        extra = _SETTINGS.format(
            host=LOOPBACK,
            port=port,
            secure=self.secure_port,
            controller=controller,
            keystore=self.certificates / "server.pem",
        )
        path.write_text(plain + extra, encoding="utf-8")

    def _format(self) -> None:
        """Format with the user's password in it: there is no broker yet that could be told."""
        self._write_settings(free_port())
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        subprocess.run(
            [
                *self._jvm("-XX:TieredStopAtLevel=1", main="kafka.tools.StorageTool"),
                *("format", "-t", cluster_id(), "-c", str(self.run_dir / "server.properties"), "-S", scram),
            ],
            capture_output=True,
            check=True,
            timeout=120,
        )


def make_certificates(folder: Path) -> None:
    """An authority of this test's own and a server certificate for loopback, by openssl; valid for a day."""
    folder.mkdir(parents=True)
    (folder / "names").write_text(f"subjectAltName=IP:{LOOPBACK},DNS:localhost\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*request, "-x509", "-days", "1", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(*request, "-subj", "/CN=broker", "-keyout", "server.key", "-out", "server.csr")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "1", "-extfile", "names", "-out", "server.crt"),
    )
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())
