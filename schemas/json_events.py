"""Prediction events as JSON, whole record batches at once: Kafka's framing by columns, each value read once.

Law: a row that is not doubtful is what the codec reads of it, down to codes and vocabularies; a doubtful one
is left to the codec. Two readers of JSON differ where a map names a key twice, so such a row is doubtful: the
colons that stand outside strings are counted, and must be as many as the keys that were read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from paritygate.schemas.arrays import B1, I32, I64, U8
from paritygate.schemas.columns import Codes, EventBatch
from paritygate.schemas.compiled import compiled
from paritygate.schemas.frames import Frames
from paritygate.schemas.ids import Ids
from paritygate.schemas.prediction import ARMS, MAX_REQUEST_ID_BYTES, ROLES, STATUSES, PredictionEvent
from paritygate.schemas.rules import MAX_AT_MS, MAX_EVENT_BYTES

_ABSENT: Final = object()
_FIELDS: Final = {
    f.name: f.default if f.default is not dataclasses.MISSING else _ABSENT
    for f in dataclasses.fields(PredictionEvent)
} | {"segments": {}, "measures": {}}
_NUMBER: Final = frozenset({int, float})
_TEXT: Final = frozenset({str})
_TYPES: Final[dict[str, frozenset[type]]] = {
    **dict.fromkeys(_FIELDS, _TEXT),
    "event_at_ms": frozenset({int}),
    "latency_ms": _NUMBER,
    "label": frozenset({str, type(None)}),
    "confidence": frozenset({int, float, type(None)}),
    "segments": frozenset({dict}),
    "measures": frozenset({dict}),
}
_CODES: Final = {
    "arm": {m.value: code for code, m in enumerate(ARMS)},
    "role": {m.value: code for code, m in enumerate(ROLES)},
    "status": {m.value: code for code, m in enumerate(STATUSES)},
}
#: Stands in the place of a doubtful row until it is known what that is.
_DUMMY: Final[dict[str, Any]] = {
    "request_id": "-", "rollout_id": "-", "arm": "baseline", "role": "primary", "event_at_ms": 0,
    "latency_ms": 0.0, "status": "ok", "model_version": "",
}  # fmt: skip
_QUOTE, _COLON, _BACKSLASH, _BRACE = (ord(c) for c in '":\\{')
_SPACES: Final = (32, 9, 10, 13)


@dataclass(slots=True)
class JsonEvents:
    """Events by column, in plain Python values. ``doubtful``: rows that the codec must read.

    ``keys``: the Kafka keys, which are the request ids of all rows that are kept.
    """

    keys: Ids
    columns: dict[str, list[Any]]
    doubtful: list[int]

    def put(self, row: int, event: PredictionEvent) -> None:
        """What the codec read of a doubtful row."""
        for name, column in self.columns.items():
            value = getattr(event, name)
            column[row] = value.value if name in _CODES else value

    def batch(self, topic: str, partition: int, kept: B1, offset: I64, appended_at_ms: I64) -> EventBatch:
        """The kept rows, of which none is doubtful any more; ``offset`` and ``appended_at_ms`` are of all rows."""
        columns, keys = self.columns, self.keys
        if not kept.all():
            rows = np.flatnonzero(kept)
            keys = keys.take(rows)
            offset, appended_at_ms = offset[rows], appended_at_ms[rows]
            columns = {name: [column[i] for i in rows.tolist()] for name, column in columns.items()}
        count, nan = len(offset), float("nan")

        def codes(name: str) -> Codes:
            return Codes.of(columns[name])

        def symbols(name: str) -> Any:
            return np.fromiter(map(_CODES[name].__getitem__, columns[name]), np.int8, count)

        sure = columns["confidence"]
        return EventBatch(
            topic=topic, partition=partition, offset=offset, appended_at_ms=appended_at_ms,
            request_id=keys, rollout_id=codes("rollout_id"), arm=symbols("arm"),
            role=symbols("role"), event_at_ms=np.array(columns["event_at_ms"], np.int64),
            latency_ms=np.array(columns["latency_ms"], np.float64), status=symbols("status"),
            model_version=codes("model_version"), label=codes("label"),
            confidence=np.array([nan if v is None else v for v in sure] if None in sure else sure, np.float64),
            output=codes("output"), endpoint=codes("endpoint"), instance_id=codes("instance_id"),
            error_type=codes("error_type"),
            segments={name: Codes.of(values) for name, values in _by_key(columns["segments"]).items()},
            measures={
                name: np.array([nan if v is None else v for v in values] if None in values else values, np.float64)
                for name, values in _by_key(columns["measures"]).items()
            },
            trace_of=columns["trace_id"].__getitem__,
        )  # fmt: skip


def read_events(frames: Frames) -> JsonEvents:
    """Read the values of some records."""
    text, begin = frames.buffer, frames.value_at
    docs, doubtful = _documents(frames)
    for row in np.flatnonzero((frames.value_size > MAX_EVENT_BYTES) | (text[begin] != _BRACE)).tolist():
        docs[row] = {}
        doubtful.add(row)
    columns = _columns(docs, doubtful)
    for name, allowed in _TYPES.items():
        doubtful.update(_others(columns[name], allowed))
    for name, allowed in (("segments", _TEXT), ("measures", _NUMBER)):
        doubtful.update(_wrong_maps(columns[name], allowed))
    _blank(columns, doubtful)
    pairs = sum(np.fromiter(map(len, maps), np.int64, len(frames))
                for maps in (docs, columns["segments"], columns["measures"]))  # fmt: skip
    doubtful.update(np.flatnonzero(_colons(text, begin, frames.value_size) != pairs).tolist())
    keys = Ids(frames.buffer, frames.key_at, frames.key_size)
    doubtful.update(_unsound(columns, keys))
    _blank(columns, doubtful)
    return JsonEvents(keys, columns, sorted(doubtful))


def _blank(columns: dict[str, list[Any]], doubtful: Collection[int]) -> None:
    """Put something harmless in the place of doubtful rows."""
    for name, column in columns.items() if doubtful else ():
        placeholder = _DUMMY.get(name, _FIELDS[name])
        for row in doubtful:
            column[row] = placeholder


def _documents(frames: Frames) -> tuple[list[dict[str, Any]], set[int]]:
    """The object of each row; an empty one, and doubt, where there is none."""
    text = memoryview(frames.buffer)  # type: ignore[arg-type]
    ends = frames.value_at + frames.value_size
    values = [text[begin:end] for begin, end in zip(frames.value_at.tolist(), ends.tolist(), strict=True)]
    doubtful: set[int] = set()
    try:
        docs = list(map(orjson.loads, values))
    except orjson.JSONDecodeError:
        docs = []
        for i, value in enumerate(values):
            try:
                docs.append(orjson.loads(value))
            except orjson.JSONDecodeError:
                docs.append({})
                doubtful.add(i)
    return docs, doubtful


def _columns(docs: Sequence[dict[str, Any]], doubtful: set[int]) -> dict[str, list[Any]]:
    """The fields of all rows; rows with fields that are not known become doubtful."""
    shapes = list(map(tuple, docs))
    distinct = set(shapes)
    unknown = {shape for shape in distinct if not _FIELDS.keys() >= set(shape)}
    if unknown:
        doubtful.update(i for i, shape in enumerate(shapes) if shape in unknown)
    elif len(distinct) == 1:
        found = dict(zip(distinct.pop(), map(list, zip(*map(dict.values, docs), strict=True)), strict=True))
        return {name: found.get(name) or [default] * len(docs) for name, default in _FIELDS.items()}
    return {name: [doc.get(name, default) for doc in docs] for name, default in _FIELDS.items()}


def _others(column: Sequence[Any], allowed: frozenset[type]) -> Iterator[int]:
    """Rows whose type is none of the allowed."""
    if not set(map(type, column)) <= allowed:
        yield from (i for i, value in enumerate(column) if type(value) not in allowed)


def _wrong_maps(maps: Sequence[Any], allowed: frozenset[type]) -> Iterator[int]:
    """Rows whose map has a value of another type; what is no map is not looked at."""
    sound = [m for m in maps if type(m) is dict]
    if not set(map(type, chain.from_iterable(map(dict.values, sound)))) <= allowed:
        yield from (i for i, m in enumerate(maps) if type(m) is dict and not set(map(type, m.values())) <= allowed)


def _unsound(columns: dict[str, list[Any]], keys: Ids) -> list[int]:
    """Rows that may break a rule on prediction events or on their key; types are right here."""
    ids, times = columns["request_id"], columns["event_at_ms"]
    rollouts, waited = columns["rollout_id"], columns["latency_ms"]
    found: list[int] = []
    found.extend(np.flatnonzero(~Ids.of(ids).equal(keys)).tolist())
    # A character has at most 4 bytes: whether longer ids are too long is left to the codec.
    if min(map(len, ids)) < 1 or max(map(len, ids)) > MAX_REQUEST_ID_BYTES // 4:
        found.extend(i for i, text in enumerate(ids) if not 1 <= len(text) <= MAX_REQUEST_ID_BYTES // 4)
    if min(times) < 0 or max(times) > MAX_AT_MS:
        found.extend(i for i, at_ms in enumerate(times) if not 0 <= at_ms <= MAX_AT_MS)
    if min(waited) < 0:
        found.extend(i for i, ms in enumerate(waited) if ms < 0)
    if "" in rollouts:
        found.extend(i for i, rollout_id in enumerate(rollouts) if not rollout_id)
    for name, codes in _CODES.items():
        if not set(columns[name]) <= codes.keys():
            found.extend(i for i, symbol in enumerate(columns[name]) if symbol not in codes)
    return found


def _colons(text: U8, at: I64, size: I32) -> I64:
    """Colons outside of strings in each row, or more; -1 where that cannot be said.

    Such a colon follows the closing quote of a key, at once or after white space. A quote inside of a string
    has a backslash before it; a key that ends with a backslash has two.
    """
    counts: I64 = _count_colons(text, at, size)
    return counts


@compiled
def _count_colons(text: Any, at: Any, size: Any) -> Any:
    counts = np.zeros(len(at), np.int64)
    for row in range(len(at)):
        for i in range(at[row] + 3, at[row] + size[row]):
            if text[i] != _COLON:
                continue
            before = text[i - 1]
            if before == _QUOTE and text[i - 2] != _BACKSLASH:
                counts[row] += 1
            elif before in _SPACES or (before == _QUOTE and text[i - 3] == _BACKSLASH):
                counts[row] = -1
                break
    return counts


def _by_key(maps: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values of each key, None where a map does not have it; keys in order of first appearance."""
    shapes = set(map(tuple, maps))
    if len(shapes) == 1:
        names = shapes.pop()
        return dict(zip(names, zip(*map(dict.values, maps), strict=True), strict=True)) if names else {}
    return {key: [m.get(key) for m in maps] for key in dict.fromkeys(chain.from_iterable(maps))}
