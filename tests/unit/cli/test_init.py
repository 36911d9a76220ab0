from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any, Self

import pytest
from fastapi.testclient import TestClient

from paritygate.cli.main import main
from paritygate.gates.measures import Kind
from paritygate.producers import publisher as publisher_module
from paritygate.rollouts.plan import RolloutPlan
from paritygate.router import watcher as watcher_module
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ARMS, Arm, PredictionEvent, Role, Status


def test_written_plan_is_valid_and_holds_the_seed_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commented rollout.yaml is a plan as it stands; the gate on reviews is there to be switched on."""
    assert main(["init", str(tmp_path / "new")]) == 0

    text = (tmp_path / "new" / "rollout.yaml").read_text()
    plan = RolloutPlan.from_yaml(text)
    answers = {"latency_p95_ms", "error_rate", "schema_validation_pass_rate", "gpu_oom_events"}
    assert {g.name for g in plan.gates} == answers
    assert [s.weight for s in plan.stages] == [0, 1, 5, 25, 50, 100]
    assert main(["validate", str(tmp_path / "new" / "rollout.yaml")]) == 0
    assert plan.digest() in capsys.readouterr().out

    switched_on = RolloutPlan.from_yaml(text.replace("# human_review_score:", "human_review_score:"))
    assert {g.name for g in switched_on.gates} == answers | {"human_review_score"}


def test_written_service_names_the_same_rollout(tmp_path: Path) -> None:
    """The service's rollout and versions are those of the plan, and each of its segments is one of the plan's."""
    assert main(["init", str(tmp_path)]) == 0

    service = runpy.run_path(str(tmp_path / "service.py"))
    plan = RolloutPlan.from_yaml((tmp_path / "rollout.yaml").read_text())
    assert service["ROLLOUT"] == plan.rollout
    assert service["VERSIONS"] == {Arm.BASELINE: plan.baseline.version, Arm.CANDIDATE: plan.candidate.version}
    source = (tmp_path / "service.py").read_text()
    assert all(f'"{name}": body' in source for name in plan.segments)


def test_written_service_has_20_lines_of_code(tmp_path: Path) -> None:
    """Twenty statements, imports and docstrings not counted."""
    assert main(["init", str(tmp_path)]) == 0

    tree = ast.parse((tmp_path / "service.py").read_text())
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    texts = [n for n in statements if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    imports = [n for n in statements if isinstance(n, ast.Import | ast.ImportFrom)]
    assert len(statements) - len(texts) - len(imports) <= 20


class Sent:
    """A publisher and a watcher in one that keep what they are given and know no Kafka."""

    def __init__(self) -> None:
        self.events: list[PredictionEvent] = []
        self.platform: list[PlatformEvent] = []
        self.closed: list[str] = []
        self.seen: list[PredictionEvent] = []

    def publisher(self, *_: Any, **__: Any) -> Self:
        return self

    watcher = publisher

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.append("publisher")

    def close(self) -> None:
        self.closed.append("watcher")

    def choose(self, _key: str) -> Arm:
        return Arm.BASELINE

    def saw(self, event: PredictionEvent) -> None:
        self.seen.append(event)

    def publish(self, event: PredictionEvent) -> bool:
        self.events.append(event)
        return True

    def publish_platform(self, event: PlatformEvent) -> bool:
        assert not self.closed
        self.platform.append(event)
        return True

    def take_dropped(self, _arm: Arm) -> int:
        return 0


def test_written_service_sends_what_every_gate_of_the_plan_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair can climb: good answers of both arms, running time of both, and no gate that wants more."""
    sent = Sent()
    monkeypatch.setattr(publisher_module, "PredictionPublisher", sent.publisher)
    monkeypatch.setattr(watcher_module, "DecisionWatcher", sent.watcher)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", "b:1")
    assert main(["init", str(tmp_path)]) == 0
    service = runpy.run_path(str(tmp_path / "service.py"))
    plan = RolloutPlan.from_yaml((tmp_path / "rollout.yaml").read_text())

    with TestClient(service["app"]) as client:
        assert client.post("/predict", json={"tier": "gold"}).json()["model_version"] == "1"

    assert {(e.arm, e.role, e.status) for e in sent.events} == {
        (Arm.BASELINE, Role.PRIMARY, Status.OK), (Arm.CANDIDATE, Role.SHADOW, Status.OK),
    }  # fmt: skip
    assert sent.seen == sent.events  # what the router's breaker goes by
    assert all(e.segments.keys() == set(plan.segments) for e in sent.events)
    assert {(e.arm, e.gpu_ooms) for e in sent.platform} == {(arm, 0) for arm in ARMS}
    assert sum(e.running_ms for e in sent.platform if e.arm is Arm.CANDIDATE) > 0
    assert {g.kind for g in plan.gates} == {Kind.LATENCY, Kind.RATE, Kind.EVENTS}
    assert sent.closed == ["watcher", "publisher"]


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
