"""Any prediction event, and equality of event batches, down to types."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from paritygate.schemas.columns import EventBatch
from paritygate.schemas.prediction import ARMS, ROLES, STATUSES, PredictionEvent
from paritygate.schemas.texts import Texts

_TEXT = st.text(max_size=8)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
EVENTS = st.builds(
    PredictionEvent,
    request_id=st.text(min_size=1, max_size=40),
    rollout_id=st.sampled_from(["flights", "ü", "x" * 200]),
    arm=st.sampled_from(ARMS),
    role=st.sampled_from(ROLES),
    event_at_ms=st.integers(0, 2**45),
    latency_ms=st.floats(0, 1e9),
    status=st.sampled_from(STATUSES),
    model_version=_TEXT,
    label=st.none() | st.sampled_from(["late", "on time", ""]),
    confidence=st.none() | _NUMBER,
    output=_TEXT | st.just("x" * 9000),
    endpoint=_TEXT,
    instance_id=_TEXT,
    trace_id=_TEXT,
    error_type=_TEXT,
    segments=st.dictionaries(st.sampled_from(["origin", "weather", "tier"]), _TEXT, max_size=3),
    measures=st.dictionaries(st.sampled_from(["tokens", "bytes"]), _NUMBER, max_size=2),
)


def assert_same(left: EventBatch, right: EventBatch) -> None:
    """Equal in every value and type."""
    for field in dataclasses.fields(EventBatch):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if field.name == "trace_of":
            assert [a(i) for i in range(len(left))] == [b(i) for i in range(len(right))]
        elif isinstance(a, Texts):
            assert a.optional() == b.optional(), field.name
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field.name
        elif isinstance(a, dict):
            assert list(a) == list(b), field.name
            for key in a:
                if field.name == "segments":
                    assert a[key].optional() == b[key].optional(), key
                else:
                    assert np.array_equal(a[key], b[key], equal_nan=True), key
        else:
            assert a == b, field.name
