"""Avro schemas by name, version and fingerprint, read from the packaged ``avro/<record>.v<version>.avsc`` files.

Law: a released file never changes, for its fingerprint stands in every record that was written with it. The
newest version of a record is the writer's schema; older ones are kept so that old records stay readable.
Adding a file is all that a new version needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from paritygate.schemas.errors import ConfigError

#: Marker of the Avro single-object encoding (Avro 1.12 specification, "Single-object encoding").
SINGLE_OBJECT = b"\xc3\x01"

_FILE = re.compile(r"[a-z][a-z0-9_]*\.v([1-9][0-9]*)\.avsc")


@dataclass(frozen=True, slots=True, eq=False)
class AvroSchema:
    """One version of one record.

    ``record``: the name without namespace (``PredictionEvent``). ``fingerprint``: CRC-64-AVRO of the parsing
    canonical form as an unsigned integer. ``parsed``: what fastavro reads and writes with. ``fields``: the
    top-level fields as they stand in the file.
    """

    record: str
    version: int
    fingerprint: int
    parsed: Any
    fields: tuple[Mapping[str, Any], ...]

    @property
    def header(self) -> bytes:
        """The ten bytes before a single-object body: ``C3 01`` and the fingerprint, little-endian."""
        return SINGLE_OBJECT + self.fingerprint.to_bytes(8, "little")

    @property
    def avsc(self) -> str:
        """The schema as JSON text, as a schema registry wants it."""
        definition = {k: v for k, v in self.parsed.items() if not k.startswith("__")}
        return orjson.dumps(definition).decode()


def crc64_avro(definition: Any) -> int:
    """CRC-64-AVRO of the parsing canonical form of a schema (plain data as in a ``.avsc``)."""
    canonical = to_parsing_canonical_form(definition)
    # fastavro gives the bytes in the order of the single-object header, which is little-endian.
    return int.from_bytes(bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO")), "little")


def read_schema(text: str | bytes, *, version: int = 0, name: str = "schema") -> AvroSchema:
    """A schema from ``.avsc`` text; ``version`` 0 stands for "from elsewhere", such as a schema registry.

    :param name: what error texts call it, usually the file's name.
    :raises ConfigError: the text is no JSON, no Avro, or no record.
    """
    try:
        definition = orjson.loads(text)
        parsed = parse_schema(definition)
    except Exception as e:  # fastavro's schema errors have no common root
        raise ConfigError(f"{name}: not an Avro schema ({type(e).__name__})") from None
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise ConfigError(f"{name}: the schema must be a record")
    return AvroSchema(
        record=str(parsed["name"]).rpartition(".")[2],
        version=version,
        fingerprint=crc64_avro(definition),
        parsed=parsed,
        fields=tuple(parsed["fields"]),
    )


class Registry:
    """The schemas one process knows; immutable.

    :raises ConfigError: one version twice, or two versions with one fingerprint (a fingerprint does not see
        docs and defaults, so such a pair could not be told apart on the wire).
    """

    __slots__ = ("_by_fingerprint", "_by_version", "_newest")

    def __init__(self, schemas: Iterable[AvroSchema]) -> None:
        self._by_fingerprint: dict[int, AvroSchema] = {}
        self._by_version: dict[tuple[str, int], AvroSchema] = {}
        self._newest: dict[str, AvroSchema] = {}
        for schema in schemas:
            place = f"{schema.record} version {schema.version}"
            if (schema.record, schema.version) in self._by_version:
                raise ConfigError(f"{place} is there twice: keep one file")
            twin = self._by_fingerprint.setdefault(schema.fingerprint, schema)
            if twin is not schema:
                raise ConfigError(
                    f"{place} has the fingerprint of {twin.record} version {twin.version}: change more than "
                    "docs or defaults, or remove the file"
                )
            self._by_version[schema.record, schema.version] = schema
            newest = self._newest.get(schema.record)
            if newest is None or schema.version > newest.version:
                self._newest[schema.record] = schema

    @property
    def records(self) -> tuple[str, ...]:
        """Names of all records, sorted."""
        return tuple(sorted(self._newest))

    def newest(self, record: str) -> AvroSchema:
        """The writer's schema of a record.

        :raises ConfigError: no schema has this name.
        """
        schema = self._newest.get(record)
        if schema is None:
            raise ConfigError(f"no Avro schema for {record}; there are {', '.join(self.records) or 'none'}")
        return schema

    def by_version(self, record: str, version: int) -> AvroSchema:
        """One version of a record.

        :raises ConfigError: no such record or version.
        """
        schema = self._by_version.get((record, version))
        if schema is None:
            known = ", ".join(str(s.version) for s in self.versions(record)) or "none"
            raise ConfigError(f"no version {version} of {record}; there are {known}")
        return schema

    def by_fingerprint(self, crc64: int) -> AvroSchema | None:
        """The schema with this CRC-64-AVRO, ``None`` where it is not known."""
        return self._by_fingerprint.get(crc64)

    def versions(self, record: str) -> tuple[AvroSchema, ...]:
        """All versions of a record, oldest first; empty for an unknown name."""
        return tuple(s for _, s in sorted(self._by_version.items()) if s.record == record)


def packaged() -> Registry:
    """A registry of every ``.avsc`` in the package.

    :raises ConfigError: a file's name is not ``<record>.v<version>.avsc`` or its content is no schema.
    """
    found: list[AvroSchema] = []
    for entry in sorted(files(__package__).joinpath("avro").iterdir(), key=lambda e: e.name):
        if not entry.name.endswith(".avsc"):
            continue
        name = _FILE.fullmatch(entry.name)
        if name is None:
            raise ConfigError(f"{entry.name}: a schema file must be called <record>.v<version>.avsc")
        found.append(read_schema(entry.read_bytes(), version=int(name[1]), name=entry.name))
    return Registry(found)


#: The packaged schemas, read once at import.
REGISTRY = packaged()
