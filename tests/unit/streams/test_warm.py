"""A worker compiles and loads nothing once it reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from paritygate.schemas.codec import encode
from paritygate.schemas.prediction import ARMS, ROLES, PredictionEvent, Status

_SCRIPT = """
import sys
from importlib import import_module
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from paritygate.comparators.settings import JoinSettings
from paritygate.streams import worker
from paritygate.streams.warm import warm_up
from tests.support.join_bench import PRIMARY_TOPIC, JoinBench, prediction
from paritygate.schemas.columnar import decode_batches
from paritygate.schemas.prediction import Arm
from paritygate.schemas.report_columns import decode_report, encode_report

def compiled():
    rooms = ("schemas.compiled", "schemas.ids", "schemas.frames", "schemas.avro_columns", "schemas.event_columns",
             "schemas.texts", "schemas.codes", "schemas.report_columns", "schemas.json_parts",
             "schemas.json_events", "comparators.requests", "comparators.places", "comparators.pending",
             "comparators.known", "comparators.counting", "comparators.flat", "comparators.demands",
             "comparators.flat_changes")
    found = [f for room in rooms for f in vars(import_module("paritygate." + room)).values()]
    return sum(len(f.signatures) for f in found if isinstance(f, Dispatcher))

WARM
before, had = set(sys.modules), compiled()
data = Path(sys.argv[1]).read_bytes()
found = decode_batches(PRIMARY_TOPIC, 0, data, 0)
assert (len(found.batch), found.poison) == (6, [])
bench = JoinBench(JoinSettings("roll", ("geography",)))
bench.join.ingest(found.batch, 6)
bench = JoinBench(JoinSettings("roll", ("geography",), max_pending=50, max_seen=500))
for turn in range(30):
    for number in range(turn * 100, turn * 100 + 100):
        for arm in (Arm.BASELINE, Arm.CANDIDATE)[: 1 + (number % 10 > 0)]:
            for _ in range(1 + (number % 7 == 0)):
                bench.append(prediction(number, arm, 1_000 * turn + number % 100))
    bench.fetch_all()
    for report in bench.publish():
        if report.window_start_ms >= 0:
            decode_report(encode_report(report))
    bench.crash(bench.snapshot())
print(compiled() - had, *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
_THINNED = """
from paritygate.comparators import places
from paritygate.streams.warm import warm_up
warm_up()
print(len(places._keep_all.signatures))
"""


def _oddly(event: PredictionEvent) -> bytes:
    return orjson.dumps(event).replace(b"1.0", b"1." + 20 * b"0")


@pytest.fixture
def fetched(tmp_path: Path, raw_batch: Callable[..., bytes]) -> Path:
    """A file with batches of events, as a fetch brings them: Avro, JSON, and JSON that only the codec reads."""
    events = [
        PredictionEvent(
            request_id="r", rollout_id="f", arm=arm, role=role, event_at_ms=1, latency_ms=1.0, status=Status.OK,
            model_version="1", output="{}", label="yes", confidence=0.5, segments={"tier": "gold"},
            measures={"tokens": 1.0},
        )
        for arm, role in zip(ARMS, ROLES, strict=True)
    ]  # fmt: skip
    path = tmp_path / "batch"
    ways: tuple[Callable[[PredictionEvent], bytes], ...] = encode, orjson.dumps, _oddly
    batches = [[(1, b"r", write(event)) for event in events] for write in ways]
    path.write_bytes(b"".join(raw_batch(batch, 2 * place) for place, batch in enumerate(batches)))
    return path


@pytest.mark.parametrize(("warm", "cold"), [("", True), ("warm_up()", False)])
def test_events_make_a_warm_worker_compile_and_load_nothing(fetched: Path, warm: str, cold: bool) -> None:
    """Events that pair, wait, repeat, are given up, evicted and read again after a restart."""
    command = [sys.executable, "-c", _SCRIPT.replace("WARM", warm), str(fetched)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    compiled, *loaded = done.stdout.split()
    assert (int(compiled) > 0) is cold
    assert cold or not loaded


def test_a_warm_worker_has_what_thins_out_a_table() -> None:
    """Only a table that has forgotten most of its requests needs it, hours after the start."""
    done = subprocess.run([sys.executable, "-c", _THINNED], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split()) == (0, ["1"]), done.stderr
