"""Lookup: what is read only when somebody asks: windows of a rollout that is over, payloads of one pair.

Law: bounded in offsets and in time, and read without a group; what is past its retention is not found, never an
error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.regression import Sample, Samples
from paritygate.rollouts.review import new_ledger
from paritygate.rollouts.trend import Trend
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_prediction, decode_report
from paritygate.schemas.errors import BrokerUnavailableError, PoisonError
from paritygate.schemas.prediction import Arm, PredictionEvent
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, WINDOWS

#: Clocks of producers and brokers may differ so much.
CLOCKS_MS: Final = 60_000
#: How long a pair is looked for, and how long the windows of a rollout may take.
PAIR_S: Final = 5.0
WINDOWS_S: Final = 120.0
_ANSWER_S: Final = 5.0


def evidence(
    settings: KafkaSettings, plan: RolloutPlan, first: int, following: int
) -> tuple[Ledger, Samples, Trend]:
    """What the reports of a rollout at the offsets [first, following) of ``windows.v1`` add up to.

    :raises BrokerUnavailableError: no broker answers.
    """
    ledger, samples, trend = new_ledger(plan), Samples(), Trend(plan.join.window_ms)
    prefix = f"{plan.rollout}|".encode()
    if first >= following:
        return ledger, samples, trend
    for message in _read(settings, [(WINDOWS.name, 0, first)], WINDOWS_S):
        offset = message.offset() or 0
        if offset < following and _bytes(message.key()).startswith(prefix):
            try:
                report = decode_report(_bytes(message.value()))
            except PoisonError:
                continue
            taken = ledger.take(report)
            samples.take(report)
            if taken is not None:
                trend.add(report.window_start_ms, taken.change)
        if offset + 1 >= following:
            break
    return ledger, samples, trend


def answers(settings: KafkaSettings, rollout_id: str, sample: Sample) -> Mapping[Arm, PredictionEvent]:
    """The answers of both arms to a sampled request, as far as they are found.

    :raises BrokerUnavailableError: no broker answers.
    """
    found: dict[Arm, PredictionEvent] = {}
    key = sample.request_id.encode()
    since_ms = max(0, sample.window_start_ms - CLOCKS_MS)
    names = (PREDICTIONS_PRIMARY.name, PREDICTIONS_SHADOW.name)
    for message in _read(settings, _places(settings, names, sample.partition, since_ms), PAIR_S):
        if message.key() is None or _bytes(message.key()) != key:
            continue
        try:
            event = decode_prediction(_bytes(message.value()))
        except PoisonError:
            continue
        if event.rollout_id == rollout_id:
            found.setdefault(event.arm, event)  # the first one counts, as in the join
        if len(found) == len(Arm):
            break
    return found


def _places(
    settings: KafkaSettings, names: tuple[str, ...], partition: int, since_ms: int
) -> list[tuple[str, int, int]]:
    """(topic, partition, first offset of ``since_ms`` or later) where there is one."""
    consumer = _consumer(settings)
    try:
        asked = [TopicPartition(settings.topic(name), partition, since_ms) for name in names]
        found = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        return [(name, partition, at.offset) for name, at in zip(names, found, strict=True) if at.offset >= 0]
    except KafkaException as e:
        raise _unavailable(settings, e) from None
    finally:
        consumer.close()


def _read(settings: KafkaSettings, places: list[tuple[str, int, int]], limit_s: float) -> Iterator[Message]:
    """Records from these places on, to the ends that the logs have when they are reached."""
    if not places:
        return
    consumer = _consumer(settings)
    try:
        consumer.assign([TopicPartition(settings.topic(name), p, offset) for name, p, offset in places])
        open_places, until, heard = len(places), time.monotonic() + limit_s, time.monotonic()
        while open_places and time.monotonic() < until:
            for message in consumer.consume(500, 0.2):
                error = message.error()
                heard = time.monotonic()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_places -= 1
            if time.monotonic() - heard > _ANSWER_S:
                raise BrokerUnavailableError(f"no Kafka broker answers at {settings.bootstrap}")
    except KafkaException as e:
        raise _unavailable(settings, e) from None
    finally:
        consumer.close()


def _consumer(settings: KafkaSettings) -> Consumer:
    return Consumer(
        settings.confluent(
            **{
                "group.id": "paritygate.dashboard",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
            }
        )
    )


def _unavailable(settings: KafkaSettings, error: KafkaException) -> BrokerUnavailableError:
    why = error.args[0].str() if error.args else str(error)
    return BrokerUnavailableError(f"no Kafka broker answers at {settings.bootstrap} ({why})")


def _bytes(value: bytes | str | None) -> bytes:
    return b"" if value is None else value.encode() if isinstance(value, str) else value
