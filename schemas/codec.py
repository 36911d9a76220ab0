"""Bytes to records and back: Avro single-object encoding out; single-object, Confluent or JSON framing in.

Law: what :func:`encode` writes :func:`decode` reads back equal, with every known schema version; whatever
else comes in raises a :class:`~paritygate.schemas.errors.PoisonError` and nothing else, and no error text
holds a value of the payload. fastavro is known here and in ``registry`` only.

Sources: Avro 1.12 specification ("Single-object encoding", "Schema resolution"); Confluent wire format
(``0x00``, schema id as big-endian int32, body).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, TypeVar

import orjson
from fastavro import schemaless_reader, schemaless_writer
from fastavro.validation import validate
from pydantic import BaseModel, ValidationError

from paritygate.schemas.ack import RouterAck
from paritygate.schemas.command import Command
from paritygate.schemas.contract import CONTRACTS, Contract
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import DecodeError, InvalidRecordError, PoisonError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.registry import REGISTRY, SINGLE_OBJECT, AvroSchema, Registry
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import BY_NAME

AvroRecord = PredictionEvent | Outcome | PlatformEvent | WindowReport
R = TypeVar("R", bound=AvroRecord)

#: What a Confluent schema id stands for: a fingerprint this process knows, or the writer's schema itself
#: (:func:`~paritygate.schemas.registry.read_schema`); a mapping or a function that answers ``None``.
ConfluentIds = Mapping[int, int | AvroSchema] | Callable[[int], int | AvroSchema | None]

_HEADER_BYTES = 10
_CONFLUENT_BYTES = 5


def encode(record: AvroRecord, *, registry: Registry = REGISTRY) -> bytes:
    """A record as Avro single object: ``C3 01``, fingerprint, body in the newest schema.

    :raises InvalidRecordError: a value breaks the contract or does not fit its Avro type, or the whole is
        over the record's limit.
    """
    contract = CONTRACTS[type(record)]
    schema = registry.newest(contract.name)
    out = BytesIO()
    out.write(schema.header)
    try:
        for field in contract.integers:
            if type(getattr(record, field)) is not int:
                raise InvalidRecordError(f"{contract.name}.{field} must be an integer")
        contract.check(record)
        datum = contract.plain(record)
        schemaless_writer(out, schema.parsed, datum)
    except PoisonError:
        raise
    except Exception:  # fastavro's errors have no common root and quote values
        raise InvalidRecordError(_unfit(contract, schema, record)) from None
    data = out.getvalue()
    _check_size(contract, data)
    return data


def decode(
    record_type: type[R],
    data: bytes | None,
    *,
    registry: Registry = REGISTRY,
    confluent_ids: ConfluentIds | None = None,
) -> R:
    """A record of the wanted type from the bytes of a Kafka value, whatever its framing.

    :raises DecodeError: empty, truncated, trailing bytes, foreign framing, unknown fingerprint or Confluent
        id, another record, broken JSON.
    :raises InvalidRecordError: it decodes, but breaks the contract.
    """
    contract: Contract[R] = CONTRACTS[record_type]
    if not data:
        raise DecodeError(f"{contract.name} value is empty")
    _check_size(contract, data)
    if data.startswith(SINGLE_OBJECT):
        record = _read_avro(
            contract, data, _HEADER_BYTES, _single_object_schema(contract, data, registry), registry
        )
    elif data[0] == 0:
        record = _read_avro(
            contract, data, _CONFLUENT_BYTES, _confluent_schema(contract, data, registry, confluent_ids), registry
        )
    elif data[0] == ord("{"):
        record = _read_json(contract, data)
    else:
        raise DecodeError(
            f"{contract.name} value has an unknown framing: neither Avro single object, Confluent nor JSON"
        )
    contract.check(record)
    return record


def decode_prediction(data: bytes | None, *, confluent_ids: ConfluentIds | None = None) -> PredictionEvent:
    """:func:`decode` for the prediction topics."""
    return decode(PredictionEvent, data, confluent_ids=confluent_ids)


def decode_outcome(data: bytes | None, *, confluent_ids: ConfluentIds | None = None) -> Outcome:
    """:func:`decode` for ``outcomes.v1``."""
    return decode(Outcome, data, confluent_ids=confluent_ids)


def decode_platform(data: bytes | None, *, confluent_ids: ConfluentIds | None = None) -> PlatformEvent:
    """:func:`decode` for ``platform.v1``."""
    return decode(PlatformEvent, data, confluent_ids=confluent_ids)


def decode_report(data: bytes | None, *, confluent_ids: ConfluentIds | None = None) -> WindowReport:
    """:func:`decode` for ``windows.v1``."""
    return decode(WindowReport, data, confluent_ids=confluent_ids)


_AVRO: Mapping[str, type[AvroRecord]] = {contract.name: cls for cls, contract in CONTRACTS.items()}
_CONTROL: Mapping[str, Callable[[bytes], BaseModel]] = {
    "Command": Command.from_bytes,
    "GateDecision": GateDecision.from_bytes,
    "RouterAck": RouterAck.from_bytes,
}


def any_record_to_json(
    topic_name: str, data: bytes | None, *, confluent_ids: ConfluentIds | None = None
) -> dict[str, Any]:
    """The record in a value of a topic of the topics table as plain JSON data, for people and scripts.

    Values of a ``dlq.`` topic are read as those of the topic they came from. Names are those of the table,
    without the prefix of a cluster.

    :raises DecodeError: no such topic, or no such record.
    :raises InvalidRecordError: the record breaks the contract.
    """
    topic = BY_NAME.get(topic_name.removeprefix("dlq."))
    if topic is None:
        raise DecodeError(f"no topic of paritygate is called {topic_name}; see 'paritygate topics'")
    if not data:
        raise DecodeError(f"{topic.record} value is empty")
    if topic.record in _CONTROL:
        return _CONTROL[topic.record](data).model_dump(mode="json")
    # orjson writes dataclasses and enums as they are, and what is in columns row by row.
    record = decode(_AVRO[topic.record], data, confluent_ids=confluent_ids)
    plain: dict[str, Any] = orjson.loads(orjson.dumps(record, default=list))
    return plain


def _single_object_schema(contract: Contract[Any], data: bytes, registry: Registry) -> AvroSchema:
    if len(data) < _HEADER_BYTES:
        raise DecodeError(f"{contract.name} value is truncated within its single-object header")
    crc64 = int.from_bytes(data[2:_HEADER_BYTES], "little")
    schema = registry.by_fingerprint(crc64)
    if schema is None:
        raise DecodeError(
            f"{contract.name} value has the unknown schema fingerprint {crc64:016x}: upgrade readers before writers"
        )
    return schema


def _confluent_schema(
    contract: Contract[Any], data: bytes, registry: Registry, ids: ConfluentIds | None
) -> AvroSchema:
    if len(data) < _CONFLUENT_BYTES:
        raise DecodeError(f"{contract.name} value is truncated within its Confluent header")
    schema_id = int.from_bytes(data[1:_CONFLUENT_BYTES], "big")
    known = None if ids is None else ids.get(schema_id) if isinstance(ids, Mapping) else ids(schema_id)
    schema = registry.by_fingerprint(known) if isinstance(known, int) else known
    if schema is None:
        raise DecodeError(f"{contract.name} value has the unknown Confluent schema id {schema_id}")
    return schema


def _read_avro(contract: Contract[R], data: bytes, start: int, writer: AvroSchema, registry: Registry) -> R:
    if writer.record != contract.name:
        raise DecodeError(f"{contract.name} is wanted, but the value holds another record, {writer.record}")
    reader = registry.newest(contract.name)
    source = BytesIO(data)
    source.seek(start)
    try:
        same = writer.fingerprint == reader.fingerprint
        datum = schemaless_reader(source, writer.parsed, None if same else reader.parsed)
    except Exception:  # fastavro's errors have no common root and quote values
        raise DecodeError(f"{contract.name} value is truncated or no Avro of its schema") from None
    if source.tell() != len(data):
        raise DecodeError(f"{contract.name} value has trailing bytes after the record")
    return contract.build(datum)  # type: ignore[arg-type]


def _read_json(contract: Contract[R], data: bytes) -> R:
    try:
        # orjson holds to RFC 8259 and bounds the depth; pydantic alone would take NaN.
        orjson.loads(data)
        model = contract.json_model.model_validate_json(data)
    except ValidationError as e:
        raise DecodeError(contract.problem(e)) from None
    except ValueError as e:
        place = getattr(e, "colno", 0)
        raise DecodeError(f"{contract.name} value is broken JSON at column {place}") from None
    return contract.record_type(**{name: getattr(model, name) for name in contract.fields})


def _check_size(contract: Contract[Any], data: bytes) -> None:
    if len(data) > contract.max_bytes:
        what = "output over limit" if contract.record_type is PredictionEvent else "value over limit"
        raise InvalidRecordError(f"{contract.name} {what}: a value has at most {contract.max_bytes} bytes")


def _unfit(contract: Contract[Any], schema: AvroSchema, record: AvroRecord) -> str:
    """Which field fastavro could not write; looked for only once something went wrong."""
    for field in schema.fields:
        value = contract.plain_field(record, field["name"])
        try:
            fits = validate(value, field["type"], raise_errors=False)
            schemaless_writer(BytesIO(), field["type"], value)
        except Exception:  # the same errors once more
            fits = False
        if not fits:
            return f"{contract.name}.{field['name']} does not fit its Avro type"
    return f"{contract.name} does not fit its Avro schema"
