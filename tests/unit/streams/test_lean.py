"""A worker loads nothing once it reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paritygate.schemas.codec import encode
from paritygate.schemas.prediction import ARMS, ROLES, PredictionEvent, Status

_SCRIPT = """
import sys
from pathlib import Path
from paritygate.schemas.columnar import decode_batches
from paritygate.streams import worker
{prepared}
data = Path(sys.argv[1]).read_bytes()
before = set(sys.modules)
found = decode_batches("t", 0, data, 0)
assert (len(found.batch), found.poison) == (2, [])
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.fixture
def fetched(tmp_path: Path, raw_batch: Callable[..., bytes]) -> Path:
    """A file with a batch of events, as a fetch brings it."""
    events = [
        PredictionEvent(
            request_id="r", rollout_id="f", arm=arm, role=role, event_at_ms=1, latency_ms=1.0, status=Status.OK,
            model_version="1", output="{}", label="yes", confidence=0.5, segments={"tier": "gold"},
            measures={"tokens": 1.0},
        )
        for arm, role in zip(ARMS, ROLES, strict=True)
    ]  # fmt: skip
    path = tmp_path / "batch"
    path.write_bytes(raw_batch([(1, b"r", encode(event)) for event in events]))
    return path


@pytest.mark.parametrize(("prepared", "loaded"), [("", True), ("worker.load_all(); worker.load_all()", False)])
def test_the_first_batch_loads_nothing(fetched: Path, prepared: str, loaded: bool) -> None:
    """pyarrow would load pandas, where it is installed, and parts of its own; a worker has or forgoes them."""
    command = [sys.executable, "-c", _SCRIPT.format(prepared=prepared), str(fetched)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert ("pandas" in names) is loaded
    assert bool(names) is loaded, names
