"""Every topic once: name, key, partitions, clean-up, record. Code, CLI, docs and tests read this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic. ``partitions`` is None where it follows the number of join partitions (default 4)."""

    name: str
    record: str
    key: str
    about: str
    partitions: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    def partition_count(self, join_partitions: int) -> int:
        """Partitions of this topic when the join runs on ``join_partitions``."""
        return self.partitions if self.partitions is not None else join_partitions


#: The broker's own time stands on every event: it is what a producer's clock is held against (answers from the
#: future), and a producer cannot write it.
_EVENTS = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY_MS),
    "max.message.bytes": str(256 * 1024),
    "message.timestamp.type": "LogAppendTime",
}
_KEPT = {"cleanup.policy": "delete", "retention.ms": "-1"}

PREDICTIONS_PRIMARY = Topic(
    name="predictions.primary.v1", record="PredictionEvent", key="request id",
    about="answers that users saw", config=_EVENTS,
)  # fmt: skip
PREDICTIONS_SHADOW = Topic(
    name="predictions.shadow.v1", record="PredictionEvent", key="request id",
    about="answers of the mirrored arm, thrown away", config=_EVENTS,
)  # fmt: skip
OUTCOMES = Topic(
    name="outcomes.v1",
    record="Outcome",
    key="request id",
    about="late scores, KPIs and labels",
    config=_EVENTS,
)
PLATFORM = Topic(
    name="platform.v1", record="PlatformEvent", key="instance id",
    about="running time, OOMs, restarts, memory, dropped events", config=_EVENTS,
)  # fmt: skip
WINDOWS = Topic(
    name="windows.v1", record="WindowReport", key="rollout|partition|window start", partitions=1,
    about="cumulative tallies per window and partition",
    config={"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS), "max.message.bytes": str(8 << 20)},
)  # fmt: skip
ROLLOUTS = Topic(
    name="rollouts.v1", record="Command", key="rollout id", partitions=1,
    about="plans and commands of operators", config=_KEPT,
)  # fmt: skip
DECISIONS = Topic(
    name="decisions.v1", record="GateDecision", key="rollout id, a rollback: id|rollback", partitions=1,
    about="the newest decision per rollout: what routers obey",
    config={"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"},
)  # fmt: skip
AUDIT = Topic(
    name="audit.v1", record="GateDecision", key="rollout id", partitions=1,
    about="every decision ever, in order, hash-chained", config=_KEPT,
)  # fmt: skip
ROUTER_ACKS = Topic(
    name="router.acks.v1", record="RouterAck", key="router id", partitions=1,
    about="what each router really applied", config=_EVENTS,
)  # fmt: skip


#: The topics that are joined: same key, same partitioner, same partition count.
BULK: tuple[Topic, ...] = (PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, OUTCOMES, PLATFORM)


def dead_letter_topic(topic: Topic) -> Topic:
    """Where records of ``topic`` go that nothing reads; name and headers as in KIP-1191."""
    return Topic(
        name=f"dlq.{topic.name}", record="the record as it came", key="as it came", partitions=1,
        about=f"records of {topic.name} that nothing reads, with __dlq.errors.* headers",
        config={"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS), "max.message.bytes": str(2 << 20)},
    )  # fmt: skip


TOPICS: tuple[Topic, ...] = (
    *BULK, WINDOWS, ROLLOUTS, DECISIONS, AUDIT, ROUTER_ACKS, *(dead_letter_topic(t) for t in BULK),
)  # fmt: skip

BY_NAME: Mapping[str, Topic] = {t.name: t for t in TOPICS}

#: librdkafka's default partitioner (CRC32) puts a key on another partition than Java, Faust and aiokafka do,
#: and the join would silently lose pairs. Every producer of ours sets this.
PARTITIONER = "murmur2_random"


def markdown_table() -> str:
    """The table of all topics for the docs page, in the order of :data:`TOPICS`."""
    rows = ["| topic | record | key | partitions | kept | largest record | about |", f"|{'---|' * 7}"]
    rows += (
        f"| `{t.name}` | {t.record} | {t.key.replace('|', ' + ')} | {t.partitions or 'as joined'} "
        f"| {_kept(t)} | {_largest(t)} | {t.about} |"
        for t in TOPICS
    )
    return "\n".join(rows) + "\n"


def _kept(topic: Topic) -> str:
    if topic.config["cleanup.policy"] == "compact":
        return "the newest per key"
    retention_ms = int(topic.config["retention.ms"])
    return "for ever" if retention_ms < 0 else f"{retention_ms // DAY_MS} days"


def _largest(topic: Topic) -> str:
    limit_bytes = topic.config.get("max.message.bytes")
    return "the broker's limit" if limit_bytes is None else f"{int(limit_bytes) >> 10:,} KiB"
