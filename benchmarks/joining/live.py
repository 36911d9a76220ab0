"""Latency while keeping up: traffic comes at its own pace, and the clock says when what was published.

Law: both ends are times of the log. A window's report is late by the time from the window's end to the report
that holds all of its pairs; the window cannot close before the join has waited as long as its plan says. A decision
is late by the time from the broker's append of the event that caused it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from joining import ours
from joining.feeder import play
from joining.figures import Run
from joining.stage import Stage
from joining.traffic import Traffic, Truth
from joining.workers import Workers
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_report, encode
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ARMS, ROLES, Arm, PredictionEvent, Status
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import AUDIT, PLATFORM, WINDOWS

#: Rollouts that are ended by one out-of-memory event each, while the traffic goes on.
HARD = 10
#: What is left out at both ends: the first windows wait for the start, when a dozen rollouts become known at
#: once, the last for the silence to be believed.
_EDGE_MS = 3_000
_LEAD_MS = 12_000

HARD_PLAN_YAML = """
rollout: hard-{number}
service: hard-{number}
baseline: {{version: "1"}}
candidate: {{version: "2"}}
owner: benchmark
rollback_condition: one out-of-memory event of the candidate
stages:
  - {{name: shadow, weight: 0, minimum_seconds: 0, minimum_pairs: 1000000000}}
  - {{name: "50", weight: 50}}
  - {{name: "100", weight: 100}}
promotion_gates:
  gpu_oom_events: {{maximum: 0}}
"""


def measure(bootstrap: str, name: str, folder: Path, traffic: Traffic, partitions: int) -> dict[str, Any]:
    """Play the traffic against one worker; ``traffic.start_ms`` is set here."""
    plan = RolloutPlan.from_yaml(ours.PLAN_YAML + ours.NO_CONTRACT)
    hard = [RolloutPlan.from_yaml(HARD_PLAN_YAML.format(number=n)) for n in range(HARD)]
    settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=f"{name}.")
    stage = Stage(settings=settings, partitions=partitions, traffic=traffic, truth=Truth(), fed_s=0.0)
    stage.clear_outputs([plan, *hard])
    try:
        with Workers(stage, folder, 1) as running, ProcessPoolExecutor(1) as pool:
            running.wait_owning(partitions)
            begins_at_ms = time.time_ns() // 1_000_000 + _LEAD_MS
            traffic = replace(traffic, start_ms=begins_at_ms)
            playing = pool.submit(play, bootstrap, stage.topics, partitions, traffic, begins_at_ms)
            for chunk in traffic.chunks():
                stage.truth.add(chunk)
            _break(stage, begins_at_ms, traffic.span_ms)
            feeder_late_ms = playing.result()
            running.wait_paired(2 * traffic.pairs)
            reports = ours.wait_closed(stage)
        run = Run(pairs=traffic.pairs, wrong=ours.difference(reports, stage))
        waits = {"lateness_ms": plan.join.lateness_ms, "grace_ms": plan.join.grace_ms}
        return {
            "pairs_per_s": traffic.per_s,
            "pairs": traffic.pairs,
            **waits,
            "feeder_late_ms": feeder_late_ms,
            "report_after_window_end_ms": _quantiles(_report_waits(reports, traffic)),
            "beyond_lateness_and_grace_ms": _quantiles(_report_waits(reports, traffic) - sum(waits.values())),
            "hard_event_to_report_ms": _quantiles(_hard_waits(stage, _early_reports(stage))),
            "hard_event_to_decision_ms": _quantiles(_hard_waits(stage, _rollbacks(stage))),
            **({"correct": False, "wrong": run.wrong} if run.wrong else {"correct": True}),
        }
    finally:
        stage.drop()


def _break(stage: Stage, begins_at_ms: int, span_ms: int) -> None:
    """One out-of-memory event for each of the hard rollouts, spread over the traffic but for its edges."""
    producer = Producer(stage.settings.confluent_producer(**{"linger.ms": 0}))
    time.sleep(max(0.0, begins_at_ms / 1000 - time.time()))
    for number in range(HARD):
        _answer(producer, stage, f"hard-{number}")
    for number in range(HARD):
        due_ms = begins_at_ms + _EDGE_MS + (span_ms - 2 * _EDGE_MS) * (number + 1) // (HARD + 1)
        time.sleep(max(0.0, due_ms / 1000 - time.time()))
        event = PlatformEvent(
            rollout_id=f"hard-{number}",
            arm=Arm.CANDIDATE,
            model_version="2",
            instance_id=f"pod-{number}",
            event_at_ms=time.time_ns() // 1_000_000,
            running_ms=1000,
            gpu_ooms=1,
        )
        producer.produce(stage.settings.topic(PLATFORM.name), key=event.instance_id, value=encode(event))
        assert producer.flush(30) == 0


def _answer(producer: Producer, stage: Stage, rollout: str) -> None:
    """One request that both arms answer: a rollout of which nobody has heard cannot fail."""
    for arm, role, topic in zip(ARMS, ROLES, stage.topics, strict=True):
        event = PredictionEvent(
            request_id=f"{rollout}-request",
            rollout_id=rollout,
            arm=arm,
            role=role,
            event_at_ms=time.time_ns() // 1_000_000,
            latency_ms=10.0,
            status=Status.OK,
            model_version="1",
            output='{"prediction":"yes","confidence":0.5,"model_version":"1"}',
        )
        producer.produce(topic, key=event.request_id, value=encode(event))
    assert producer.flush(30) == 0


def _report_waits(reports: Sequence[tuple[int, WindowReport]], traffic: Traffic) -> np.ndarray[Any, Any]:
    """Milliseconds from the end of each window to the report that stands, for every partition."""
    standing = ours.newest(reports)
    written = {(r.partition, r.window_start_ms, r.revision): at_ms for at_ms, r in reports}
    first, last = traffic.start_ms + _EDGE_MS, traffic.start_ms + traffic.span_ms - _EDGE_MS
    return np.array([
        written[partition, start_ms, report.revision] - report.window_end_ms
        for (partition, start_ms), report in standing.items()
        if first <= start_ms and report.window_end_ms <= last
    ])  # fmt: skip


def _early_reports(stage: Stage) -> dict[str, int]:
    """When the first early report of each hard rollout was appended, by the rollout's number."""
    told: dict[str, int] = {}
    for message in _read(stage, WINDOWS.name):
        report = decode_report(message.value())
        if report.is_early:
            told.setdefault(report.rollout_id.removeprefix("hard-"), message.timestamp()[1])
    return told


def _rollbacks(stage: Stage) -> dict[str, int]:
    """When the rollback of each hard rollout was appended, by the rollout's number."""
    decided: dict[str, int] = {}
    for message in _read(stage, AUDIT.name):
        decision = GateDecision.from_bytes(message.value() or b"")
        if decision.action is Action.ROLLBACK and decision.rollout_id.startswith("hard-"):
            decided.setdefault(decision.rollout_id.removeprefix("hard-"), message.timestamp()[1])
    return decided


def _hard_waits(stage: Stage, until: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """Milliseconds from the append of each out-of-memory event to what it caused."""
    appended = {
        (message.key() or b"").decode().removeprefix("pod-"): message.timestamp()[1]
        for message in _read(stage, PLATFORM.name)
    }
    return np.array([until[number] - appended[number] for number in appended if number in until])


def _read(stage: Stage, name: str) -> list[Message]:
    topic = stage.settings.topic(name)
    consumer = Consumer(stage.settings.confluent(**{"group.id": "bench-reader", "enable.auto.commit": False}))
    found: list[Message] = []
    try:
        for partition in sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions):
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            consumer.assign([TopicPartition(topic, partition, 0)])
            got = 0
            while got < end:
                batch = consumer.consume(500, timeout=5)
                got += len(batch)
                found += batch
        return found
    finally:
        consumer.close()


def _quantiles(values: np.ndarray[Any, Any]) -> dict[str, int]:
    """Median, 99th percentile and worst, of so many."""
    if not len(values):
        return {"count": 0}
    return {
        "count": len(values),
        "p50": round(float(np.quantile(values, 0.5))),
        "p99": round(float(np.quantile(values, 0.99))),
        "max": round(float(values.max())),
    }
