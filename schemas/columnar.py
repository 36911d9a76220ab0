"""Fetched record batches of a prediction topic to one EventBatch, and what is poison.

Law: columnar and record-by-record decoding give the same answer for every input, poison and reasons
included; a record that cannot be read costs itself and nothing else. Whole batches of one known schema
version, or of JSON, take the columnar way (``frames``, ``avro_events``, ``json_events``); what that cannot take
goes record by record through the codec, which also words every reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from paritygate.schemas.arrays import B1
from paritygate.schemas.avro_events import AvroLayout
from paritygate.schemas.codec import ConfluentIds, decode
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.concatenation import concat
from paritygate.schemas.dead_letter import Poison
from paritygate.schemas.errors import DecodeError, InvalidRecordError, PoisonError
from paritygate.schemas.event_columns import event_batch, sound_rows
from paritygate.schemas.frames import Bodies, Frames, LayoutError, read_frames
from paritygate.schemas.json_events import JSON, JsonLayout
from paritygate.schemas.prediction import PredictionEvent
from paritygate.schemas.record_batches import Record, RecordBatch, read_record, records, split
from paritygate.schemas.registry import REGISTRY, Registry

#: Bytes of batch bodies after which those that wait are decoded; it bounds the memory that decoding takes.
MAX_RUN_BYTES = 32 << 20

_Body = bytes | memoryview
_Whole = tuple[RecordBatch, _Body]
_Layout = AvroLayout | JsonLayout


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
    :param buffer: it must never change, for the events lie in it.
    :param columnar: false decodes record by record, to the same answer.
    :raises DecodeError: the first batch is damaged and ``skip_damaged`` is false.
    """
    found = split(buffer, start_offset, skip_damaged=skip_damaged)
    decoder = _Decoder(topic, partition, start_offset, registry, confluent_ids, fetched=buffer, columnar=columnar)
    for batch in found.batches:
        decoder.add(batch)
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


class _Decoder:
    """Takes batches in offset order; fills ``pieces`` and ``poison``."""

    def __init__(
        self,
        topic: str,
        partition: int,
        start_offset: int,
        registry: Registry,
        ids: ConfluentIds | None,
        *,
        fetched: bytes | memoryview,
        columnar: bool,
    ) -> None:
        self.topic, self.partition, self.start_offset = topic, partition, start_offset
        self.registry, self.ids = registry, ids
        self.layouts = _layouts(registry)
        self.pieces: list[EventBatch] = []
        self.poison: list[Poison] = []
        self._fetched, self._columnar = fetched, columnar
        self._waiting: list[_Whole] = []
        self._waiting_bytes = 0
        self._events: list[tuple[int, int, PredictionEvent]] = []

    def add(self, batch: RecordBatch) -> None:
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
        self._waiting.append((batch, body))
        self._waiting_bytes += len(body)
        if self._waiting_bytes > MAX_RUN_BYTES:
            self.flush()

    def flush(self) -> None:
        """Finish what is waiting."""
        batches, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._columnar and batches:
            self._read_runs(batches, Bodies.of(batches, self._fetched))
        else:
            for batch, body in batches:
                self._read_each(batch, bytes(body))
        self._finish_events()

    def _read_runs(self, batches: Sequence[_Whole], bodies: Bodies) -> None:
        """Decode consecutive batches of one layout in one call."""
        layouts = list(map(self._layout, bodies.begins()))
        end = 0
        while end < len(batches):
            begin, layout = end, layouts[end]
            while end < len(batches) and layouts[end] is layout:
                end += 1
            self._read_run(layout, batches[begin:end], bodies[begin:end])

    def _layout(self, begin: bytes) -> _Layout | None:
        """The layout of a batch judging by its first value, ``None`` where it must go record by record."""
        return JSON if begin.startswith(b"{") else self.layouts.get(begin)

    def _read_run(self, layout: _Layout | None, batches: Sequence[_Whole], bodies: Bodies) -> None:
        if layout is not None and self._read_columns(layout, batches, bodies):
            return
        for k, (batch, body) in enumerate(batches):
            one = slice(k, k + 1)
            if layout is None or len(batches) == 1 or not self._read_columns(layout, batches[one], bodies[one]):
                self._read_each(batch, bytes(body))

    def _finish_events(self) -> None:
        if self._events:
            self.pieces.append(EventBatch.of(self.topic, self.partition, self._events))
            self._events = []

    def _read_columns(self, layout: _Layout, batches: Sequence[_Whole], bodies: Bodies) -> bool:
        """Decode batches in one call; false, with nothing kept, where that cannot be done."""
        try:
            frames = read_frames(bodies)
            piece, poison = self._piece(layout, frames, batches, kept=frames.offset >= self.start_offset)
        except LayoutError:
            return False
        self._finish_events()
        self.pieces.append(piece)
        self.poison.extend(poison)
        return True

    def _piece(
        self, layout: _Layout, frames: Frames, batches: Sequence[_Whole], *, kept: B1
    ) -> tuple[EventBatch, list[Poison]]:
        columns = layout.read(frames)
        sound = sound_rows(frames, columns)
        found = self._codec_reads(frames, batches, np.flatnonzero(kept & ~sound).tolist())
        events = {row: it for row, it in found.items() if isinstance(it, PredictionEvent)}
        if events:
            if not isinstance(layout, JsonLayout):
                raise LayoutError("a row that is sound after all")
            frames = layout.rewritten(frames, events)
        kept &= sound
        kept[list(events)] = True
        if events or not kept.all():
            # Read again: what the others name is in no vocabulary.
            frames = frames.take(kept)
            columns = layout.read(frames)
            if columns.doubtful.any():
                raise LayoutError("an event that has no plain form")
        piece = event_batch(
            self.topic, self.partition, columns,
            offset=frames.offset, appended_at_ms=frames.appended_at_ms, filled=layout.filled,
        )  # fmt: skip
        return piece, [it for it in found.values() if isinstance(it, Poison)]

    def _codec_reads(
        self, frames: Frames, batches: Sequence[_Whole], doubtful: Iterable[int]
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


@lru_cache(maxsize=16)
def _layouts(registry: Registry) -> dict[bytes, AvroLayout]:
    """Layout by the first bytes of a value, of every version that needs no schema resolution."""
    reader = registry.newest("PredictionEvent")
    found = {s.header: AvroLayout.of(s, reader) for s in registry.versions("PredictionEvent")}
    return {header: layout for header, layout in found.items() if layout is not None}
