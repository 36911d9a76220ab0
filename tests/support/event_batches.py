"""Equality of event batches, down to codes, vocabularies and types."""

from __future__ import annotations

import dataclasses

import numpy as np

from paritygate.schemas.columns import Codes, EventBatch
from paritygate.schemas.ids import Ids


def same_codes(left: Codes, right: Codes) -> bool:
    return (
        left.values == right.values
        and left.index.dtype == right.index.dtype == np.int32
        and np.array_equal(left.index, right.index)
    )


def assert_same(left: EventBatch, right: EventBatch) -> None:
    """Equal in every value, code, vocabulary and type."""
    for field in dataclasses.fields(EventBatch):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if field.name == "trace_of":
            assert [a(i) for i in range(len(left))] == [b(i) for i in range(len(right))]
        elif isinstance(a, Ids):
            assert a.decoded() == b.decoded(), field.name
        elif isinstance(a, Codes):
            assert same_codes(a, b), field.name
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field.name
        elif isinstance(a, dict):
            assert list(a) == list(b), field.name
            for key in a:
                same = (
                    same_codes(a[key], b[key])
                    if field.name == "segments"
                    else np.array_equal(a[key], b[key], equal_nan=True)
                )
                assert same, (field.name, key)
        else:
            assert a == b, field.name
