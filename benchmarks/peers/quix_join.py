"""The join on Quix Streams: ``join_interval`` on RocksDB with changelogs, a peer of the join benchmark.

    python quix_join.py BROKER BASELINE_TOPIC CANDIDATE_TOPIC NAME FOLDER SCHEMA.avsc WINDOW_MS GRACE_MS PAIRS

Runs in an environment of its own. The counts per segment are kept in memory, which costs less than a store would.
Prints lines ``progress EPOCH_MS PAIRS``, at the end ``result`` with the counts as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader
from quixstreams import Application
from quixstreams.models.serializers import Deserializer

HEADER_BYTES = 10
EACH_S = 0.1


class Events(Deserializer):  # type: ignore[misc]  # installed for the benchmark only
    """Avro single objects to what the comparison needs; what a store keeps must be JSON."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self._schema = schema

    def __call__(self, value: bytes, ctx: Any) -> dict[str, Any]:
        event: Any = schemaless_reader(BytesIO(value[HEADER_BYTES:]), self._schema, None)
        segments = event["segments"]
        return {
            "at_ms": event["event_at_ms"],
            "segment": "|".join(segments[name] for name in sorted(segments)),
            "label": event["label"],
            "failed": event["status"] != "ok",
            "latency_ms": event["latency_ms"],
        }


class Counts:
    """What is counted, and when."""

    def __init__(self, wanted: int, app: Application) -> None:
        self.pairs = self.label_changes = self.candidate_errors = self.slower = 0
        self.segments: Counter[str] = Counter()
        self._wanted, self._app, self._said_at_s = wanted, app, 0.0

    def add(self, pair: Any) -> None:
        """Count one pair."""
        ours, theirs = pair
        self.pairs += 1
        self.label_changes += ours["label"] != theirs["label"]
        self.candidate_errors += theirs["failed"]
        self.slower += theirs["latency_ms"] > ours["latency_ms"]
        self.segments[ours["segment"]] += 1
        now_s = time.time()
        if now_s - self._said_at_s >= EACH_S or self.pairs == self._wanted:
            self._said_at_s = now_s
            print(f"progress {int(now_s * 1000)} {self.pairs}", flush=True)
        if self.pairs == self._wanted:
            self._app.stop()

    def to_json(self) -> str:
        """The result line."""
        return json.dumps(
            {
                "pairs": self.pairs,
                "label_changes": self.label_changes,
                "candidate_errors": self.candidate_errors,
                "segments": dict(self.segments),
            }
        )


def at_ms(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
    """Event time, as the join needs it."""
    return int(value["at_ms"])


def main() -> None:
    broker, baseline, candidate, name, folder, schema_file, window_ms, grace_ms, wanted = sys.argv[1:]
    schema = parse_schema(json.loads(Path(schema_file).read_text()))
    app = Application(
        broker_address=broker,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="ERROR",
        auto_create_topics=True,
        consumer_extra_config={"fetch.queue.backoff.ms": 10},
    )
    arms = [
        app.dataframe(app.topic(topic, value_deserializer=Events(schema), timestamp_extractor=at_ms))
        for topic in (baseline, candidate)
    ]
    counts = Counts(int(wanted), app)
    joined = arms[0].join_interval(
        arms[1],
        how="inner",
        on_merge=lambda ours, theirs: [ours, theirs],
        grace_ms=int(grace_ms),
        backward_ms=int(window_ms),
        forward_ms=int(window_ms),
    )
    joined.update(counts.add)
    app.run()
    print(f"result {counts.to_json()}", flush=True)


if __name__ == "__main__":
    main()
