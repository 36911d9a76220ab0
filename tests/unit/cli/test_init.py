from __future__ import annotations

import ast
from pathlib import Path

import pytest

from paritygate.cli.main import main
from paritygate.rollouts.plan import RolloutPlan


def test_written_plan_is_valid_and_holds_the_seed_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commented rollout.yaml is a plan as it stands, with the gates of the guide."""
    assert main(["init", str(tmp_path / "new")]) == 0

    text = (tmp_path / "new" / "rollout.yaml").read_text()
    plan = RolloutPlan.from_yaml(text)
    assert {g.name for g in plan.gates} == {
        "latency_p95_ms", "error_rate", "schema_validation_pass_rate", "human_review_score", "gpu_oom_events",
    }  # fmt: skip
    assert [s.weight for s in plan.stages] == [0, 1, 5, 25, 50, 100]
    assert "# " in text
    assert main(["validate", str(tmp_path / "new" / "rollout.yaml")]) == 0
    assert plan.digest() in capsys.readouterr().out


def test_written_service_compiles_and_names_the_same_rollout(tmp_path: Path) -> None:
    """The service is Python, uses the three SDK classes, and its rollout id is that of the plan."""
    assert main(["init", str(tmp_path)]) == 0

    source = (tmp_path / "service.py").read_text()
    tree = ast.parse(source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {"PredictionPublisher", "ShadowRouter", "DecisionWatcher"} <= names
    plan = RolloutPlan.from_yaml((tmp_path / "rollout.yaml").read_text())
    assert f'"{plan.rollout}"' in source
    assert f'model("{plan.baseline.version}")' in source
    assert f'model("{plan.candidate.version}")' in source


def test_existing_files_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second init refuses and changes nothing; --force replaces."""
    (tmp_path / "rollout.yaml").write_text("mine")

    assert main(["init", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "rollout.yaml").read_text() == "mine"
    assert not (tmp_path / "service.py").exists()

    assert main(["init", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "rollout.yaml").read_text() != "mine"


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of the folder is an error with a name, not a traceback."""
    (tmp_path / "taken").write_text("")

    assert main(["init", str(tmp_path / "taken" / "in")]) == 2
    assert "cannot be written" in capsys.readouterr().err
