"""How far the window reports are behind the events, read from the logs themselves.

Law: the worker keeps its positions in its snapshots, not in a consumer group, so the lag is what no window
report covers yet. No report is no lag of 0 but an unknown one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from paritygate.cli.kafka import ANSWER_S, Record, end_offsets, new_consumer, read, unavailable
from paritygate.schemas.errors import PoisonError
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, WINDOWS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.report import WindowReport

#: Enough to find a report of every partition and running rollout; older ones say nothing new.
_NEWEST_REPORTS = 500


def worker_lag(settings: KafkaSettings) -> int | None:
    """Prediction events that no window report covers yet; None where no report covers any partition."""
    ends = {
        (topic.name, partition): end
        for topic in (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW)
        for partition, end in end_offsets(settings, settings.topic(topic.name)).items()
    }
    return uncovered(ends, _newest_reports(settings))


def uncovered(ends: Mapping[tuple[str, int], int], reports: Iterable[WindowReport]) -> int | None:
    """Events before ``ends`` (by table name and partition) beyond what ``reports`` applied. Pure."""
    applied: dict[tuple[str, int], int] = {}
    for report in reports:
        for source in report.sources:
            place = (source.topic, source.partition)
            applied[place] = max(applied.get(place, 0), source.next)
    known = [max(0, end - applied[place]) for place, end in ends.items() if place in applied]
    return sum(known) if known else None


def newest_records(settings: KafkaSettings, topic: str, per_partition: int) -> Iterator[Record]:
    """The last ``per_partition`` records of each partition of ``topic`` (its name on the cluster).

    :raises ConfigError: no such topic.
    :raises BrokerUnavailableError: nobody answered.
    """
    from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

    ends = end_offsets(settings, topic)
    consumer = new_consumer(settings)
    try:
        lows = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ANSWER_S)[0] for p in ends}
    except KafkaException as e:
        unavailable(settings, e)
    finally:
        consumer.close()
    yield from read(settings, topic, start={p: max(lows[p], end - per_partition) for p, end in ends.items()})


def _newest_reports(settings: KafkaSettings) -> Iterator[WindowReport]:
    from paritygate.schemas.codec import decode_report  # noqa: PLC0415

    for record in newest_records(settings, settings.topic(WINDOWS.name), _NEWEST_REPORTS):
        try:
            yield decode_report(record.value)
        except PoisonError:
            continue
