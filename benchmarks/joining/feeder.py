"""Put a rollout's traffic into the topics before the engines run.

Law: the topics are full before the first engine starts, and every engine reads the same records. One process for
each arm makes record batches of up to ``BATCH_BYTES`` and sends one for each partition with every request.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from typing import Any

import numpy as np
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from joining.traffic import ARMS, BASELINE, Traffic, Truth
from joining.wire import MAX_RECORDS, batches

#: What a busy producer sends; the topics take record batches of up to 256 KiB.
BATCH_BYTES = 200_000
#: How long a live producer gathers events before it sends them.
TICK_MS = 20
_IN_FLIGHT = 4
_ANSWER_WITHIN_MS = 30_000
#: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER: the topic was made just now.
_NO_LEADER_YET = {3, 5, 6}


def preload(bootstrap: str, topics: tuple[str, str], partitions: int, traffic: Traffic) -> Truth:
    """Append all events; ``topics``: of the baseline's and of the candidate's arm. Returns what is in them."""
    with ProcessPoolExecutor(len(ARMS)) as pool:
        parts = [pool.submit(_preload_arm, bootstrap, topics[a], partitions, traffic, a) for a in range(len(ARMS))]
        return [part.result() for part in parts][BASELINE]


def _preload_arm(bootstrap: str, topic: str, partitions: int, traffic: Traffic, arm: int) -> Truth:
    return asyncio.run(_append(bootstrap, topic, partitions, traffic, arm))


async def _append(bootstrap: str, topic: str, partitions: int, traffic: Traffic, arm: int) -> Truth:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    truth = Truth()
    led = False
    flying: set[asyncio.Task[None]] = set()
    try:
        for chunk in traffic.chunks():
            truth.add(chunk)
            now_ms = time.time_ns() // 1_000_000
            ready = [
                [(partition, data) for _, data in batches(records, now_ms, BATCH_BYTES // records.shape[1])]
                for partition, records, _ in chunk.by_partition(arm, partitions)
            ]
            for one in zip_longest(*ready):
                parts = [part for part in one if part is not None]
                if not led:
                    await _send(client, topic, parts, retry=True)
                    led = True
                    continue
                while len(flying) >= _IN_FLIGHT:
                    done, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                flying.add(asyncio.create_task(_send(client, topic, parts)))
                await asyncio.sleep(0)
        await asyncio.gather(*flying)
    finally:
        await client.close()
    return truth


def play(bootstrap: str, topics: tuple[str, str], partitions: int, traffic: Traffic, begins_at_ms: int) -> int:
    """Append every event when it is due, in a batch for each partition and ``TICK_MS``; blocks.

    ``traffic.start_ms`` is in the future. Returns by how many milliseconds the feeder was late at worst.
    """
    return asyncio.run(_play(bootstrap, topics, partitions, traffic, begins_at_ms))


async def _play(
    bootstrap: str, topics: tuple[str, str], partitions: int, traffic: Traffic, begins_at_ms: int
) -> int:
    lanes = _lanes(traffic, partitions)
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    late_ms, at_ms = 0, begins_at_ms
    try:
        while any(sent < len(due) for _, _, _, due, sent in lanes):
            at_ms += TICK_MS
            await asyncio.sleep(max(0.0, at_ms / 1000 - time.time()))
            late_ms = max(late_ms, time.time_ns() // 1_000_000 - at_ms)
            for arm, topic in enumerate(topics):
                parts = []
                for lane in lanes:
                    lane_arm, partition, records, due, sent = lane
                    until = int(np.searchsorted(due, at_ms)) if lane_arm == arm else sent
                    if until > sent:
                        parts.append((partition, next(batches(records[sent:until], at_ms, MAX_RECORDS))[1]))
                        lane[4] = until
                if parts:
                    await _send(client, topic, parts)
    finally:
        await client.close()
    return late_ms


def _lanes(traffic: Traffic, partitions: int) -> list[list[Any]]:
    """For each arm and partition: arm, partition, records, when each is due (rising), how many are sent."""
    found: dict[tuple[int, int], list[tuple[Any, Any]]] = {}
    for chunk in traffic.chunks():
        for arm in range(len(ARMS)):
            for partition, records, due in chunk.by_partition(arm, partitions):
                found.setdefault((arm, partition), []).append((records, due))
    lanes = []
    for (arm, partition), pieces in found.items():
        due = np.maximum.accumulate(np.concatenate([piece[1] for piece in pieces]))
        lanes.append([arm, partition, np.concatenate([piece[0] for piece in pieces]), due, 0])
    return lanes


async def _send(client: AIOKafkaClient, topic: str, parts: list[tuple[int, bytes]], *, retry: bool = False) -> None:
    """Append a batch to each partition; ``retry``: those that have no leader yet, for a while."""
    until = time.monotonic() + _ANSWER_WITHIN_MS / 1000
    node = next(iter(client.cluster.brokers())).nodeId
    while parts:
        answer = await client.send(node, ProduceRequest(None, 1, _ANSWER_WITHIN_MS, [(topic, parts)]))
        errors = {part[0]: part[1] for _, answered in answer.topics for part in answered if part[1]}
        if errors and not (retry and set(errors.values()) <= _NO_LEADER_YET and time.monotonic() < until):
            raise RuntimeError(f"{topic} cannot be filled: Kafka error codes {sorted(set(errors.values()))}")
        parts = [part for part in parts if part[0] in errors]
        if parts:
            await asyncio.sleep(0.1)
