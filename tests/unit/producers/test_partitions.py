from __future__ import annotations

from typing import Any

import pytest

from paritygate.producers.partitions import check_partitions, common_count
from paritygate.producers.publisher import PredictionPublisher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import BrokerUnavailableError, ConfigError
from paritygate.schemas.topics import BULK


class Cluster:
    """Stands for an admin client whose topics have the given partition counts."""

    def __init__(self, counts: dict[str, int]) -> None:
        class Topic:
            def __init__(self, count: int) -> None:
                self.partitions = dict.fromkeys(range(count))

        self.topics = {name: Topic(count) for name, count in counts.items()}

    def list_topics(self, timeout: float) -> Cluster:
        return self


def test_equal_counts_pass() -> None:
    """The count that all agree on is returned."""
    counts = {t.name: 4 for t in BULK} | {"other": 9}

    assert common_count(counts, [t.name for t in BULK]) == 4


def test_another_partition_count_is_refused() -> None:
    """The error names both topics and both counts."""
    counts = {f"p.{t.name}": 4 for t in BULK} | {"p.predictions.shadow.v1": 6}
    settings = KafkaSettings(bootstrap="x", topic_prefix="p.")
    cluster: Any = Cluster(counts)

    with pytest.raises(ConfigError) as e:
        check_partitions(settings, 1.0, lambda _: cluster)

    for word in ("p.predictions.primary.v1 has 4", "p.predictions.shadow.v1 has 6"):
        assert word in str(e.value)


def test_a_missing_topic_is_named_with_its_mend() -> None:
    """Who has not created the topics is told how."""
    with pytest.raises(ConfigError, match=r"topic outcomes\.v1 is not there: .*topics create"):
        common_count({t.name: 4 for t in BULK if t.name != "outcomes.v1"}, [t.name for t in BULK])


def test_an_unreachable_broker_is_named() -> None:
    """No answer within the time given is a recoverable error that names the address."""
    publisher = PredictionPublisher(KafkaSettings(bootstrap="127.0.0.1:1"), instance_id="i")

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1 within 0\.3 s"):
        publisher.check_topics(0.3)
