"""Fetched record batches of a prediction topic to one EventBatch, and what is poison.

Law: columnar and record-by-record decoding give the same answer for every input, poison and reasons
included; a record that cannot be read costs itself and nothing else. Whole batches of one known schema
version, or of JSON, take the columnar way (``frames``, ``avro_events``, ``json_events``); what that cannot take
goes record by record through the codec, which also words every reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from paritygate.schemas.arrays import B1, I64
from paritygate.schemas.avro_events import AvroLayout, event_batch, sound_rows
from paritygate.schemas.codec import ConfluentIds, decode
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.concatenation import concat
from paritygate.schemas.dead_letter import Poison
from paritygate.schemas.errors import DecodeError, InvalidRecordError, PoisonError
from paritygate.schemas.frames import SAFE_MS, Frames, LayoutError, read_frames
from paritygate.schemas.json_events import read_events
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.record_batches import Record, RecordBatch, read_record, records, split
from paritygate.schemas.registry import REGISTRY, SINGLE_OBJECT, Registry

#: Most bytes of batch bodies that one columnar call gets; it bounds the memory of a call.
MAX_RUN_BYTES = 32 << 20
#: The same for JSON: plain Python values are many times as large, and should fit into the processor's cache.
JSON_RUN_BYTES = 256 << 10

#: Most first records are shorter.
_FIRST_BYTES = 4 << 10

_Body = bytes | memoryview
_Layout = AvroLayout | Literal["json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a fetch held: ``batch`` and ``poison``, each in offset order.

    ``next_offset``: where to fetch next. ``records``: events plus poison, at or after the start offset.
    ``needed_bytes``: see :class:`~paritygate.schemas.record_batches.BatchSplit`.
    """

    batch: EventBatch
    poison: list[Poison]
    next_offset: int
    records: int
    needed_bytes: int = 0


def decode_batches(
    topic: str,
    partition: int,
    buffer: bytes | memoryview,
    start_offset: int,
    *,
    confluent_ids: ConfluentIds | None = None,
    registry: Registry = REGISTRY,
    skip_damaged: bool = False,
    columnar: bool = True,
) -> Decoded:
    """Decode the records of a fetch response of a prediction topic, from ``start_offset`` on.

    The key must be the request id in UTF-8, since the join is keyed by it; another is poison. Control
    batches hold no events and are passed over.

    :param skip_damaged: put a damaged batch aside as one poison instead of raising, see
        :func:`~paritygate.schemas.record_batches.split`.
    :param columnar: false decodes record by record, to the same answer.
    :raises DecodeError: the first batch is damaged and ``skip_damaged`` is false.
    """
    found = split(buffer, start_offset, skip_damaged=skip_damaged)
    decoder = _Decoder(topic, partition, start_offset, registry, confluent_ids)
    for batch in found.batches:
        decoder.add(batch, columnar=columnar)
    decoder.flush()
    events = concat(topic, partition, decoder.pieces)
    # A damaged batch may name an offset that a sound one holds too.
    decoder.poison.sort(key=lambda p: (p.offset, p.kind, p.reason))
    return Decoded(
        batch=events,
        poison=decoder.poison,
        next_offset=found.next_offset,
        records=len(events) + len(decoder.poison),
        needed_bytes=found.needed_bytes,
    )


@dataclass(slots=True)
class _Run:
    """Consecutive batches of one layout, waiting for their call."""

    layout: _Layout
    batches: list[tuple[RecordBatch, _Body]] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def limit_bytes(self) -> int:
        """Size beyond which the run is decoded."""
        return JSON_RUN_BYTES if self.layout == "json" else MAX_RUN_BYTES


class _Decoder:
    """Takes batches in offset order; fills ``pieces`` and ``poison``."""

    def __init__(
        self, topic: str, partition: int, start_offset: int, registry: Registry, ids: ConfluentIds | None
    ) -> None:
        self.topic, self.partition, self.start_offset = topic, partition, start_offset
        self.registry, self.ids = registry, ids
        self.layouts = _layouts(registry)
        self.pieces: list[EventBatch] = []
        self.poison: list[Poison] = []
        self._run: _Run | None = None
        self._events: list[tuple[int, int, PredictionEvent]] = []

    def add(self, batch: RecordBatch, *, columnar: bool) -> None:
        """Take the next batch."""
        if batch.damage:
            self._put_aside(batch, batch.base_offset, batch.payload, DecodeError(f"record batch {batch.damage}"))
            return
        if batch.is_control:
            return
        try:
            body = batch.body()
        except DecodeError as e:
            self._put_aside(batch, max(batch.base_offset, self.start_offset), batch.payload, e)
            return
        layout = self._layout(batch, body) if columnar else None
        if layout is None:
            self._finish_run()
            self._read_each(batch, bytes(body))
            return
        if self._run is None or self._run.layout is not layout or self._run.size_bytes > self._run.limit_bytes:
            self.flush()
            self._run = _Run(layout)
        self._run.batches.append((batch, body))
        self._run.size_bytes += len(body)

    def flush(self) -> None:
        """Finish what is waiting."""
        self._finish_run()
        self._finish_events()

    def _layout(self, batch: RecordBatch, body: _Body) -> _Layout | None:
        """The layout of a batch judging by its first record, ``None`` where it must go record by record."""
        if not batch.count or not -SAFE_MS <= batch.base_timestamp_ms <= SAFE_MS:
            return None
        first = _first_record(batch, body)
        if first is None:
            return None
        if first.key is None or first.headers or not first.value:
            return None
        if first.value.startswith(b"{"):
            return "json"
        if not first.value.startswith(SINGLE_OBJECT):
            return None
        return self.layouts.get(int.from_bytes(first.value[2:10], "little"))

    def _finish_run(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self._finish_events()
        if self._read_columns(run.layout, run.batches):
            return
        for batch, body in run.batches:
            if len(run.batches) == 1 or not self._read_columns(run.layout, [(batch, body)]):
                self._read_each(batch, bytes(body))

    def _finish_events(self) -> None:
        if self._events:
            self.pieces.append(EventBatch.of(self.topic, self.partition, self._events))
            self._events = []

    def _read_columns(self, layout: _Layout, batches: Sequence[tuple[RecordBatch, _Body]]) -> bool:
        """Decode batches in one call; false, with nothing kept, where that cannot be done."""
        try:
            frames = read_frames([(batch.count, body) for batch, body in batches])
            offset, appended_at_ms = _places(frames, [batch for batch, _ in batches])
            new = offset >= self.start_offset
            read = self._json_piece if layout == "json" else partial(self._avro_piece, layout)
            piece, poison = read(frames, batches, kept=new, offset=offset, appended_at_ms=appended_at_ms)
        except LayoutError:
            return False
        self._finish_events()
        self.pieces.append(piece)
        self.poison.extend(poison)
        return True

    def _avro_piece(
        self,
        layout: AvroLayout,
        frames: Frames,
        batches: Sequence[tuple[RecordBatch, _Body]],
        *,
        kept: B1,
        offset: I64,
        appended_at_ms: I64,
    ) -> tuple[EventBatch, list[Poison]]:
        columns = layout.read(frames)
        sound = sound_rows(frames, columns)
        found = self._codec_reads(frames, batches, np.flatnonzero(kept & ~sound).tolist())
        if any(not isinstance(it, Poison) for it in found.values()):
            raise LayoutError("a row that is sound after all")
        kept &= sound
        if not kept.all():
            # Read again: what the others name is in no vocabulary.
            columns, offset, appended_at_ms = layout.read(frames.take(kept)), offset[kept], appended_at_ms[kept]
        piece = event_batch(
            self.topic, self.partition, columns,
            offset=offset, appended_at_ms=appended_at_ms, filled=layout.filled,
        )  # fmt: skip
        return piece, [it for it in found.values() if isinstance(it, Poison)]

    def _json_piece(
        self,
        frames: Frames,
        batches: Sequence[tuple[RecordBatch, _Body]],
        *,
        kept: B1,
        offset: I64,
        appended_at_ms: I64,
    ) -> tuple[EventBatch, list[Poison]]:
        events = read_events(frames)
        poison: list[Poison] = []
        for row, it in self._codec_reads(frames, batches, [i for i in events.doubtful if kept[i]]).items():
            if isinstance(it, Poison):
                poison.append(it)
                kept[row] = False
            else:
                events.put(row, it)
        return events.batch(self.topic, self.partition, kept, offset, appended_at_ms), poison

    def _codec_reads(
        self, frames: Frames, batches: Sequence[tuple[RecordBatch, _Body]], doubtful: Iterable[int]
    ) -> dict[int, Poison | PredictionEvent]:
        """Some rows as the codec sees them: the event, or the reason why there is none."""
        found: dict[int, Poison | PredictionEvent] = {}
        copies: dict[int, bytes] = {}
        for row in doubtful:
            place = int(frames.batch[row])
            batch, body = batches[place]
            copy = copies.get(place) or copies.setdefault(place, bytes(body))
            record, _ = read_record(batch, copy, int(frames.start[row]))
            try:
                found[row] = self._event(record)
            except PoisonError as e:
                found[row] = _poison(record, e)
        return found

    def _read_each(self, batch: RecordBatch, body: bytes) -> None:
        """Decode one batch record by record."""
        at = batch.base_offset
        try:
            for record in records(batch, body):
                at = record.offset + 1
                if record.offset < self.start_offset:
                    continue
                try:
                    event = self._event(record)
                except PoisonError as e:
                    self.poison.append(_poison(record, e))
                else:
                    self._events.append((record.offset, record.timestamp_ms, event))
        except DecodeError as e:
            self._put_aside(batch, max(at, self.start_offset), body, e)

    def _event(self, record: Record) -> PredictionEvent:
        event = decode(PredictionEvent, record.value, registry=self.registry, confluent_ids=self.ids)
        if record.key is None:
            raise InvalidRecordError("Kafka key must be the request id, not null")
        if record.key != event.request_id.encode():
            raise InvalidRecordError("Kafka key must be the request id in UTF-8")
        return event

    def _put_aside(self, batch: RecordBatch, offset: int, raw: _Body, error: PoisonError) -> None:
        self.poison.append(
            Poison(
                offset=offset,
                timestamp_ms=batch.max_timestamp_ms,
                key=None,
                value=bytes(raw),
                headers=(),
                kind=error.kind,
                reason=str(error),
            )
        )


def _first_record(batch: RecordBatch, body: _Body) -> Record | None:
    """The first record of a batch, mostly without a copy of the body; ``None`` where it is malformed."""
    for part in (body[:_FIRST_BYTES], body):
        with suppress(DecodeError):
            return read_record(batch, bytes(part), 0)[0]
    return None


def _poison(record: Record, error: PoisonError) -> Poison:
    return Poison(
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
        kind=error.kind,
        reason=str(error),
    )


def _places(frames: Frames, batches: Sequence[RecordBatch]) -> tuple[I64, I64]:
    """Offset and timestamp of every row.

    :raises LayoutError: offsets that do not rise within their batch's bounds.
    """
    base = np.array([b.base_offset for b in batches], np.int64)
    last = np.array([b.last_offset for b in batches], np.int64)
    offset = base[frames.batch] + frames.offset_delta
    if (frames.offset_delta < 0).any() or (offset > last[frames.batch]).any() or (np.diff(offset) <= 0).any():
        raise LayoutError("offsets out of order")
    base_ms = np.array([b.base_timestamp_ms for b in batches], np.int64)
    max_ms = np.array([b.max_timestamp_ms for b in batches], np.int64)
    by_broker = np.array([b.is_log_append_time for b in batches], np.bool_)[frames.batch]
    return offset, np.where(by_broker, max_ms[frames.batch], base_ms[frames.batch] + frames.delta_ms)


@lru_cache(maxsize=16)
def _layouts(registry: Registry) -> dict[int, AvroLayout]:
    """Layout by fingerprint, of every version that needs no schema resolution."""
    reader = registry.newest("PredictionEvent")
    found = {s.fingerprint: AvroLayout.of(s, reader) for s in registry.versions("PredictionEvent")}
    return {fingerprint: layout for fingerprint, layout in found.items() if layout is not None}
