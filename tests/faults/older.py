"""The prediction event as a version before this one would have been, so that two versions lie in one topic.

It imports nothing that binds the packaged registry: the worker of the fault runs must know both versions.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from paritygate.schemas.registry import REGISTRY, AvroSchema, read_schema


def older_schema() -> AvroSchema:
    """Version 1 without its last defaulted field."""
    definition = orjson.loads(REGISTRY.by_version("PredictionEvent", 1).avsc)
    dropped = next(f for f in reversed(definition["fields"]) if "default" in f)
    definition["fields"].remove(dropped)
    return replace(read_schema(orjson.dumps(definition)), version=0)
