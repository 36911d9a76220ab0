from __future__ import annotations

import orjson
import pytest

from paritygate.schemas.contract import CONTRACTS
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.registry import REGISTRY, Registry, crc64_avro, read_schema

#: Fingerprints of released files. A line is added with a new file and never changed.
RELEASED = {
    ("Outcome", 1): 0x622A6506D8630CA2,
    ("PlatformEvent", 1): 0x5D9009210B4ACB04,
    ("PredictionEvent", 1): 0xACCF0286A085994C,
    ("WindowReport", 1): 0x3BAB14D30AEA2940,
    ("WindowReport", 2): 0x8DB1F81A9C01A56B,
    ("WindowReport", 3): 0x746C3A5894E9146C,
}


def test_fingerprint_of_null_is_that_of_the_specification() -> None:
    """CRC-64-AVRO of "null" is the value that the Avro specification and its libraries give."""
    assert crc64_avro("null") == 0x63DD24E7CC258F8A


def test_released_schemas_never_change() -> None:
    """The fingerprint of a released file stands in old records, so it stays what it is."""
    known = {(s.record, s.version): s.fingerprint for r in REGISTRY.records for s in REGISTRY.versions(r)}

    assert known == RELEASED


def test_header_is_marker_and_fingerprint_little_endian() -> None:
    """The single-object header is C3 01 and the eight bytes of the fingerprint, lowest first."""
    schema = REGISTRY.newest("PredictionEvent")

    assert schema.header == b"\xc3\x01" + bytes.fromhex("4c9985a08602cfac")


def test_schemas_have_the_fields_of_the_dataclasses_in_their_order() -> None:
    """The newest schema of a record begins with the fields of its dataclass, hot fields first."""
    for contract in CONTRACTS.values():
        fields = [f["name"] for f in REGISTRY.newest(contract.name).fields]

        assert tuple(fields[: len(contract.fields)]) == contract.fields


def test_every_type_can_be_read_columnar_and_evolves() -> None:
    """No bytes, fixed or logical types; enums know UNKNOWN first and by default; unions begin with null."""

    def walk(avro: object) -> None:
        if isinstance(avro, list):
            assert avro[0] == "null"
            assert len(avro) == 2
            walk(avro[1])
        elif isinstance(avro, dict):
            assert "logicalType" not in avro
            assert avro["type"] != "fixed"
            if avro["type"] == "enum":
                assert avro["symbols"][0] == avro["default"] == "UNKNOWN"
            for inner in (avro.get("items"), avro.get("values"), *(f["type"] for f in avro.get("fields", ()))):
                if inner is not None:
                    walk(inner)
        else:
            assert avro in {"string", "int", "long", "double"}

    for record in REGISTRY.records:
        for field in REGISTRY.newest(record).fields:
            walk(field["type"])
            assert field["doc"]
            assert not isinstance(field["type"], list) or field["default"] is None


def test_newest_version_is_the_writers() -> None:
    """A file with a higher version is all that a new writer's schema needs; the old one stays known."""
    old = REGISTRY.newest("Outcome")
    definition = orjson.loads(old.avsc)
    definition["fields"].append({"name": "reviewer", "type": "string", "default": ""})
    new = read_schema(orjson.dumps(definition), version=2)

    registry = Registry([new, old])

    assert registry.newest("Outcome") is new
    assert registry.by_version("Outcome", 1) is old
    assert registry.by_fingerprint(old.fingerprint) is old
    assert registry.versions("Outcome") == (old, new)


def test_a_version_that_the_wire_cannot_tell_apart_is_refused() -> None:
    """Two versions that differ in docs or defaults only have one fingerprint: the registry says so."""
    old = REGISTRY.newest("Outcome")
    twin = read_schema(old.avsc.replace("Rollout", "Roll-out"), version=2)

    with pytest.raises(ConfigError, match="has the fingerprint of Outcome version 1"):
        Registry([old, twin])
    with pytest.raises(ConfigError, match="twice"):
        Registry([old, old])


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    """A lookup that fails says what there is; an unknown fingerprint is no error here."""
    with pytest.raises(ConfigError, match="PredictionEvent"):
        REGISTRY.newest("Prediction")
    with pytest.raises(ConfigError, match="there are 1"):
        REGISTRY.by_version("Outcome", 9)

    assert REGISTRY.by_fingerprint(1) is None


@pytest.mark.parametrize(
    "text", ["", "{", '"null"', '{"type":"record"}', '{"type":"enum","name":"E","symbols":["A"]}']
)
def test_text_that_is_no_record_schema_is_refused(text: str) -> None:
    """Text from elsewhere that is no Avro record is one clear error that names it."""
    with pytest.raises(ConfigError, match="from-registry"):
        read_schema(text, name="from-registry")
