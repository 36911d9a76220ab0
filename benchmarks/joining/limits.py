"""How fast the parts of the hot path could be: each part's least work alone, on the benchmark's own records.

Law: a limit is what the least work of a part takes for the same records and nothing else, in processor time of one
thread; ``fetch`` alone waits for the broker and is told in wall time. What the worker takes beyond them is ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from joining.feeder import BATCH_BYTES
from joining.stage import Stage
from joining.traffic import ARMS, CHUNK, Chunk, Traffic
from joining.wire import batches
from paritygate.schemas.avro_events import AvroLayout
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.frames import Bodies, read_frames
from paritygate.schemas.record_batches import split
from paritygate.schemas.registry import REGISTRY
from paritygate.streams.fetch import BatchFetcher
from paritygate.streams.settings import WorkerSettings

#: About how many of the counts of a pair are true, and how many buckets its latencies and confidences fill.
_TRUE_COUNTS = 8
_BUCKETS = 5
_TIMES = 5


def limits(stage: Stage) -> dict[str, float]:
    """Microseconds a pair of each part alone; the best of some runs."""
    chunk = Chunk.of(Traffic(pairs=CHUNK, start_ms=stage.traffic.start_ms), 0, CHUNK)
    fetched = [_fetched(chunk, arm) for arm in range(len(ARMS))]
    ids, places = _ids(fetched[0]), _places(chunk)
    return {
        "fetch": round(asyncio.run(_fetch(stage)) / stage.truth.pairs * 1e6, 3),
        "decode_native": _best(lambda: [_decode_natively(data) for data in fetched]),
        "decode_ours": _best(lambda: [decode_batches("t", 0, data, 0) for data in fetched]),
        "probe_dict": _best(lambda: _probe(ids)),
        "aggregate_bincount": _best(lambda: [np.bincount(codes) for codes in places]),
    }


def _best(work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(_TIMES):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return round(min(taken) / CHUNK * 1e6, 3)


def _fetched(chunk: Chunk, arm: int) -> bytes:
    """One arm's events as a fetch brings them: many batches with rising offsets."""
    out, offset = [], 0
    for _, records, _ in chunk.by_partition(arm, 1):
        for count, data in batches(records, 0, BATCH_BYTES // records.shape[1]):
            out.append(offset.to_bytes(8, "big") + data[8:])
            offset += count
    return b"".join(out)


def _decode_natively(data: bytes) -> Any:
    """The two compiled passes over the bytes: framing, then fields into columns."""
    layout = AvroLayout.of(REGISTRY.newest("PredictionEvent"), REGISTRY.newest("PredictionEvent"))
    assert layout is not None
    bodies = Bodies.of([(batch, batch.body()) for batch in split(data, 0).batches], data)
    return layout.layout.read(read_frames(bodies))


def _ids(data: bytes) -> list[str]:
    return decode_batches("t", 0, data, 0).batch.request_id.decoded()


def _probe(ids: list[str]) -> None:
    """The first arm's ids into a dict, the second's out of it, both remembered in a set."""
    waiting: dict[str, int] = {}
    waiting.update(zip(ids, range(len(ids)), strict=True))
    pop = waiting.pop
    np.array([pop(i, -1) for i in ids], np.int64)
    seen: set[str] = set()
    seen.update(ids)


def _places(chunk: Chunk) -> list[Any]:
    """Places of what is counted: a segment for each count that is true, a bucket for each value."""
    segments = [chunk.combination] * _TRUE_COUNTS
    return [*segments, *(chunk.latency_us[i % len(ARMS)] // 100 for i in range(_BUCKETS))]


async def _fetch(stage: Stage) -> float:
    """Seconds to fetch all of both topics and to look at nothing in it."""
    settings = WorkerSettings(kafka=stage.settings)
    fetcher = BatchFetcher(
        stage.settings,
        list(stage.topics),
        partitions=stage.partitions,
        wait_ms=settings.fetch_wait_ms,
        partition_bytes=settings.fetch_bytes,
    )
    await fetcher.start()
    began = time.perf_counter()
    try:
        positions = {(topic, partition): 0 for topic in stage.topics for partition in range(stage.partitions)}
        while positions:
            found, lost = await fetcher.fetch(positions)
            assert not lost, "the topics do not begin at offset 0"
            for answer in found:
                place = answer.topic, answer.partition
                positions[place] = split(answer.data, answer.start).next_offset
                if positions[place] >= answer.log_end:
                    del positions[place]
        return time.perf_counter() - began
    finally:
        await fetcher.stop()
