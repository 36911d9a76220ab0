"""Own one child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paritygate.cli.broker import process

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)
PARENT = """
import sys, time
from pathlib import Path
from paritygate.cli.broker.process import spawn
child = spawn(["sleep", "60"], output=Path(sys.argv[1]), attached=sys.argv[2] == "attached")
print(child.pid, flush=True)
time.sleep(60)
"""


def _await(path: Path, text: str) -> None:
    until = time.monotonic() + 20
    while text not in path.read_text() and time.monotonic() < until:
        time.sleep(0.01)


def test_a_child_is_stopped_in_order(tmp_path: Path) -> None:
    """SIGTERM ends an ordinary child; ending it twice is no error."""
    child = process.spawn(SLEEP, output=tmp_path / "out", attached=True)
    born = process.birth(child.pid)
    assert born is not None
    _await(tmp_path / "out", "up")

    assert process.end(child.pid, born) == "stopped"
    assert child.wait() == -signal.SIGTERM
    assert process.end(child.pid, born) == "gone"


def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed when its grace is over."""
    child = process.spawn(STUBBORN, output=tmp_path / "out", attached=True)
    born = process.birth(child.pid)
    assert born is not None
    _await(tmp_path / "out", "up")

    assert process.end(child.pid, born, grace_s=0.1) == "killed"
    assert child.wait() == -signal.SIGKILL


def test_a_process_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    """A pid that was given to a process born at another time is left alone."""
    child = process.spawn(SLEEP, output=tmp_path / "out", attached=True)
    born = process.birth(child.pid)
    assert born is not None

    assert process.end(child.pid, "tick 1") == "gone"
    process.kill(child.pid, "tick 1")

    assert child.poll() is None
    process.kill(child.pid, born)
    child.wait()


def test_a_dead_child_is_dead_before_it_is_reaped(tmp_path: Path) -> None:
    """A zombie counts as gone: nothing waits for a process that can never answer."""
    child = process.spawn((sys.executable, "-c", ""), output=tmp_path / "out", attached=False)
    until = time.monotonic() + 20
    while process.birth(child.pid) is not None and time.monotonic() < until:
        time.sleep(0.01)

    assert process.birth(child.pid) is None
    assert child.wait() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's")
def test_an_attached_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the parent, which runs no handler, ends the attached child too; a detached one stays."""
    for mode in ("attached", "detached"):
        command = (sys.executable, "-c", PARENT, str(tmp_path / "out"), mode)
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        born = process.birth(pid)
        assert born is not None

        parent.kill()
        parent.wait()
        parent.stdout.close()
        until = time.monotonic() + (10 if mode == "attached" else 0.3)
        while process.is_alive(pid, born) and time.monotonic() < until:
            time.sleep(0.01)

        assert process.is_alive(pid, born) is (mode == "detached")
        process.kill(pid, born)


def test_a_child_is_out_of_reach_of_ctrl_c(tmp_path: Path) -> None:
    """The child leads a session of its own, so the terminal's Ctrl-C reaches only us."""
    child = process.spawn(SLEEP, output=tmp_path / "out", attached=True)

    assert os.getsid(child.pid) == child.pid
    child.kill()
    child.wait()
