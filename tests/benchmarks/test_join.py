"""The join benchmark: its records are what a producer would send, its figures mean what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joining import wire
from joining.figures import Run, growth_percent, steady_rate, summary
from joining.traffic import BASELINE, CANDIDATE, DISORDER_MS, Traffic, Truth

from paritygate.cli.murmur2 import partition_of
from paritygate.schemas.codec import decode_prediction, encode
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.prediction import Status
from paritygate.schemas.record_batches import records, split

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "join.json"
OURS = {
    "paritygate_1_worker_avro",
    "paritygate_2_workers_avro",
    "paritygate_1_worker_json",
    "paritygate_1_worker_avro_contract",
    "paritygate_1_worker_avro_json_schema",
}
PEERS = {"kafka_streams_avro", "kafka_streams_no_changelog", "quixstreams", "faust_tables"}
START_MS = 1_795_000_000_000


def sent(traffic: Traffic, arm: int, partitions: int = 4) -> list[tuple[int, Any]]:
    """(partition, record) of everything that would be appended, in order."""
    found = []
    for chunk in traffic.chunks():
        for partition, rows, _ in chunk.by_partition(arm, partitions):
            for count, data in wire.batches(rows, START_MS, 300):
                batch = split(data, 0).batches[0]
                assert batch.count == count
                found += [(partition, record) for record in records(batch, bytes(batch.body()))]
    return found


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("arm", [BASELINE, CANDIDATE])
def test_the_feeder_writes_what_the_codec_writes(arm: int, outputs: bool) -> None:
    """Each record is the codec's encoding of its event, byte for byte, on the partition of its key."""
    found = sent(Traffic(pairs=700, start_ms=START_MS, outputs=outputs), arm)

    assert len(found) == 700
    for partition, record in found:
        event = decode_prediction(record.value)
        assert encode(event) == record.value
        assert record.key == event.request_id.encode()
        assert partition_of(record.key, 4) == partition


def test_json_events_are_the_avro_events() -> None:
    """Both forms of the same traffic decode to equal events."""
    forms = [
        {r.key: decode_prediction(r.value) for _, r in sent(Traffic(pairs=300, start_ms=START_MS, form=form), 1)}
        for form in ("avro", "json")
    ]

    assert forms[0] == forms[1]


def test_the_columnar_decoder_takes_the_batches_whole() -> None:
    """No record of the feeder is poison, so the hot path is what is measured."""
    traffic = Traffic(pairs=1_000, start_ms=START_MS)
    for chunk in traffic.chunks():
        for _, rows, _ in chunk.by_partition(CANDIDATE, 2):
            for count, data in wire.batches(rows, START_MS, 1_000):
                decoded = decode_batches("t", 0, data, 0)
                assert (len(decoded.batch), decoded.poison) == (count, [])


@pytest.mark.parametrize("combinations", [10, 64, 1_000, 100_000])
def test_the_truth_is_what_is_in_the_records(combinations: int) -> None:
    """Pairs, label changes, errors and segments as told are those of the events; ids are whole and distinct."""
    traffic, truth = Traffic(pairs=2_000, start_ms=START_MS, combinations=combinations), Truth()
    for chunk in traffic.chunks():
        truth.add(chunk)
    arms = [{r.key: decode_prediction(r.value) for _, r in sent(traffic, arm)} for arm in (BASELINE, CANDIDATE)]

    assert arms[0].keys() == arms[1].keys()
    assert len(arms[0]) == truth.pairs == 2_000
    assert sum(arms[0][k].label != arms[1][k].label for k in arms[0]) == truth.label_changes > 0
    assert sum(e.status is Status.ERROR for e in arms[1].values()) == truth.candidate_errors > 0
    segments = Counter(tuple(sorted(e.segments.items())) for e in arms[0].values())
    assert sorted(segments.values()) == sorted(n for n in truth.segments.values() if n)


def test_no_event_is_later_than_the_join_allows() -> None:
    """Within a partition an event is never further behind the newest one than the stated disorder."""
    for arm in (BASELINE, CANDIDATE):
        newest: dict[int, int] = {}
        for partition, record in sent(Traffic(pairs=5_000, start_ms=START_MS), arm):
            at_ms = decode_prediction(record.value).event_at_ms
            newest[partition] = max(newest.get(partition, 0), at_ms)
            assert newest[partition] - at_ms <= DISORDER_MS[arm]


def test_the_vectorised_partitioner_is_murmur2() -> None:
    """Keys of any multiple of four bytes go where Kafka's default partitioner puts them."""
    for width in (4, 16, 32):
        keys = np.random.default_rng(width).integers(0, 256, (50, width), np.uint8)
        placed = (wire.murmur2(keys) & np.uint32(0x7FFFFFFF)) % np.uint32(7)
        assert placed.tolist() == [partition_of(key.tobytes(), 7) for key in keys]


def test_the_rate_leaves_out_start_and_end() -> None:
    """The rate is that between 15 % and 95 % of the pairs, whatever comes before and after."""
    progress = [(0, 0), (10_000, 150), (11_000, 550), (12_000, 950), (60_000, 1_000)]

    assert steady_rate(progress, 1_000) == 400
    assert steady_rate(progress[:3], 1_000) == 0
    assert steady_rate([], 1_000) == 0


def test_growth_compares_late_with_early() -> None:
    """Memory that rises from 100 to 110 MiB grows by 10 %."""
    run = Run(pairs=100, progress=[(t, t) for t in range(101)])
    run.rss_over_time = [(t, 100.0 if t < 50 else 110.0) for t in range(101)]

    assert growth_percent(run) == pytest.approx(10)
    assert growth_percent(Run(pairs=100)) is None


def test_a_summary_tells_median_and_spread() -> None:
    """Of three runs the middle one is the median; one wrong count makes the engine wrong."""
    runs = [Run(pairs=1_000, progress=[(0, 200), (ms, 1_000)], cpu_s=1, rss_mib=ms) for ms in (100, 200, 400)]

    assert summary(runs)["pairs_per_s"] == {"median": 4_000, "min": 2_000, "max": 8_000}
    assert summary(runs)["rss_mib"] == 400
    assert summary(runs)["correct"]
    runs[1].wrong = "pairs 9, not 10"
    assert not summary(runs)["correct"]


@pytest.mark.broker
@pytest.mark.timeout(600)
def test_the_quick_run_is_exact(tmp_path: Path) -> None:
    """Run as a user runs it, with few pairs: every engine that this machine has counts exactly what was sent."""
    file = tmp_path / "join.json"
    # The peers other than the one in this environment need a compiler or a download.
    names = [
        "paritygate_1_worker_avro",
        "paritygate_1_worker_avro_json_schema",
        "paritygate_1_worker_json",
        "faust_tables",
    ]
    only = [word for name in names for word in ("--only", name)]
    script = str(ROOT / "benchmarks" / "join.py")
    command = [sys.executable, script, "--quick", *only, "--folder", str(tmp_path / "run"), "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    if done.returncode == 2:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(file.read_text())
    assert set(result["engines"]) == set(names)
    assert_shape(result)


def test_the_committed_result_has_the_declared_shape() -> None:
    """Every engine has its figures or a reason why it has none, and how it was made is told."""
    result = json.loads(RESULT.read_text())

    beside = {"linear", "limits", "memory", "latency"}
    assert set(result["engines"]) | set(result["skipped"]) - beside == OURS | PEERS
    assert_shape(result)
    assert set(result["ratios"]) == PEERS & set(result["engines"])


def assert_shape(result: dict[str, Any]) -> None:
    for name, row in result["engines"].items():
        rate = row["pairs_per_s"]
        assert set(rate) == {"median", "min", "max"}, name
        assert rate["min"] <= rate["median"] <= rate["max"], name
        assert row["rss_mib"] > 0, name
        assert row["correct"], name
    assert {"machine", "versions", "command", "definition", "linear", "memory", "skipped"} <= set(result)
