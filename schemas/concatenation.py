"""Event batches of one partition one after the other.

Law: the result equals the batch that ``EventBatch.of`` builds of all the events, codes included, when each
part does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from paritygate.schemas.columns import EventBatch, TraceOf
from paritygate.schemas.texts import Texts


def concat(topic: str, partition: int, pieces: Sequence[EventBatch]) -> EventBatch:
    """Batches of one partition one after the other; vocabularies merge in order of first appearance."""
    if not pieces:
        return EventBatch.of(topic, partition, [])
    if len(pieces) == 1:
        return pieces[0]

    def numbers(name: str) -> Any:
        return np.concatenate([getattr(p, name) for p in pieces])

    def texts(name: str) -> Texts:
        return Texts.concat([getattr(p, name) for p in pieces])

    lengths = [len(p) for p in pieces]
    dimensions = dict.fromkeys(d for p in pieces for d in p.segments)
    measures = dict.fromkeys(m for p in pieces for m in p.measures)
    nan = [np.full(n, np.nan) for n in lengths]
    return EventBatch(
        topic=topic, partition=partition, offset=numbers("offset"), appended_at_ms=numbers("appended_at_ms"),
        request_id=texts("request_id"),
        rollout_id=texts("rollout_id"), arm=numbers("arm"), role=numbers("role"),
        event_at_ms=numbers("event_at_ms"), latency_ms=numbers("latency_ms"), status=numbers("status"),
        model_version=texts("model_version"), label=texts("label"), confidence=numbers("confidence"),
        output=texts("output"),
        endpoint=texts("endpoint"), instance_id=texts("instance_id"), error_type=texts("error_type"),
        segments={d: Texts.concat([_segment(p, d) for p in pieces]) for d in dimensions},
        measures={m: np.concatenate([p.measures.get(m, nan[i]) for i, p in enumerate(pieces)]) for m in measures},
        trace_of=_traces([p.trace_of for p in pieces], lengths),
    )  # fmt: skip


def _segment(piece: EventBatch, dimension: str) -> Texts:
    """What a piece says of a dimension; where it does not, none, lying where the others do."""
    found = piece.segments.get(dimension)
    return replace(Texts.same(None, len(piece)), buffer=piece.request_id.buffer) if found is None else found


def _traces(parts: Sequence[TraceOf], lengths: Sequence[int]) -> TraceOf:
    """The trace id of a row of all, from the part in which it lies."""
    begins = [0, *accumulate(lengths)]

    def found(row: int) -> str:
        part = bisect_right(begins, row) - 1
        return parts[part](row - begins[part])

    return found
