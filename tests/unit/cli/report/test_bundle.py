"""The bundle as its reader uses it: a folder, pytest, and the model that is to be better."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from paritygate.cli.report.bundle import PAIRS, write_bundle
from paritygate.comparators.diff import DiffRules
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.regression import Sample, Showing
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from tests.support.tree import ROOT
from tests.unit.rollouts.conftest import plan

LABELS = ("late", "on_time")
#: What went wrong with each request: its kind, how the call ended, and what the candidate answered.
FAULTS = {
    "q-label": ("label_change", Status.OK, {"prediction": "late", "confidence": 0.9, "model_version": "2"}),
    "q-rule": ("candidate_invalid", Status.OK, {"prediction": "on_time", "confidence": 7, "model_version": "2"}),
    "q-error": ("candidate_error", Status.ERROR, None),
}
GOOD = 'ANSWER = {"prediction": "on_time", "confidence": 0.5, "model_version": "3"}\n'
#: Mended models and such that are not, by the name that a reader gives in PARITYGATE_CANDIDATE.
MODELS = f"""import json

{GOOD}

def mended(request):
    assert set(request) == {{"request_id", "segments"}} and request["segments"] == {{"origin": "EWR"}}
    return ANSWER

def in_text(request):
    return json.dumps(ANSWER)

def still_late(request):
    return {{**ANSWER, "prediction": "late"}}

def too_sure(request):
    return {{**ANSWER, "confidence": 7}}

def down(request):
    raise ConnectionError("no route to the model")

def no_json(request):
    return "on time, I think"
"""


def event(request_id: str, arm: Arm, status: Status, output: dict[str, object] | None) -> PredictionEvent:
    return PredictionEvent(
        request_id=request_id, rollout_id="r1", arm=arm, role=Role.SHADOW, event_at_ms=1, latency_ms=1.0,
        status=status, model_version="2", output=orjson.dumps(output).decode() if output else "",
        label=str(output["prediction"]) if output else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three failures, with models to try beside it."""
    declared: RolloutPlan = plan(output={"labels": list(LABELS)})
    rules = OutputRules(labels=LABELS)
    showing = Showing(validator=OutputValidator(rules), rules=DiffRules.default(), labels=frozenset(LABELS))
    good = {"prediction": "on_time", "confidence": 0.8, "model_version": "1"}
    pairs = [
        showing.pair(
            Sample(
                request_id=request, kind=kind, detail="", segments={"origin": "EWR"}, partition=0, window_start_ms=0
            ),
            event(request, Arm.BASELINE, Status.OK, good),
            event(request, Arm.CANDIDATE, status, output),
        )
        for request, (kind, status, output) in FAULTS.items()
    ]
    made = tmp_path_factory.mktemp("r1.regression")
    write_bundle(declared, pairs, made)
    (made / "models.py").write_text(MODELS)
    return made


def tried(folder: Path, candidate: str = "") -> tuple[int, dict[str, int], str]:
    """Exit code, counts by outcome, and all that pytest said in that folder."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PARITYGATE_CANDIDATE": candidate}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a reader needs none of ours, and they take seconds
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        str(folder),
    ]
    told = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    said = told.stdout + told.stderr
    last = told.stdout.strip().splitlines()[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|xfailed|skipped|error)", last)}
    return told.returncode, counts, said


def test_as_it_stands_every_pair_shows_its_failure(folder: Path) -> None:
    """Without a model the stored answers are checked, and each is an expected failure."""
    code, counts, said = tried(folder)

    assert (code, counts) == (0, {"xfailed": 3}), said
    assert len((folder / PAIRS).read_bytes().splitlines()) == 3


@pytest.mark.parametrize("name", ["mended", "in_text"])
def test_a_mended_model_that_is_plugged_in_passes(folder: Path, name: str) -> None:
    """Asked by request id and segments; its answer may be an object or JSON text."""
    code, counts, said = tried(folder, f"models:{name}")

    assert (code, counts) == (0, {"passed": 3}), said


@pytest.mark.parametrize(
    ("name", "failed", "why"),
    [
        ("still_late", 1, "assert 'late' == 'on_time'"),
        ("too_sure", 3, "the answer breaks ['confidence"),
        ("down", 3, "no route to the model"),
        ("no_json", 3, "the answer breaks ["),
    ],
)
def test_a_model_that_is_not_mended_fails_and_says_where(folder: Path, name: str, failed: int, why: str) -> None:
    """The pair that still shows the regression, and no expected failure hides it."""
    code, counts, said = tried(folder, f"models:{name}")

    assert code == 1
    assert counts.get("failed") == failed, said
    assert counts.get("passed", 0) == 3 - failed
    assert why in said


@pytest.mark.parametrize("name", ["models:nobody", "nowhere:predict", ":predict"])
def test_a_name_that_leads_nowhere_is_one_line(folder: Path, name: str) -> None:
    """A typing error is no regression of the model, and must not read like one."""
    code, counts, said = tried(folder, name)

    assert (code, counts) == (1, {"failed": 3})
    assert f"PARITYGATE_CANDIDATE={name} is no module:function here" in said
    assert "Traceback" not in said
