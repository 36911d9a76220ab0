"""Fields of prediction events in columns, whatever they were read of, to an event batch.

Law: the rows that :func:`sound_rows` keeps are those that ``rules.check_prediction`` passes, and the batch
built of them equals, codes and vocabularies included, what ``EventBatch.of`` builds record by record. Texts stay
where they lie; those of few values are numbered in order of appearance, once somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from paritygate.schemas.arrays import B1, F64, I64
from paritygate.schemas.columns import EventBatch, untraced
from paritygate.schemas.compiled import address, compiled, is_same
from paritygate.schemas.frames import Frames
from paritygate.schemas.prediction import ARMS, MAX_REQUEST_ID_BYTES, ROLES, STATUSES
from paritygate.schemas.rules import MAX_AT_MS, MAX_EVENT_BYTES
from paritygate.schemas.texts import Texts

#: Most keys of the maps of one field that a run may name; more are read record by record.
MAX_KEYS: Final = 64
#: Fields of a few symbols, and what they are in the order of their codes.
SYMBOLS: Mapping[str, Sequence[StrEnum]] = {"arm": ARMS, "role": ROLES, "status": STATUSES}


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Fields of some records by name: ``numbers`` (enums as numbers of their symbols), ``reals`` and ``texts``.

    Texts are UTF-8. Null is NaN, or a text of size -1. ``text_maps`` and ``real_maps``: by name and key, in order
    of appearance, the values of the rows that have the key; null in the others. ``doubtful``: rows that only the
    codec can judge.
    """

    numbers: dict[str, Any]
    reals: dict[str, F64]
    texts: dict[str, Texts]
    text_maps: dict[str, Mapping[str, Texts]]
    real_maps: dict[str, Mapping[str, F64]]
    doubtful: B1


def sound_rows(frames: Frames, columns: Columns) -> B1:
    """Which rows keep the rules on prediction events and on their key: true where sound."""
    ids = columns.texts["request_id"]
    sound: B1 = _sound(
        ids.buffer, ids.at, ids.size, frames.buffer, frames.key_at, frames.key_size, frames.value_size,
        columns.texts["rollout_id"].size, columns.numbers["event_at_ms"], columns.reals["latency_ms"],
        columns.numbers["arm"], columns.numbers["role"], columns.numbers["status"], columns.doubtful,
    )  # fmt: skip
    return sound


def event_batch(
    topic: str, partition: int, columns: Columns, *, offset: I64, appended_at_ms: I64, filled: Mapping[str, Any]
) -> EventBatch:
    """Sound rows as a batch."""
    count = len(offset)

    def texts(name: str) -> Texts:
        return columns.texts[name] if name in columns.texts else Texts.same(filled[name], count)

    return EventBatch(
        topic=topic, partition=partition, offset=offset, appended_at_ms=appended_at_ms,
        request_id=columns.texts["request_id"],
        rollout_id=texts("rollout_id"),
        arm=columns.numbers["arm"],
        role=columns.numbers["role"],
        event_at_ms=columns.numbers["event_at_ms"],
        latency_ms=columns.reals["latency_ms"],
        status=columns.numbers["status"],
        model_version=texts("model_version"),
        label=texts("label"),
        confidence=columns.reals["confidence"] if "confidence" in columns.reals else np.full(count, np.nan),
        output=texts("output"),
        endpoint=texts("endpoint"),
        instance_id=texts("instance_id"),
        error_type=texts("error_type"),
        segments=dict(columns.text_maps.get("segments", {})),
        measures=dict(columns.real_maps.get("measures", {})),
        trace_of=columns.texts["trace_id"].text if "trace_id" in columns.texts else untraced,
    )  # fmt: skip


@compiled
def _sound(
    ids: Any, id_at: Any, id_size: Any, keys: Any, key_at: Any, key_size: Any, value_size: Any, rollout_size: Any,
    event_at_ms: Any, latency_ms: Any, arm: Any, role: Any, status: Any, doubtful: Any,
) -> Any:  # fmt: skip
    sound = np.empty(len(id_at), np.bool_)
    for i in range(len(id_at)):
        sound[i] = (
            0 < id_size[i] <= MAX_REQUEST_ID_BYTES
            and id_size[i] == key_size[i]
            and is_same(address(ids) + id_at[i], address(keys) + key_at[i], id_size[i])
            and value_size[i] <= MAX_EVENT_BYTES
            and rollout_size[i] > 0
            and 0 <= event_at_ms[i] <= MAX_AT_MS
            and latency_ms[i] >= 0
            and min(arm[i], role[i], status[i]) >= 0
            and not doubtful[i]
        )
    return sound
