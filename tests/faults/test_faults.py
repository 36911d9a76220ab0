"""Short fault runs on the real broker: no difference, and each safety that is taken away makes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.harness import FaultRun
from tests.faults.worker import SWITCHES
from tests.support.kafka import KafkaBench

SEED = 20_261_124
#: A minute and a half on a machine of its own; a busy one may take several times as long.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def run(kafka: KafkaBench, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FaultRun]:
    off = getattr(request, "param", "")
    # Stale reports do harm where windows change often after they were reported. The run with every safety on has
    # the same repeats, or the difference without fencing would prove nothing.
    repeats = 0.2 if off in ("", "fencing") else 0.01
    pairs = {"": 8_000, "fencing": 5_000}.get(off, 3_000)
    made = FaultRun(kafka, tmp_path, pairs, SEED, off=off, repeats=repeats)
    made.lay()
    yield made
    made.close()


def test_faults_change_no_count(run: FaultRun) -> None:
    """Killed at random and at named points, stopped and gone on with old reports: 0 differences."""
    run.read_for(32)
    faults.random_kills(run, 2, alive_s=2.0)
    faults.kills_at_points(
        run, ("after_early_report", "after_outputs", "between_parts", "before_commit", "in_restore")
    )
    faults.zombie_with_reports(run)
    found = run.judge()
    assert found.lines == []
    assert found.compared["cells"] > 10_000
    assert len(run.faults) == 8
    assert all(fault["at"] < 1 for fault in run.faults), "a fault hit nothing"


@pytest.mark.parametrize("run", SWITCHES, indirect=True)
def test_harness_bites(run: FaultRun) -> None:
    """Without the offset guard, the fencing or the replay the oracle finds differences."""
    run.read_for(15)
    if run.off == "fencing":
        faults.zombie_with_reports(run)
    else:
        faults.random_kills(run, 1, alive_s=3.0)
    assert run.judge().found > 0
