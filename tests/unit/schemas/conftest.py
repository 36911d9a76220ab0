"""Builders for the tests of this room: records, Avro values that break rules, real Kafka record batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import google_crc32c
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from fastavro import schemaless_writer

from paritygate.schemas.codec import decode
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.registry import REGISTRY, AvroSchema
from paritygate.schemas.report import Cell, Example, Histogram, RouterGroup, SourceRange, WindowReport

#: (timestamp_ms, key, value, headers) of one record to be built.
Entry = tuple[int, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


def _prediction(**changes: Any) -> PredictionEvent:
    return dataclasses.replace(
        PredictionEvent(
            request_id="request-1", rollout_id="flights", arm=Arm.CANDIDATE, role=Role.SHADOW,
            event_at_ms=1_700_000_000_123, latency_ms=12.5, status=Status.OK, model_version="gb-2",
            label="late", confidence=0.75, output='{"prediction":"late","confidence":0.75}',
            endpoint="/predict", instance_id="pod-1", trace_id="0af7651916cd43dd8448eb211c80319c",
            segments={"origin": "EWR", "weather": "present"}, measures={"completion_tokens": 7.0},
        ),
        **changes,
    )  # fmt: skip


def _raw_avro(schema: AvroSchema, datum: dict[str, Any]) -> bytes:
    """A single object of plain data, held to no rule."""
    out = BytesIO()
    out.write(schema.header)
    schemaless_writer(out, schema.parsed, datum)
    return out.getvalue()


def _batch(entries: Sequence[Entry], base_offset: int = 0, codec: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for i, (timestamp_ms, key, value, headers) in enumerate(entries):
        assert builder.append(i, timestamp_ms, key, value, list(headers)) is not None
    raw = bytearray(builder.build())
    raw[:8] = base_offset.to_bytes(8, "big")
    return bytes(raw)


def _seal(raw: bytearray) -> bytes:
    """The batch with the CRC of what it holds now."""
    raw[17:21] = google_crc32c.value(bytes(raw[21:])).to_bytes(4, "big")
    return bytes(raw)


@pytest.fixture
def codec_reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The values that columns were not sure of, in the order in which the codec was asked for them."""
    asked: list[bytes] = []

    def noted(record_type: type[PredictionEvent], data: bytes, **options: Any) -> PredictionEvent:
        asked.append(data)
        return decode(record_type, data, **options)

    monkeypatch.setattr("paritygate.schemas.columnar.decode", noted)
    return asked


@pytest.fixture(scope="session")
def prediction() -> Callable[..., PredictionEvent]:
    """A valid prediction event with some fields replaced."""
    return _prediction


@pytest.fixture(scope="session")
def raw_prediction() -> Callable[..., bytes]:
    """Avro bytes of a prediction event with some fields replaced, held to no rule."""

    def build(**changes: Any) -> bytes:
        plain = {f.name: getattr(_prediction(), f.name) for f in dataclasses.fields(PredictionEvent)}
        return _raw_avro(REGISTRY.newest("PredictionEvent"), plain | changes)

    return build


@pytest.fixture(scope="session")
def raw_avro() -> Callable[[AvroSchema, dict[str, Any]], bytes]:
    """Avro bytes of plain data in any schema."""
    return _raw_avro


@pytest.fixture(scope="session")
def build_batch() -> Callable[..., bytes]:
    """Entries to the bytes of a record batch, built by aiokafka."""
    return _batch


@pytest.fixture(scope="session")
def seal() -> Callable[[bytearray], bytes]:
    """Give a changed record batch a valid CRC."""
    return _seal


@pytest.fixture(scope="session")
def samples() -> tuple[PredictionEvent | Outcome | PlatformEvent | WindowReport, ...]:
    """One full and one least record of each Avro record class."""
    return (
        _prediction(),
        PredictionEvent(
            request_id="ü", rollout_id="r", arm=Arm.BASELINE, role=Role.PRIMARY, event_at_ms=0, latency_ms=0.0,
            status=Status.SHED, model_version="",
        ),
        Outcome(
            request_id="request-1", rollout_id="flights", measure="human_review_score",
            event_at_ms=1_700_000_000_999, baseline=0.5, candidate=1.0, segments={"origin": "EWR"},
        ),
        Outcome(request_id="a", rollout_id="r", measure="m", event_at_ms=1),
        PlatformEvent(
            rollout_id="flights", arm=Arm.CANDIDATE, model_version="gb-2", instance_id="pod-1",
            event_at_ms=1_700_000_000_999, running_ms=1000, gpu_ooms=1, restarts=2, memory_bytes=1 << 33,
            dropped_events=3,
        ),
        PlatformEvent(
            rollout_id="r", arm=Arm.BASELINE, model_version="", instance_id="i", event_at_ms=1, running_ms=0
        ),
        WindowReport(
            rollout_id="flights", partition=1, partitions=4, generation=7, revision=2, window_start_ms=1000,
            window_end_ms=2000, watermark_ms=2500,
            sources=(SourceRange(topic="predictions.primary.v1", partition=1, first=3, next=9),),
            dimensions=("origin", "weather"), count_names=("pairs", "changed"),
            cells=(Cell(values=("EWR", "present"), counts=(5, 1)), Cell(values=("JFK", "missing"), counts=(0, 2))),
            histograms=(Histogram(name="exceed.17.up", index=(3, 9), counts=(-2, 2)),),
            totals={"exposed": 4},
            examples=(Example(request_id="a", kind="label", detail="x", values=("EWR", ""), trace_id="t"),),
            acks_next=9,
            routers=(RouterGroup(sequence=-1, weight=0, state="killed", count=2, named=("a", "b")),),
        ),
        WindowReport(
            rollout_id="r", partition=0, partitions=1, generation=0, revision=0, window_start_ms=0, window_end_ms=1,
            watermark_ms=0, sources=(), dimensions=(), count_names=(), cells=(), histograms=(),
        ),
    )  # fmt: skip
