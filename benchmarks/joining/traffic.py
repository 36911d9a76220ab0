"""Traffic of one rollout as columns, and what every engine must count in it.

Law: seeded, so a chunk is the same whenever it is made. Both arms answer every request, within the disorder that
the join allows for; so every request is one pair, and the counts of any engine can be held against ``Truth``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from joining.wire import (
    F64,
    I64,
    Bytes2,
    choice,
    digits,
    doubles,
    hexes,
    keyed,
    longs,
    murmur2,
    rows,
    text,
    varint,
)
from paritygate.schemas.registry import REGISTRY

BASELINE, CANDIDATE = 0, 1
ARMS = ("baseline", "candidate")
ROLES = ("primary", "shadow")
DIMENSIONS = ("client", "feature_set", "geography", "request_size", "tenant_tier")
#: Pairs made at once.
CHUNK = 50_000
#: How far the events of an arm may be out of order, in event time.
DISORDER_MS = (100, 300)
_LABELS = ("approve", "decline")
_OK, _ERROR = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """``pairs`` requests at ``per_s`` requests a second of event time from ``start_ms`` on.

    The rate is one at which a worker of this speed is needed: what is paid by window (reports, the gates' look at
    them) weighs on a pair as it does there, and more than twice as much at 20,000 a second.

    ``combinations``: distinct combinations of the five segment dimensions. ``form``: ``avro`` or ``json``.
    ``outputs``: whether each answer carries a whole output (JSON text, all different), else ``{}``.
    2 % of the pairs differ in label, 1 % of the candidate's answers are errors, every confidence differs, by more
    than 0.05 in 5 % of the pairs.
    """

    pairs: int
    start_ms: int
    rollout: str = "bench"
    per_s: int = 50_000
    combinations: int = 64
    form: str = "avro"
    outputs: bool = False
    seed: int = 20261124

    @property
    def span_ms(self) -> int:
        """Event time from the first to the last request."""
        return self.pairs * 1000 // self.per_s

    def chunks(self) -> Iterator[Chunk]:
        """All requests, in order of event time."""
        for first in range(0, self.pairs, CHUNK):
            yield Chunk.of(self, first, min(CHUNK, self.pairs - first))


@dataclass(slots=True)
class Chunk:
    """Columns of some requests in order of event time, where arms differ one for each.

    ``due_ms``: when each event comes to the broker, somewhat after its request and out of order.
    """

    traffic: Traffic
    request_id: Bytes2
    event_at_ms: I64
    combination: I64
    latency_us: tuple[I64, I64]
    label: tuple[I64, I64]
    confidence_ppm: tuple[I64, I64]
    status: tuple[I64, I64]
    due_ms: tuple[F64, F64]

    @classmethod
    def of(cls, traffic: Traffic, first: int, count: int) -> Chunk:
        """Draw the requests ``first`` to ``first + count``."""
        random = np.random.default_rng([traffic.seed, first])
        number = np.arange(first, first + count, dtype=np.int64)
        at_ms = traffic.start_ms + number * 1000 // traffic.per_s
        label = random.integers(0, 2, count)
        confidence = random.integers(100_000, 800_000, count)
        apart = np.where(random.random(count) < 0.05, 100_000, 20_000) + random.integers(1, 20_000, count)
        return cls(
            traffic=traffic,
            request_id=np.concatenate([hexes(_mixed(number, salt)) for salt in (1, 2)], axis=1),
            event_at_ms=at_ms,
            combination=random.integers(0, traffic.combinations, count),
            latency_us=(_latency(random, count), _latency(random, count)),
            label=(label, np.where(random.random(count) < 0.02, 1 - label, label)),
            confidence_ppm=(confidence, confidence + apart),
            status=(np.zeros(count, np.int64), (random.random(count) < 0.01).astype(np.int64)),
            due_ms=(
                at_ms + random.random(count) * DISORDER_MS[BASELINE],
                at_ms + random.random(count) * DISORDER_MS[CANDIDATE],
            ),
        )

    def by_partition(self, arm: int, partitions: int) -> Iterator[tuple[int, Bytes2, F64]]:
        """Partition, records of one arm in the order in which they are appended, and when each is due."""
        order = np.argsort(self.due_ms[arm], kind="stable")
        records = keyed(self.request_id, self._values(arm))
        placed = ((murmur2(self.request_id) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions))[order]
        for partition in range(partitions):
            mine = order[placed == partition]
            yield partition, records[mine], self.due_ms[arm][mine]

    def _values(self, arm: int) -> Bytes2:
        return self._avro(arm) if self.traffic.form == "avro" else self._json(arm)

    def _avro(self, arm: int) -> Bytes2:
        """As ``codec.encode`` writes them, field by field in the order of the schema."""
        label = self.label[arm]
        output = self._output(arm)
        fields: dict[str, list[bytes | Bytes2]] = {
            "request_id": [varint(32), self.request_id],
            "rollout_id": [text(self.traffic.rollout)],
            "arm": [varint(1 + arm)],
            "role": [varint(1 + arm)],
            "event_at_ms": [longs(self.event_at_ms)],
            "latency_ms": [doubles(self.latency_us[arm] / 1000)],
            "status": [choice([varint(1 + s) for s in (_OK, _ERROR)], self.status[arm])],
            "model_version": [text(str(1 + arm))],
            "label": [varint(1), choice([text(v) for v in _LABELS], label)],
            "confidence": [varint(1), doubles(self.confidence_ppm[arm] / 1_000_000)],
            "output": [varint(output.shape[1]), output],
            "endpoint": [text("/score")],
            "instance_id": [text("pod-1")],
            "trace_id": [text("")],
            "error_type": [text("")],
            "segments": [varint(len(DIMENSIONS)), *self._segments_avro(), b"\0"],
            "measures": [b"\0"],
        }
        schema = REGISTRY.newest("PredictionEvent")
        pieces = [piece for field in schema.fields for piece in fields[field["name"]]]
        return rows(len(label), [schema.header, *pieces])

    def _json(self, arm: int) -> Bytes2:
        output = self._output(arm)
        assert not self.traffic.outputs, "an output inside JSON would need escapes"
        segments = ",".join(f'"{name}":"#"' for name in DIMENSIONS).encode().split(b"#")
        values = self._segment_values()
        return rows(len(self.event_at_ms), [
            b'{"request_id":"', self.request_id,
            f'","rollout_id":"{self.traffic.rollout}","arm":"{ARMS[arm]}","role":"{ROLES[arm]}"'.encode(),
            b',"event_at_ms":', digits(self.event_at_ms, 13),
            b',"latency_ms":', digits(self.latency_us[arm] // 1000, 2), b".", digits(self.latency_us[arm], 3),
            b',"status":', choice([b'"ok"   ', b'"error"'], self.status[arm]),
            f',"model_version":"{1 + arm}","label":"'.encode(),
            choice([v.encode() for v in _LABELS], self.label[arm]),
            b'","confidence":0.', digits(self.confidence_ppm[arm], 6), b',"output":"', output,
            b'","endpoint":"/score","instance_id":"pod-1","segments":{',
            *(piece for i, value in enumerate(values) for piece in (segments[i], value)), segments[-1], b"}}",
        ])  # fmt: skip

    def _output(self, arm: int) -> Bytes2:
        if not self.traffic.outputs:
            return rows(len(self.event_at_ms), [b"{}"])
        return rows(len(self.event_at_ms), [
            b'{"prediction":"', choice([v.encode() for v in _LABELS], self.label[arm]),
            b'","confidence":0.', digits(self.confidence_ppm[arm], 6),
            f',"model_version":"{1 + arm}"'.encode(), b',"reasons":["amount","country"]}',
        ])  # fmt: skip

    def _segment_values(self) -> list[Bytes2]:
        rest, found = self.combination, []
        for base in bases(self.traffic.combinations):
            found.append(choice([f"v{k:02}".encode() for k in range(base)], rest % base))
            rest = rest // base
        return found

    def _segments_avro(self) -> Iterator[bytes | Bytes2]:
        for name, value in zip(DIMENSIONS, self._segment_values(), strict=True):
            yield text(name)
            yield varint(value.shape[1])
            yield value


@dataclass(slots=True)
class Truth:
    """What there is to count. ``segments``: pairs by combination."""

    pairs: int = 0
    label_changes: int = 0
    candidate_errors: int = 0
    segments: Counter[int] = field(default_factory=Counter)

    def add(self, chunk: Chunk) -> None:
        """Count some requests."""
        self.pairs += len(chunk.event_at_ms)
        self.label_changes += int((chunk.label[BASELINE] != chunk.label[CANDIDATE]).sum())
        self.candidate_errors += int(chunk.status[CANDIDATE].sum())
        for combination, count in enumerate(np.bincount(chunk.combination).tolist()):
            self.segments[combination] += count


def bases(combinations: int) -> tuple[int, ...]:
    """How many values each dimension has; their product is ``combinations``."""
    known = {64: (2, 2, 4, 2, 2), 10: (5, 2, 1, 1, 1), 1_000: (10, 10, 10, 1, 1), 100_000: (10,) * 5}
    return known[combinations]


def _mixed(number: I64, salt: int) -> np.typing.NDArray[np.uint64]:
    """splitmix64: distinct numbers that look random."""
    x = (number.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def _latency(random: np.random.Generator, count: int) -> I64:
    """Microseconds between 10 and 99.999 ms, so that all have as many digits."""
    drawn = 10_000 * np.exp(random.normal(1.0, 0.4, count))
    latency: I64 = np.clip(drawn, 10_000, 99_999).astype(np.int64)
    return latency
