"""The speed benchmark: what it judges is what it says, and its result has its shape."""

from __future__ import annotations

import json
from pathlib import Path

import evaluation
import numpy as np

from paritygate.gates.assess import assess_gates
from paritygate.gates.verdict import VerdictKind

RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "evaluation.json"


def test_the_committed_result_is_of_these_parts() -> None:
    """Every part has its figures in the order of the table, and how they were measured is told."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))

    assert [row["part"] for row in result["rows"]] == [part.name for part in evaluation.parts()]
    assert set(result) == {"rows", "repeats", "command", "seed", "machine", "load_average", "versions"}
    assert result["repeats"] >= 5
    for row in result["rows"]:
        assert 0.0 < row["least_ms"] <= row["median_ms"] <= row["most_ms"]
        assert row["ratio_to_reference"] > 0.0


def test_a_look_at_everything_is_one() -> None:
    """Every gate has data in the benchmark, none fails, and no source is broken."""
    evidence = evaluation.look(np.random.default_rng(1), evaluation.CELLS)
    found = assess_gates(evaluation.GATES, evidence)
    codes = {v.reason_code for v in found.verdicts}

    assert len(evidence.panes) == evaluation.PANES
    assert evidence.minutes is not None
    assert len(evidence.minutes) == evaluation.MINUTES
    assert found.overall in {VerdictKind.PASS, VerdictKind.INCONCLUSIVE}
    assert not codes & {"no_data", "source_broken", "environment"}
