"""Connect aiokafka's clients: one address, one security, one error where no broker answers."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.helpers import create_ssl_context

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError


async def start_consumer(kafka: KafkaSettings, **options: Any) -> AIOKafkaConsumer:
    """A connected consumer without a group, from the beginning of what it is assigned.

    :raises BrokerUnavailableError: no broker answered.
    """
    consumer = AIOKafkaConsumer(
        **aiokafka_config(kafka), enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    try:
        await consumer.start()
    except BaseException as e:
        await consumer.stop()
        if isinstance(e, KafkaConnectionError):
            raise BrokerUnavailableError(f"no Kafka broker answers at {kafka.bootstrap}") from None
        raise
    return consumer


def aiokafka_config(kafka: KafkaSettings) -> dict[str, Any]:
    """The same address and security for aiokafka's clients."""
    config: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "security_protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        config |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    if kafka.security_protocol.endswith("SSL"):
        config["ssl_context"] = ssl_context(kafka)
    return config


def ssl_context(kafka: KafkaSettings) -> Any:
    """TLS context with host name check; the client's own certificate where one is set."""
    return create_ssl_context(
        cafile=kafka.ssl_ca_location or None,
        certfile=kafka.ssl_certificate_location or None,
        keyfile=kafka.ssl_key_location or None,
    )
