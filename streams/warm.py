"""Warm: what the hot path needs, compiled and loaded before a worker owns a partition.

Law: after :func:`warm_up` no event makes a worker compile or load anything: that would hold up the join, the
decider and the heartbeats for seconds. It takes a second where machine code is kept (``schemas.compiled``), else
about fifteen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from paritygate.comparators.partition import PartitionJoin
from paritygate.comparators.places import NEVER, Places
from paritygate.comparators.settings import JoinSettings
from paritygate.schemas.codec import encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.columns import EventBatch
from paritygate.schemas.ids import hashes
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.report_columns import decode_report, encode_report
from paritygate.schemas.texts import Texts
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW

_ROLLOUT: Final = "warm"
#: Events a topic: enough that the table of requests is made anew.
_EVENTS: Final = 2_000
_AT_MS: Final = 1_764_000_000_000
#: Ids that fill many blocks of a table, of which each block keeps one.
_LONG_BYTES, _LONG, _KEPT_EACH, _TIMES = 2_000, 256, 16, 8


def warm_up() -> None:
    """Take a few events of each kind through decoding, joining and reporting, to no effect."""
    baseline = PredictionEvent(
        request_id="", rollout_id=_ROLLOUT, arm=Arm.BASELINE, role=Role.PRIMARY, event_at_ms=_AT_MS, latency_ms=1.0,
        status=Status.OK, model_version="1", label="a", confidence=0.5, output='{"prediction":"a"}',
        segments={"k": "v"}, measures={"m": 1.0},
    )  # fmt: skip
    candidate = replace(baseline, arm=Arm.CANDIDATE, role=Role.SHADOW, label="b")
    join = PartitionJoin(0, 1)
    join.declare(JoinSettings(_ROLLOUT, ("k",)))
    sides = ((PREDICTIONS_PRIMARY.name, baseline, 0), (PREDICTIONS_SHADOW.name, candidate, 1))
    ways: tuple[Callable[[PredictionEvent], bytes], ...] = encode, orjson.dumps
    fetched: list[tuple[EventBatch, int]] = []
    for turn, write in enumerate(ways):
        for topic, event, skipped in sides:
            # The first request of each turn has one arm only: it waits, and is given up at the end.
            found = _decoded(topic, event, range(skipped, _EVENTS), turn, write)
            fetched.append((found, (turn + 1) * _EVENTS))
            join.ingest(*fetched[-1])
    restarted = PartitionJoin.restore(join.snapshot())
    for batch, next_offset in fetched:
        restarted.ingest(batch, next_offset)
    join.repeat(_AT_MS + 10_000_000)
    for report in join.take_reports(1):
        decode_report(encode_report(report))
    _thin_out()


def _thin_out() -> None:
    """Forget most ids of a table, so that those that stay are copied together."""
    places = Places(hashes, lambda: None)
    for turn in range(_TIMES + 1):
        ids = Texts.of([f"{turn}-{number}".ljust(_LONG_BYTES, "-") for number in range(_LONG)])
        found = places.enter(ids, NEVER if turn < _TIMES else NEVER + 1)
        places.waiting[found[::_KEPT_EACH], 0] = 0


def _decoded(
    topic: str, event: PredictionEvent, numbers: range, turn: int, write: Callable[[PredictionEvent], bytes]
) -> EventBatch:
    """Events of one topic, decoded of two record batches in one call."""
    data = b""
    for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
            batch_size=1 << 24,
        )  # fmt: skip
        for place, number in enumerate(half):
            named = replace(event, request_id=f"{turn}-{number}", event_at_ms=event.event_at_ms + number)
            builder.append(place, named.event_at_ms, named.request_id.encode(), write(named), [])
        raw = builder.build()
        data += (turn * _EVENTS + half[0]).to_bytes(8, "big") + bytes(raw[8:])
    return decode_batches(topic, 0, data, 0).batch
