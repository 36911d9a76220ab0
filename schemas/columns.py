"""EventBatch: prediction events of one topic partition as a struct of arrays, in offset order.

This is what the decoder hands to the comparators: no Python object per event on the hot path. Services that only
publish never load this module, nor numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from paritygate.schemas.arrays import F64, I8, I64
from paritygate.schemas.prediction import ARMS, ROLES, STATUSES, PredictionEvent
from paritygate.schemas.texts import Texts

#: The trace id of a row.
TraceOf = Callable[[int], str]


def untraced(_row: int) -> str:
    """No event of the batch names a trace."""
    return ""


@dataclass(slots=True)
class EventBatch:
    """Events of one topic partition.

    Shapes: every array has ``n`` rows. ``arm``, ``role``, ``status`` are codes into ``ARMS``, ``ROLES``,
    ``STATUSES``. Texts stay where they lie; an event that does not have one has none there. ``confidence`` is NaN
    where the output had none; ``latency_ms`` is always finite and >= 0 (the decoder refuses others).
    ``appended_at_ms`` is the broker's or producer's record timestamp.
    ``trace_of``: trace id of a row, made a string only when somebody asks: nearly nobody ever does.
    """

    topic: str
    partition: int
    offset: I64
    appended_at_ms: I64
    request_id: Texts
    rollout_id: Texts
    arm: I8
    role: I8
    event_at_ms: I64
    latency_ms: F64
    status: I8
    model_version: Texts
    label: Texts
    confidence: F64
    output: Texts
    endpoint: Texts
    instance_id: Texts
    error_type: Texts
    segments: dict[str, Texts] = field(default_factory=dict)
    measures: dict[str, F64] = field(default_factory=dict)
    trace_of: TraceOf = untraced

    def __len__(self) -> int:
        return len(self.request_id)

    def take(self, rows: I64) -> EventBatch:
        """The given rows, in the given order."""
        return EventBatch(
            topic=self.topic, partition=self.partition, offset=self.offset[rows],
            appended_at_ms=self.appended_at_ms[rows], request_id=self.request_id.take(rows),
            rollout_id=self.rollout_id.take(rows), arm=self.arm[rows], role=self.role[rows],
            event_at_ms=self.event_at_ms[rows], latency_ms=self.latency_ms[rows], status=self.status[rows],
            model_version=self.model_version.take(rows), label=self.label.take(rows),
            confidence=self.confidence[rows], output=self.output.take(rows),
            endpoint=self.endpoint.take(rows), instance_id=self.instance_id.take(rows),
            error_type=self.error_type.take(rows),
            segments={k: v.take(rows) for k, v in self.segments.items()},
            measures={k: v[rows] for k, v in self.measures.items()},
            trace_of=lambda row: self.trace_of(int(rows[row])),
        )  # fmt: skip

    @classmethod
    def of(cls, topic: str, partition: int, events: Sequence[tuple[int, int, PredictionEvent]]) -> EventBatch:
        """Build a batch record by record from ``(offset, appended_at_ms, event)``, in offset order."""
        rows: list[PredictionEvent] = [e for _, _, e in events]
        dimensions = dict.fromkeys(k for e in rows for k in e.segments)
        names = dict.fromkeys(k for e in rows for k in e.measures)
        nan = float("nan")
        return cls(
            topic=topic, partition=partition,
            offset=np.array([o for o, _, _ in events], np.int64),
            appended_at_ms=np.array([t for _, t, _ in events], np.int64),
            request_id=Texts.of([e.request_id for e in rows]),
            rollout_id=Texts.of([e.rollout_id for e in rows]),
            arm=np.array([ARMS.index(e.arm) for e in rows], np.int8),
            role=np.array([ROLES.index(e.role) for e in rows], np.int8),
            event_at_ms=np.array([e.event_at_ms for e in rows], np.int64),
            latency_ms=np.array([e.latency_ms for e in rows], np.float64),
            status=np.array([STATUSES.index(e.status) for e in rows], np.int8),
            model_version=Texts.of([e.model_version for e in rows]),
            label=Texts.of([e.label for e in rows]),
            confidence=np.array([nan if e.confidence is None else e.confidence for e in rows], np.float64),
            output=Texts.of([e.output for e in rows]),
            endpoint=Texts.of([e.endpoint for e in rows]),
            instance_id=Texts.of([e.instance_id for e in rows]),
            error_type=Texts.of([e.error_type for e in rows]),
            segments={d: Texts.of([e.segments.get(d) for e in rows]) for d in dimensions},
            measures={m: np.array([e.measures.get(m, nan) for e in rows], np.float64) for m in names},
            trace_of=[e.trace_id for e in rows].__getitem__,
        )  # fmt: skip


def segment_values(batch: EventBatch, dimensions: Sequence[str]) -> list[Texts]:
    """The texts of each declared dimension; ``endpoint`` may be declared and is read from its own column."""
    others = {"endpoint": batch.endpoint} | batch.segments
    return [others[d] if d in others else Texts.same(None, len(batch)) for d in dimensions]
