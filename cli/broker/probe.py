"""Ask whether a broker answers, and find ports for one of our own.

Law: "ready" means that the admin client got the cluster's metadata, not that a port is open. Every wait has
an end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from random import SystemRandom

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError

LOOPBACK = "127.0.0.1"
#: Linux lends ports from 32768 on to clients, others from 49152 on.
_OURS = 20_000, 32_768
_LUCK = SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on now, another at each call; somebody may take it before we do.

    It lies below those that systems lend to clients: while a broker is away, one of the many connections that look
    for it must not be given the broker's own port.
    """
    for _ in range(1_000):
        port = _LUCK.randrange(*_OURS)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        lent: int = probe.getsockname()[1]
    return lent


def is_free(port: int) -> bool:
    """Could a server listen on this loopback port now?"""
    with socket.socket() as probe:
        # Connections of an earlier broker may linger in TIME_WAIT; Java sets this too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(settings: KafkaSettings, *, timeout_s: float = 5.0) -> bool:
    """Did the cluster give its metadata within ``timeout_s``? Blocks at most that long."""
    # Both are slow to import, and most commands never ask.
    from confluent_kafka import KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    until = time.monotonic() + timeout_s
    admin = AdminClient(settings.confluent(**{"log_level": 0, "socket.connection.setup.timeout.ms": 2000}))
    while (left_s := until - time.monotonic()) > 0:
        try:
            return bool(admin.list_topics(timeout=min(left_s, 2.0)).brokers)
        except KafkaException:
            admin.poll(0)
    return False


def port_open(port: int) -> bool:
    """Does anybody listen on this loopback port?"""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0


def require_answer(bootstrap: str, *, environ: Mapping[str, str] = os.environ, timeout_s: float = 5.0) -> None:
    """Check a broker that somebody named, with the security settings of the environment.

    :raises BrokerUnavailableError: no answer within ``timeout_s``.
    """
    if not answers(KafkaSettings.from_mapping(environ, bootstrap), timeout_s=timeout_s):
        raise BrokerUnavailableError(
            f"no Kafka broker answers at {bootstrap} within {timeout_s:g} s: "
            "check the address (PARITYGATE_BOOTSTRAP or --bootstrap), the network and PARITYGATE_SECURITY_PROTOCOL"
        )
