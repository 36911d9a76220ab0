from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from paritygate.cli.demo import run as run_module
from paritygate.cli.demo.scenarios import SCENARIOS
from paritygate.cli.demo.verb import require_writable
from paritygate.cli.main import main
from paritygate.producers.flights.faults import LatencyFault


@pytest.fixture(autouse=True)
def _nothing_long_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("the long work has begun")

    monkeypatch.setattr(run_module, "load_table", too_late)
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["demo", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--folder", "/proc/x"), "--folder: /proc/x/worker.log cannot be written"),
        (("--json", "/proc/x/result.json"), "--json: /proc/x/result.json cannot be written"),
        (("--json", "."), "--json: . cannot be written: Is a directory"),
        (("--scenario", "helthy"), "choose healthy"),
    ],
)
def test_what_cannot_work_is_said_before_the_run(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path that cannot be written or a scenario that is not there ends with 2 before any model is loaded."""
    assert says in refused(capsys, *arguments)


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody else listens on the metrics' port, the option and the address are named at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--metrics-port: 127.0.0.1:{port} cannot be opened" in refused(capsys, "--metrics-port", str(port))


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    """A result of an earlier run stays as it is, and none is left where there was none."""
    old, new = tmp_path / "old.json", tmp_path / "new" / "new.json"
    old.write_text("before")

    require_writable("--json", old)
    require_writable("--json", new)

    assert old.read_text() == "before"
    assert not new.exists()


def test_the_help_loads_no_models() -> None:
    """``demo --help`` names the demo's own broker and imports neither models nor tables."""
    code = (
        "import sys; from paritygate.cli.main import main; main(['demo', '--help']);"
        "print([m for m in ('sklearn', 'pandas', 'numpy', 'faust', 'confluent_kafka') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
    assert "demo's own" in " ".join(done.stdout.replace("│", " ").split())


def test_the_latency_scenario_says_what_its_fault_does() -> None:
    """The factor in the scenario's words is the one of the fault."""
    assert (
        f"{LatencyFault.__dataclass_fields__['factor'].default:g} times its own time" in SCENARIOS["latency"].about
    )
