"""The benchmark of the dashboard: it serves the real page, its viewers are pushed to, its result is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from viewing import records, server

from paritygate.schemas.topics import AUDIT, WINDOWS

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "dashboard.json"


def test_what_it_is_fed_is_a_rollout_that_goes_on() -> None:
    """Windows come with the decisions of a real decider; the board has all segments and a running rollout."""
    follower = server.FedFollower()
    follower.board.follow_open()
    topics = set()
    for told in records.windows(4, 30):
        follower.feed(told)
        topics |= {topic for topic, *_ in told}
    entry = follower.board.entries[records.ROLLOUT]

    assert {AUDIT.name, WINDOWS.name} <= topics
    assert len(entry.decisions) > 1
    assert entry.active
    assert entry.ledger is not None
    assert len(entry.ledger.whole.cells) == 30
    assert follower.board.unread.total() == 0


def test_a_short_run_pushes_to_every_viewer(tmp_path: Path) -> None:
    """With few segments and viewers, and without a browser, the result has its shape and no stream ended early."""
    file = tmp_path / "result.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "dashboard.py"), "--segments", "20", "--viewers", "5"]
    command += ["--before", "3", "--seconds", "3", "--repeats", "0", "--json", str(file)]
    told = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert told.returncode == 0, told.stderr
    found, committed = json.loads(file.read_text()), json.loads(RESULT.read_text())
    assert set(found) == set(committed)
    assert set(found["push"]) == set(committed["push"])
    assert found["push"]["closed"] == 0
    assert found["push"]["pushes_per_viewer_s"] > 0
    assert found["push"]["bytes_per_push"] > 0


def test_the_committed_result_is_of_the_whole() -> None:
    """It was measured with 1,000 segments, 200 viewers and a browser, and says against which goals and how."""
    result = json.loads(RESULT.read_text())

    assert (result["segments"], result["push"]["viewers"]) == (1000, 200)
    assert set(result["paint"]) == {"rollout", "all segments"}
    for painted in result["paint"].values():
        assert 0 < painted["first_ms"] <= painted["most_ms"]
        assert painted["goal_ms"] == 1000
    assert result["push"]["goal_percent"] == 5.0
    assert "benchmarks/dashboard.py" in result["command"]
