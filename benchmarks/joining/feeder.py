"""Put a rollout's traffic into the topics before the engines run.

Law: the topics are full before the first engine starts, and every engine reads the same records. One process for
each arm makes record batches of up to ``BATCH_BYTES`` and sends one for each partition with every request.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from joining.traffic import ARMS, BASELINE, Traffic, Truth
from joining.wire import batches

#: What a busy producer sends; the topics take record batches of up to 256 KiB.
BATCH_BYTES = 200_000
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
                for partition, records in chunk.by_partition(arm, partitions)
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
