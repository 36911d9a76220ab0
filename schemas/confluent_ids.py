"""Which Confluent schema ids stand for which of our schemas, as an operator writes it down.

Law: an id is assigned by the schema registry of a cluster, so nobody but its operator knows it; what is written is
taken as it stands or refused, never guessed. Pure: the text comes from whoever reads options and environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from paritygate.schemas.errors import ConfigError
from paritygate.schemas.registry import REGISTRY, AvroSchema, Registry

#: Where the worker and ``paritygate tail`` look for the text.
CONFLUENT_IDS: Final = "PARITYGATE_CONFLUENT_IDS"

_MAX_ID: Final = 2**31 - 1
_ENTRY = re.compile(r"(?P<id>[0-9]+)\s*=\s*(?P<schema>(?P<record>[A-Za-z_]+)\.v(?P<version>[1-9][0-9]*))")


def parse_confluent_ids(
    text: str, *, source: str = CONFLUENT_IDS, registry: Registry = REGISTRY
) -> Mapping[int, AvroSchema]:
    """The writer's schema of each Confluent id, from ``7=prediction_event.v1,8=outcome.v1``; empty for no text.

    A schema is named as its packaged file is: the record's name in small letters and its version. Ids are the
    int32 of the Confluent wire format (``0x00``, id big-endian, body). Goes as it is to ``confluent_ids`` of
    :func:`paritygate.schemas.codec.decode` and :func:`paritygate.schemas.columnar.decode_batches`.

    :param source: what error texts call the place of the text.
    :raises ConfigError: an entry is no ``ID=RECORD.vN``, an id is given two schemas, or no such schema is known.
    """
    records = {_file_name(record): record for record in registry.records}
    found: dict[int, AvroSchema] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigError(f"{source}: {entry!r} is no ID=RECORD.vN, such as 7=prediction_event.v1")
        schema_id = int(match["id"])
        if schema_id > _MAX_ID:
            raise ConfigError(f"{source}: {schema_id} is no schema id: they go up to {_MAX_ID}")
        record = records.get(match["record"])
        if record is None:
            near = get_close_matches(match["record"], records, n=1)
            mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(records))}"
            raise ConfigError(f"{source}: no record is called {match['record']}; {mend}")
        try:
            schema = registry.by_version(record, int(match["version"]))
        except ConfigError as e:
            raise ConfigError(f"{source}: {entry}: {e}") from None
        if found.setdefault(schema_id, schema) is not schema:
            raise ConfigError(f"{source}: schema id {schema_id} is given two schemas: keep one")
    return found


def _file_name(record: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", record).lower()
