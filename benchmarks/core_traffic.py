"""Traffic for the core's benchmark: record batches as brokers hand them out, made once and read by every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from paritygate.schemas.codec import encode
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status

START_MS: Final = 1_764_000_000_000
PAIRS_PER_EVENT_SECOND: Final = 20_000
EVENTS_PER_BATCH: Final = 500
DIMENSIONS: Final = ("endpoint", "tenant_tier", "geography", "request_size", "feature_availability")
_VALUES: Final[dict[str, Sequence[str]]] = {
    "tenant_tier": ("gold", "silver", "free"),
    "geography": ("EWR", "JFK", "LGA", "AMS"),
    "request_size": ("small", "medium", "large"),
    "feature_availability": ("full", "part"),
}
#: How many different answers there are where answers repeat.
_REPEATED: Final = 500


@dataclass(frozen=True, slots=True)
class Log:
    """Record batches of one topic, in offset order: ``(base offset, bytes)``."""

    batches: tuple[tuple[int, bytes], ...]

    def fetches(self, fetch_bytes: int) -> list[tuple[int, bytes]]:
        """The log as fetch responses of at most about that size: ``(start offset, bytes)``."""
        found: list[tuple[int, bytes]] = []
        parts: list[bytes] = []
        start = size = 0
        for base, raw in self.batches:
            if parts and size + len(raw) > fetch_bytes:
                found.append((start, b"".join(parts)))
                parts, size = [], 0
            if not parts:
                start = base
            parts.append(raw)
            size += len(raw)
        if parts:
            found.append((start, b"".join(parts)))
        return found


def make_logs(pairs: int, *, distinct: bool, as_json: bool = False, seed: int = 1) -> tuple[Log, Log]:
    """Primary and shadow log of ``pairs`` requests.

    ``distinct``: no two answers are the same text, so every one is read, checked and compared; otherwise both
    arms give the same answer, one of a few hundred. ``as_json``: events as JSON, not Avro.
    """
    rng = random.Random(seed)
    write: Callable[[PredictionEvent], bytes] = orjson.dumps if as_json else encode
    sides: tuple[list[tuple[int, bytes, bytes]], ...] = ([], [])
    for i in range(pairs):
        at_ms = START_MS + i * 1000 // PAIRS_PER_EVENT_SECOND
        segments = {name: rng.choice(values) for name, values in _VALUES.items()}
        request_id = f"{rng.getrandbits(64):016x}-{i:08x}"
        shared = _answer(rng, i % _REPEATED / _REPEATED, "1")
        for side, arm in enumerate(Arm):
            label, confidence, output = _answer(rng, rng.random(), str(side + 1)) if distinct else shared
            event = PredictionEvent(
                request_id=request_id, rollout_id="bench", arm=arm, role=tuple(Role)[side], event_at_ms=at_ms,
                latency_ms=rng.lognormvariate(3, 0.5), status=Status.OK, model_version=str(side + 1), label=label,
                confidence=confidence, output=output, endpoint="/score", instance_id=f"pod-{side}",
                trace_id=f"{rng.getrandbits(128):032x}", segments=segments,
            )  # fmt: skip
            sides[side].append((at_ms, request_id.encode(), write(event)))
    return _log(sides[0]), _log(sides[1])


def _answer(rng: random.Random, confidence: float, version: str) -> tuple[str, float, str]:
    label = "late" if confidence > 0.5 else "on time"
    plain = {
        "prediction": label,
        "confidence": confidence,
        "model_version": version,
        "delay_minutes": round(confidence * 60, 1),
        "reason": "weather" if confidence > 0.7 else "none",
    }
    return label, confidence, orjson.dumps(plain).decode()


def _log(records: Sequence[tuple[int, bytes, bytes]]) -> Log:
    batches: list[tuple[int, bytes]] = []
    for base in range(0, len(records), EVENTS_PER_BATCH):
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
        for i, (at_ms, key, value) in enumerate(records[base : base + EVENTS_PER_BATCH]):
            builder.append(i, at_ms, key, value, [])
        raw = bytearray(builder.build())
        raw[:8] = base.to_bytes(8, "big")
        batches.append((base, bytes(raw)))
    return Log(tuple(batches))
