"""Kafka connection settings once, translated for each client library. Pure: reads no environment.

Law: every client of ours gets the same address and the same security, so that a worker cannot read in the
clear what a publisher wrote over TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paritygate.schemas.errors import ConfigError
from paritygate.schemas.topics import PARTITIONER

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Address and security of a cluster; the names follow librdkafka's properties.

    :raises ConfigError: no address, an unknown protocol, or SASL without user and password.
    """

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: str = ""
    ssl_certificate_location: str = ""
    ssl_key_location: str = ""
    topic_prefix: str = ""

    def __post_init__(self) -> None:
        if not self.bootstrap:
            raise ConfigError(
                "no Kafka address: set PARITYGATE_BOOTSTRAP or --bootstrap, or run 'paritygate broker up'"
            )
        if self.security_protocol not in _PROTOCOLS:
            raise ConfigError(
                f"PARITYGATE_SECURITY_PROTOCOL is {self.security_protocol!r}, not one of {', '.join(_PROTOCOLS)}"
            )
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ConfigError("SASL needs PARITYGATE_SASL_USERNAME and PARITYGATE_SASL_PASSWORD")

    @classmethod
    def from_mapping(cls, env: Mapping[str, str], bootstrap: str | None = None) -> KafkaSettings:
        """Settings from ``PARITYGATE_*`` names; an explicit ``bootstrap`` wins over ``PARITYGATE_BOOTSTRAP``."""

        def read(name: str, default: str = "") -> str:
            return env.get(f"PARITYGATE_{name}", default)

        return cls(
            bootstrap=bootstrap or read("BOOTSTRAP"),
            security_protocol=read("SECURITY_PROTOCOL", "PLAINTEXT").upper(),
            sasl_mechanism=read("SASL_MECHANISM", "SCRAM-SHA-512"),
            sasl_username=read("SASL_USERNAME"),
            sasl_password=read("SASL_PASSWORD"),
            ssl_ca_location=read("SSL_CA_LOCATION"),
            ssl_certificate_location=read("SSL_CERTIFICATE_LOCATION"),
            ssl_key_location=read("SSL_KEY_LOCATION"),
            topic_prefix=read("TOPIC_PREFIX"),
        )

    @property
    def what_to_check(self) -> str:
        """What may be wrong where no broker answers: a client that is not let in only sees a closed door."""
        if self.security_protocol == "PLAINTEXT":
            return "is it running? 'paritygate broker up' starts one"
        return (
            f"is it running, and does it take {self.security_protocol} with this user, password and certificate "
            "authority (PARITYGATE_SASL_*, PARITYGATE_SSL_*)?"
        )

    def topic(self, name: str) -> str:
        """The name on the cluster of a topic of the topics table."""
        return self.topic_prefix + name

    def confluent(self, **extra: Any) -> dict[str, Any]:
        """Properties for any confluent-kafka client."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            # A broker that is away is reported by our own messages, not by librdkafka's log lines.
            "log_level": 2,
        }
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password,
            }
        if self.security_protocol.endswith("SSL"):
            named = {
                "ssl.ca.location": self.ssl_ca_location,
                "ssl.certificate.location": self.ssl_certificate_location,
                "ssl.key.location": self.ssl_key_location,
            }
            config |= {k: v for k, v in named.items() if v}
        return config | extra

    def confluent_producer(self, **extra: Any) -> dict[str, Any]:
        """Properties for a confluent-kafka producer: murmur2 partitioning, idempotence, all replicas."""
        return self.confluent(
            **{
                "partitioner": PARTITIONER,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
            },
            **extra,
        )
