from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from paritygate.schemas.ack import RouterAck
from paritygate.schemas.codec import (
    AvroRecord,
    any_record_to_json,
    decode,
    decode_outcome,
    decode_platform,
    decode_prediction,
    decode_report,
    encode,
)
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.errors import DecodeError, InvalidRecordError, PoisonError
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY

SECRET = "card-4111-1111"


def confluent(schema_id: int, single_object: bytes) -> bytes:
    """The same record in Confluent framing."""
    return b"\0" + schema_id.to_bytes(4, "big") + single_object[10:]


def test_a_record_comes_back_equal(samples: tuple[AvroRecord, ...]) -> None:
    """What encode writes, decode reads back equal, for every record class."""
    for record in samples:
        assert decode(type(record), encode(record)) == record


def test_named_readers_read_their_record(samples: tuple[AvroRecord, ...]) -> None:
    """Each topic's reader reads its record and refuses the others, naming both."""
    readers: list[Callable[[bytes], AvroRecord]] = [
        decode_prediction,
        decode_outcome,
        decode_platform,
        decode_report,
    ]
    for reader, record, other in zip(readers, samples[::2], samples[2::2] + samples[:1], strict=True):
        assert reader(encode(record)) == record
        with pytest.raises(DecodeError, match=type(other).__name__):
            reader(encode(other))


def test_json_framing_is_the_fields_as_they_are_called(samples: tuple[AvroRecord, ...]) -> None:
    """A JSON object with the dataclass's field names is the same record as its Avro bytes."""
    for record in samples:
        assert decode(type(record), orjson.dumps(record)) == record


def test_confluent_ids_stand_for_fingerprints_or_schemas(prediction: Callable[..., PredictionEvent]) -> None:
    """A Confluent id is resolved through a mapping or a function, to a fingerprint or to a schema."""
    event = prediction()
    value = confluent(7, encode(event))
    schema = REGISTRY.newest("PredictionEvent")

    assert decode_prediction(value, confluent_ids={7: schema.fingerprint}) == event
    assert decode_prediction(value, confluent_ids={7: schema}) == event
    assert decode_prediction(value, confluent_ids=lambda i: schema if i == 7 else None) == event


@pytest.mark.parametrize("ids", [None, {}, {8: 1}, {7: 1}, lambda _: None])
def test_an_unknown_confluent_id_is_named(prediction: Callable[..., PredictionEvent], ids: Any) -> None:
    """An id that nothing resolves is a DecodeError that says which id."""
    with pytest.raises(DecodeError, match="unknown Confluent schema id 7"):
        decode_prediction(confluent(7, encode(prediction())), confluent_ids=ids)


def test_every_truncation_is_refused(samples: tuple[AvroRecord, ...]) -> None:
    """No proper prefix of a value is taken for a record, in any framing."""
    for record in samples:
        value = encode(record)
        ids = {7: REGISTRY.newest(type(record).__name__)}
        for whole in (value, confluent(7, value), orjson.dumps(record)):
            for end in range(len(whole)):
                with pytest.raises(DecodeError):
                    decode(type(record), whole[:end], confluent_ids=ids)


def test_bytes_after_the_record_are_refused(samples: tuple[AvroRecord, ...]) -> None:
    """Trailing bytes mean another schema or two records in one value, so they are never skipped."""
    for record in samples:
        with pytest.raises(DecodeError, match="trailing bytes"):
            decode(type(record), encode(record) + b"\0")
        with pytest.raises(DecodeError, match="broken JSON"):
            decode(type(record), orjson.dumps(record) + b"}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xc3\x01abc", "truncated"),
        (b"\xc3\x01" + b"\x01" * 8, "unknown schema fingerprint 0101010101010101"),
        (b"\x00\x00", "truncated"),
        (b"hello", "unknown framing"),
        (b" {}", "unknown framing"),
        (b"{", "broken JSON"),
        (b"{}", "request_id: Field required"),
        (b'{"request_id":"\\ud800"}', "broken JSON"),
        (b'{"request_id":' + b"[" * 100_000, "broken JSON"),
    ],
)
def test_foreign_values_are_refused_with_their_reason(value: bytes | None, text: str) -> None:
    """Each kind of unreadable value has its own reason."""
    with pytest.raises(DecodeError, match=text):
        decode_prediction(value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"latency_ms": math.nan}, "latency_ms"),
        ({"latency_ms": math.inf}, "latency_ms"),
        ({"latency_ms": -0.1}, "latency_ms"),
        ({"confidence": math.nan}, "confidence"),
        ({"confidence": math.inf}, "confidence"),
        ({"request_id": ""}, "request_id must not be empty"),
        ({"request_id": "ü" * 129}, "request_id must have at most 256 bytes"),
        ({"rollout_id": ""}, "rollout_id"),
        ({"event_at_ms": -1}, "event_at_ms"),
        ({"event_at_ms": 253_402_300_800_000}, "event_at_ms"),
        ({"measures": {SECRET: math.nan}}, "measures"),
        ({"arm": "UNKNOWN"}, "arm is none of the known"),
        ({"role": "UNKNOWN"}, "role is none of the known"),
        ({"status": "UNKNOWN"}, "status is none of the known"),
        ({"output": "x" * 1_000_000}, "output over limit"),
    ],
)
def test_values_that_break_the_contract_are_refused(
    raw_prediction: Callable[..., bytes], changes: dict[str, Any], text: str
) -> None:
    """A value that decodes but breaks a rule is an InvalidRecordError that names the field."""
    with pytest.raises(InvalidRecordError, match=f"PredictionEvent.*{text}") as caught:
        decode_prediction(raw_prediction(**changes))

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"latency_ms": math.nan},
        {"confidence": math.nan},
        {"request_id": ""},
        {"event_at_ms": -1},
        {"event_at_ms": 1.5},
        {"event_at_ms": True},
        {"latency_ms": "1"},
        {"label": 1},
        {"output": None},
        {"arm": SECRET},
        {"request_id": "\ud800"},
        {"segments": {SECRET: 1}},
        {"measures": {SECRET: "x"}},
        {"measures": None},
        {"output": SECRET * 100_000},
    ],
)
def test_writers_are_held_to_the_same_rules(
    prediction: Callable[..., PredictionEvent], changes: dict[str, Any]
) -> None:
    """Encode refuses what decode would refuse, and wrong types, naming the field and no value."""
    with pytest.raises(InvalidRecordError) as caught:
        encode(prediction(**changes))

    assert next(iter(changes)) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_megabyte_of_output_is_refused_and_the_publishers_limit_is_not(
    prediction: Callable[..., PredictionEvent],
) -> None:
    """1 MB of output is over the limit, said so; 64 KiB, the longest a publisher sends, is well below."""
    with pytest.raises(InvalidRecordError, match="output over limit: a value has at most 1000000 bytes"):
        encode(prediction(output="x" * 1_000_000))

    assert len(decode_prediction(encode(prediction(output="x" * 65536))).output) == 65536


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"latency_ms": "12"}, "PredictionEvent.latency_ms"),
        ({"event_at_ms": 1.0}, "PredictionEvent.event_at_ms"),
        ({"arm": SECRET}, "PredictionEvent.arm"),
        ({"segments": {SECRET: 1}}, "PredictionEvent.segments"),
        ({SECRET: 1}, "a field that this version does not know"),
        ({"confidence": True}, "PredictionEvent.confidence"),
        ({"latency_ms": None}, "PredictionEvent.latency_ms"),
    ],
)
def test_json_is_strict_and_its_errors_hold_no_payload(
    prediction: Callable[..., PredictionEvent], change: dict[str, Any], text: str
) -> None:
    """JSON of a wrong type or with unknown keys is refused; neither values nor keys of it are repeated."""
    plain = dataclasses.asdict(prediction()) | change

    with pytest.raises(DecodeError, match=text) as caught:
        decode_prediction(orjson.dumps(plain))

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_json_has_no_numbers_that_are_none(number: bytes) -> None:
    """NaN and infinities are not JSON, whatever other parsers say."""
    value = b'{"request_id":"a","latency_ms":' + number + b"}"

    with pytest.raises(PoisonError):
        decode_prediction(value)


def test_outcomes_and_platform_events_have_rules_too(samples: tuple[AvroRecord, ...]) -> None:
    """Scores lie in 0..1, counts are not negative, reports have counts for each of their names."""
    outcome, platform, report = samples[2], samples[4], samples[6]
    wrong: list[tuple[AvroRecord, str, Any]] = [
        (outcome, "baseline", 1.5),
        (outcome, "candidate", math.nan),
        (outcome, "measure", ""),
        (outcome, "event_at_ms", -1),
        (platform, "running_ms", -1),
        (platform, "gpu_ooms", 2**63),
        (platform, "instance_id", ""),
        (report, "partition", 4),
        (report, "window_end_ms", 1000),
        (report, "count_names", ("pairs",)),
        (report, "rollout_id", ""),
    ]
    for record, field, value in wrong:
        with pytest.raises(InvalidRecordError, match=type(record).__name__):
            encode(dataclasses.replace(record, **{field: value}))


def test_a_map_in_blocks_is_read(
    prediction: Callable[..., PredictionEvent], raw_prediction: Callable[..., bytes]
) -> None:
    """Other writers put maps into several blocks, with sizes before them; the record is the same."""
    event = prediction(segments={"a": "b"}, measures={})
    value = encode(event)
    assert value.endswith(b"\x02\x02a\x02b\x00\x00")

    blocks = value.removesuffix(b"\x02\x02a\x02b\x00\x00") + b"\x01\x08\x02a\x02b\x00\x00"

    assert decode_prediction(blocks) == event


def test_any_record_of_any_topic_becomes_json(samples: tuple[AvroRecord, ...]) -> None:
    """tail decodes every framing of every topic to plain data, dead letters by the topic they came from."""
    event = samples[0]
    assert isinstance(event, PredictionEvent)
    command = Command(kind=CommandKind.PAUSE, rollout_id="flights", actor="ann", issued_at_ms=5)
    ack = RouterAck(rollout_id="flights", router_id="r1", sequence=3, weight=5, applied_at_ms=9)

    shown = any_record_to_json("predictions.shadow.v1", encode(event))

    assert shown == any_record_to_json("dlq.predictions.shadow.v1", orjson.dumps(event))
    assert (shown["arm"], shown["segments"], shown["confidence"]) == (
        "candidate",
        {"origin": "EWR", "weather": "present"},
        0.75,
    )
    assert any_record_to_json("windows.v1", encode(samples[6]))["cells"][0] == {
        "values": ["EWR", "present"],
        "counts": [5, 1],
    }
    assert any_record_to_json("rollouts.v1", command.to_bytes())["kind"] == "pause"
    assert any_record_to_json("router.acks.v1", ack.to_bytes())["weight"] == 5


@pytest.mark.parametrize(
    ("topic", "value"), [("nope", b"{}"), ("decisions.v1", None), ("audit.v1", b"{}"), ("outcomes.v1", b"\xc3\x01")]
)
def test_what_tail_cannot_read_is_one_decode_error(topic: str, value: bytes | None) -> None:
    """An unknown topic, a tombstone or a broken record is a DecodeError, never another exception."""
    with pytest.raises(DecodeError):
        any_record_to_json(topic, value)
