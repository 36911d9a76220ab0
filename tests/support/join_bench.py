"""Join bench: logs in memory, and a caller that drives a ``PartitionJoin`` over them as the worker does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.settings import JoinSettings
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import OUTCOMES, PLATFORM, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW

PRIMARY_TOPIC = PREDICTIONS_PRIMARY.name
SHADOW_TOPIC = PREDICTIONS_SHADOW.name
OUTCOMES_TOPIC = OUTCOMES.name
PLATFORM_TOPIC = PLATFORM.name
TOPICS = (PRIMARY_TOPIC, SHADOW_TOPIC, OUTCOMES_TOPIC, PLATFORM_TOPIC)

#: What may lie at an offset besides a record.
GAP = "gap"
POISON = "poison"
Entry = tuple[int, Any]


def prediction(request: int | str, arm: Arm, event_at_ms: int, **changes: Any) -> PredictionEvent:
    """A good answer; the baseline is primary and the candidate shadow unless said otherwise."""
    label = changes.pop("answer", "yes")
    values: dict[str, Any] = {
        "request_id": f"r{request}" if isinstance(request, int) else request,
        "rollout_id": "roll",
        "arm": arm,
        "role": Role.PRIMARY if arm is Arm.BASELINE else Role.SHADOW,
        "event_at_ms": event_at_ms,
        "latency_ms": 10.0,
        "status": Status.OK,
        "model_version": arm.value,
        "label": label,
        "confidence": 0.5,
        "output": json.dumps({"prediction": label, "confidence": 0.5, "model_version": arm.value}),
        "endpoint": "/score",
        "segments": {"geography": "EWR"},
    }
    return PredictionEvent(**{**values, **changes})


class JoinBench:
    """Four logs and the join that reads them. ``reports`` collects all that was published."""

    def __init__(self, *settings: JoinSettings, partition: int = 0) -> None:
        self.settings = settings
        self.logs: dict[str, list[Entry]] = {topic: [] for topic in TOPICS}
        self.join = PartitionJoin(partition, 1)
        self.reports: list[WindowReport] = []
        for one in settings:
            self.join.declare(one)

    def append(self, record: Any, *, appended_at_ms: int | None = None, topic: str | None = None) -> int:
        """Write a record to its topic, or GAP / POISON to the topic given; returns its offset."""
        if topic is None:
            topic = topic_of(record)
        if appended_at_ms is None:
            appended_at_ms = 0 if isinstance(record, str) else record.event_at_ms
        self.logs[topic].append((appended_at_ms, record))
        return len(self.logs[topic]) - 1

    def fetch(self, topic: str, count: int = 1 << 30) -> int:
        """Let the join have the next entries of a topic; returns how many offsets."""
        start = self.join.position(topic)
        found = self.logs[topic][start : start + count]
        offsets = range(start, start + len(found))
        rows = [(o, t, r) for o, (t, r) in zip(offsets, found, strict=True) if not isinstance(r, str)]
        self.join.dead_letter(topic, [o for o, (_, r) in zip(offsets, found, strict=True) if r == POISON])
        if topic == OUTCOMES_TOPIC:
            self.join.ingest_outcomes(rows, start + len(found))
        elif topic == PLATFORM_TOPIC:
            self.join.ingest_platform(rows, start + len(found))
        else:
            self.join.ingest(EventBatch.of(topic, self.join.partition, rows), start + len(found))
        return len(found)

    def fetch_all(self) -> None:
        """Read every topic to its end."""
        for topic in TOPICS:
            while self.fetch(topic):
                pass

    def publish(self, generation: int = 1) -> list[WindowReport]:
        """Advance and publish what is closed."""
        self.join.advance()
        found = self.join.take_reports(generation)
        self.reports.extend(found)
        return found

    def finish(self, now_ms: int) -> list[WindowReport]:
        """Read all, say that this is the end of the logs, let the clock go on, publish."""
        self.fetch_all()
        for topic in TOPICS:
            self.join.caught_up(topic, True)
        self.join.advance(now_ms)
        found = self.join.take_reports(1)
        self.reports.extend(found)
        return found

    def snapshot(self) -> bytes:
        """The state, and how much of the log of reports is in it."""
        self.join.published_next = len(self.reports)
        return self.join.snapshot()

    def crash(self, snapshot: bytes) -> None:
        """Lose the join and go on from a snapshot, as a worker does: look what was published after it, write
        a snapshot, then publish."""
        join = PartitionJoin.restore(snapshot)
        for report in self.reports[join.published_next :]:
            join.supersede(report.rollout_id, report.window_start_ms)
        self.join = PartitionJoin.restore(join.snapshot())

    def read_offsets(self) -> int:
        """How many offsets the join has applied, over all topics."""
        return sum(self.join.committed(topic) for topic in TOPICS)


def topic_of(record: PredictionEvent | Outcome | PlatformEvent) -> str:
    """Where a record is published."""
    if isinstance(record, Outcome):
        return OUTCOMES_TOPIC
    if isinstance(record, PlatformEvent):
        return PLATFORM_TOPIC
    return PRIMARY_TOPIC if record.role is Role.PRIMARY else SHADOW_TOPIC


def pairs(requests: Sequence[int], start_ms: int = 10_000, step_ms: int = 10) -> list[PredictionEvent]:
    """Both answers to some requests, in order of time."""
    return [
        prediction(r, arm, start_ms + i * step_ms)
        for i, r in enumerate(requests)
        for arm in (Arm.BASELINE, Arm.CANDIDATE)
    ]
