"""Check that the topics that are joined agree on their partition count.

Law: two events of one request meet only if key, partitioner and partition count are the same in both
topics; a cluster where they differ is refused at start, before one pair is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import BULK


def common_count(counts: Mapping[str, int], needed: Sequence[str]) -> int:
    """The one partition count of the ``needed`` topics. Pure.

    :raises ConfigError: a topic is missing, or two topics have different counts; the text names both.
    """
    missing = [name for name in needed if name not in counts]
    if missing:
        raise ConfigError(f"topic {missing[0]} is not there: create it with 'paritygate topics create'")
    first = needed[0]
    for other in needed[1:]:
        if counts[other] != counts[first]:
            raise ConfigError(
                f"{first} has {counts[first]} partitions but {other} has {counts[other]}: pairs would be lost; "
                f"give both the same count"
            )
    return counts[first]


def check_partitions(
    settings: KafkaSettings,
    timeout_s: float,
    admin: Callable[[dict[str, Any]], AdminClient] = AdminClient,
) -> int:
    """Ask the cluster for its topics and return the one partition count of those that are joined. Blocks.

    :raises ConfigError: librdkafka refuses the settings, or :func:`common_count` refuses the topics.
    :raises BrokerUnavailableError: no broker answered within ``timeout_s`` seconds.
    """
    try:
        client = admin(settings.confluent())
    except (KafkaException, TypeError, ValueError) as e:
        raise ConfigError(f"the Kafka client refuses its settings: {e}") from None
    try:
        found = client.list_topics(timeout=timeout_s).topics
    except KafkaException:
        raise BrokerUnavailableError(
            f"no Kafka broker answered at {settings.bootstrap} within {timeout_s:g} s: "
            f"check the address, or start one with 'paritygate broker up'"
        ) from None
    return common_count(
        {name: len(t.partitions) for name, t in found.items()}, [settings.topic(t.name) for t in BULK]
    )
