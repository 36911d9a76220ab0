"""The join on Faust Tables: an agent for each topic and a Table for each arm, a peer of the join benchmark.

    python faust_tables.py BROKER BASELINE_TOPIC CANDIDATE_TOPIC NAME FOLDER SCHEMA.avsc PARTITIONS PAIRS

What anybody would write first. Both Tables have changelogs; the counts per segment are kept in memory, which costs
less than a third Table. Prints lines ``progress EPOCH_MS PAIRS``, at the end ``result`` with the counts as JSON,
past Faust, which makes log lines of what is printed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import faust
from fastavro import parse_schema, schemaless_reader

HEADER_BYTES = 10
EACH_S = 0.1

broker, baseline, candidate, name, folder, schema_file, partitions, wanted = sys.argv[1:]
schema = parse_schema(json.loads(Path(schema_file).read_text()))
app = faust.App(
    name,
    broker=f"kafka://{broker}",
    store="memory://",
    datadir=folder,
    topic_partitions=int(partitions),
    topic_replication_factor=1,
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    producer_linger=0.005,
    broker_session_timeout=10.0,
    broker_heartbeat_interval=1.0,
)
app.boot_strategy.enable_web = False
raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
waiting = [
    app.Table(f"waiting-{arm}", partitions=int(partitions), key_type=bytes, value_type=bytes)
    for arm in ("baseline", "candidate")
]
counts: Counter[str] = Counter()
segments: Counter[str] = Counter()
said_at_s = 0.0


def read(value: bytes) -> Any:
    return schemaless_reader(BytesIO(value[HEADER_BYTES:]), schema, None)


def add(ours: Any, theirs: Any) -> None:
    """Count one pair; ends the process after the last."""
    global said_at_s  # noqa: PLW0603
    counts["pairs"] += 1
    counts["label_changes"] += ours["label"] != theirs["label"]
    counts["candidate_errors"] += theirs["status"] != "ok"
    counts["slower"] += theirs["latency_ms"] > ours["latency_ms"]
    segments["|".join(ours["segments"][d] for d in sorted(ours["segments"]))] += 1
    now_s = time.time()
    done = counts["pairs"] == int(wanted)
    if done or now_s - said_at_s >= EACH_S:
        said_at_s = now_s
        print(f"progress {int(now_s * 1000)} {counts['pairs']}", file=sys.__stdout__, flush=True)
    if done:
        print(f"result {json.dumps({**counts, 'segments': segments})}", file=sys.__stdout__, flush=True)
        os._exit(0)


def join(arm: int) -> Any:
    """The agent of one arm: meet the other arm's event, or wait for it."""
    mine, other = waiting[arm], waiting[1 - arm]

    async def agent(stream: Any) -> None:
        async for key, value in stream.items():
            partner = other.pop(key, None)
            if partner is None:
                mine[key] = value
            elif arm:
                add(read(partner), read(value))
            else:
                add(read(value), read(partner))

    return agent


for number, topic in enumerate((baseline, candidate)):
    app.agent(app.topic(topic, partitions=int(partitions), **raw), name=f"join-{number}")(join(number))

if __name__ == "__main__":
    sys.argv[1:] = ["worker", "-l", "error", "--without-web"]
    app.main()
