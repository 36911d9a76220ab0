"""One topic may carry every framing at once, so that teams migrate without a flag day."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.prediction import Role
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, WINDOWS, dead_letter_topic
from tests.broker.test_exactness import IDLE_AFTER_MS, start_rollout
from tests.support.batch_model import difference, recompute, streamed
from tests.support.kafka import KafkaBench
from tests.support.traffic import make_traffic, plan_for
from tests.support.worker import WorkerProcess


def test_avro_confluent_and_json_in_one_topic_are_joined_alike(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single-object Avro, Confluent framing and JSON give the same pairs; an undeclared id is a dead letter."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    plan = plan_for("framings")
    start_rollout(kafka, settings, plan)
    monkeypatch.setenv("PARITYGATE_CONFLUENT_IDS", "7=prediction_event.v1")
    with WorkerProcess(settings, tmp_path, idle_after_ms=IDLE_AFTER_MS) as worker:
        worker.wait_owning()
        events = make_traffic(
            plan.rollout, requests=300, start_ms=time.time_ns() // 1_000_000 + 3_000, span_ms=1_000
        ).predictions
        lost = replace(events[0], request_id="unknown-id")
        for topic, role in ((PREDICTIONS_PRIMARY, Role.PRIMARY), (PREDICTIONS_SHADOW, Role.SHADOW)):
            framed = []
            for i, event in enumerate(e for e in events if e.role is role):
                avro = encode(event)
                forms = (avro, b"\x00" + (7).to_bytes(4, "big") + avro[10:], orjson.dumps(asdict(event)))
                framed.append((event.request_id, forms[i % 3]))
            kafka.produce(settings.topic(topic.name), framed)
        foreign = b"\x00" + (8).to_bytes(4, "big") + encode(lost)[10:]
        kafka.produce(settings.topic(PREDICTIONS_PRIMARY.name), [(lost.request_id, foreign)])

        want = recompute(events, [], [], plan.join_settings())
        deadline = time.monotonic() + 150
        while True:
            got = streamed([decode_report(r.value) for r in kafka.read(settings.topic(WINDOWS.name))])
            if difference(got, want) == "":
                break
            assert time.monotonic() < deadline, difference(got, want) + worker.log()
            time.sleep(0.5)

    buried = kafka.read(settings.topic(dead_letter_topic(PREDICTIONS_PRIMARY).name))
    assert [r.key for r in buried] == [b"unknown-id"]
