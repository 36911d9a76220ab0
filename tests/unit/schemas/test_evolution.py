from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from paritygate.schemas.codec import AvroRecord, decode, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.errors import ConfigError, DecodeError, InvalidRecordError
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY, AvroSchema, Registry, read_schema
from paritygate.schemas.report import WindowReport
from tests.support.event_batches import assert_same

RECORDS = REGISTRY.records


def older(record: str) -> AvroSchema:
    """The newest version of a record without its last defaulted field, as a version before it would have been."""
    definition = orjson.loads(REGISTRY.newest(record).avsc)
    dropped = next((f for f in reversed(definition["fields"]) if "default" in f), None)
    assert dropped is not None
    definition["fields"].remove(dropped)
    return read_schema(orjson.dumps(definition), version=0)


def newer(record: str) -> AvroSchema:
    """The newest version with a defaulted field more and, where there is an enum, a symbol more."""
    definition = orjson.loads(REGISTRY.newest(record).avsc)
    definition["fields"].append({"name": "region", "type": "string", "default": "somewhere"})
    for field in definition["fields"]:
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
            field["type"]["symbols"].append("holdout")
    return read_schema(orjson.dumps(definition), version=REGISTRY.newest(record).version + 1)


def versions(record: str) -> dict[str, AvroSchema]:
    """The three versions by the name of their age."""
    return {"old": older(record), "now": REGISTRY.newest(record), "new": newer(record)}


def reader_of(schemas: dict[str, AvroSchema], age: str) -> Registry:
    """What a process of that age knows when told of all versions: its own is the newest it writes."""
    own = schemas[age]
    return Registry(
        [own, *(dataclasses.replace(s, version=-i) for i, s in enumerate(schemas.values()) if s is not own)]
    )


def without(record: AvroRecord, schema: AvroSchema) -> AvroRecord:
    """The record with the fields that the schema lacks at their defaults."""
    names = {f["name"] for f in schema.fields}
    kept = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name in names}
    return type(record)(**kept)


@pytest.mark.parametrize("written", ["old", "now", "new"])
@pytest.mark.parametrize("read", ["old", "now", "new"])
def test_every_version_reads_every_version(samples: tuple[AvroRecord, ...], written: str, read: str) -> None:
    """Old code reads new records and new code old ones; fields that one side lacks have their defaults."""
    for record in samples:
        schemas = versions(type(record).__name__)
        value = encode(record, registry=Registry([schemas[written]]))

        got = decode(type(record), value, registry=reader_of(schemas, read))

        assert value.startswith(schemas[written].header)
        assert got == without(without(record, schemas[written]), schemas[read])


def test_a_process_that_was_not_told_of_a_version_says_which(samples: tuple[AvroRecord, ...]) -> None:
    """Without the writer's schema a newer record is refused by its fingerprint; a schema registry mends it."""
    for record in samples:
        schema = newer(type(record).__name__)
        value = encode(record, registry=Registry([schema]))

        with pytest.raises(DecodeError, match=f"{schema.fingerprint:016x}"):
            decode(type(record), value)
        assert decode(type(record), b"\0\0\0\0\x05" + value[10:], confluent_ids={5: schema}) == record


@pytest.mark.parametrize("read", ["now", "new"])
@pytest.mark.parametrize("field", ["arm", "role", "status"])
def test_a_new_symbol_is_no_arm_that_anyone_knows(
    prediction: Callable[..., PredictionEvent],
    raw_avro: Callable[[AvroSchema, dict[str, Any]], bytes],
    read: str,
    field: str,
) -> None:
    """An enum symbol newer than the code is refused, never taken for one of the known ones."""
    schemas = versions("PredictionEvent")
    value = raw_avro(schemas["new"], dataclasses.asdict(prediction()) | {field: "holdout"})

    with pytest.raises(InvalidRecordError, match=f"{field} is none of the known"):
        decode(PredictionEvent, value, registry=reader_of(schemas, read))


@pytest.mark.parametrize(
    "dropped", ["label", "confidence", "output", "endpoint", "trace_id", "segments", "measures"]
)
def test_columns_of_an_older_version_have_the_defaults(
    prediction: Callable[..., PredictionEvent], build_batch: Callable[..., bytes], dropped: str
) -> None:
    """A whole batch of a version that lacks a field decodes to the field's default in every row."""
    definition = orjson.loads(REGISTRY.newest("PredictionEvent").avsc)
    definition["fields"] = [f for f in definition["fields"] if f["name"] != dropped]
    old = read_schema(orjson.dumps(definition), version=0)
    both = Registry([old, REGISTRY.newest("PredictionEvent")])
    events = [prediction(request_id=f"r{i}", label=["late", None][i % 2]) for i in range(4)]
    entries: list[Any] = [(5, e.request_id.encode(), encode(e, registry=Registry([old])), []) for e in events]

    fast = decode_batches("t", 0, build_batch(entries), 0, registry=both)
    slow = decode_batches("t", 0, build_batch(entries), 0, registry=both, columnar=False)

    assert fast.records == len(fast.batch) == 4
    assert_same(fast.batch, slow.batch)


def test_a_reader_without_a_required_field_is_a_decode_error(prediction: Callable[..., PredictionEvent]) -> None:
    """A schema that lost a required field cannot make an event, and says so."""
    definition = orjson.loads(REGISTRY.newest("PredictionEvent").avsc)
    definition["fields"] = [f for f in definition["fields"] if f["name"] != "model_version"]
    broken = Registry([read_schema(orjson.dumps(definition), version=2)])

    with pytest.raises(DecodeError, match="lacks a required field"):
        decode(PredictionEvent, encode(prediction(), registry=broken), registry=broken)
    with pytest.raises(ConfigError):
        broken.newest("Outcome")
    assert RECORDS == ("Outcome", "PlatformEvent", "PredictionEvent", "WindowReport")


@pytest.mark.parametrize("version", [1, 2])
def test_examples_of_earlier_reports_name_no_trace(samples: tuple[AvroRecord, ...], version: int) -> None:
    """A report that was written before examples had traces is read as it was meant."""
    report = samples[6]
    assert isinstance(report, WindowReport)
    written = encode(report, registry=Registry([REGISTRY.by_version("WindowReport", version)]))
    got = decode(WindowReport, written)

    assert [e.trace_id for e in report.examples] == ["t"]
    assert got.examples == tuple(dataclasses.replace(e, trace_id="") for e in report.examples)
