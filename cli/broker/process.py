"""Own one child process: start it, know it again, end it.

Law: a process is ended only when pid *and* time of birth are those that we noted, so that a pid which the
system gave to somebody else is never touched. An attached child does not outlive the thread that started it,
not even when the parent is killed (Linux; elsewhere it ends with the parent's orderly exit).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PAUSE_S = 0.02


def spawn(
    command: Sequence[str], *, output: Path, attached: bool, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, so that Ctrl-C reaches us and not it; output goes to a file.

    :param environ: its whole environment; None hands on ours.
    """
    with output.open("ab") as sink:
        return subprocess.Popen(  # noqa: S603 - the command is ours, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
            preexec_fn=_die_with_parent() if attached else None,  # noqa: PLW1509 - loaded before the fork
        )


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return ask_kernel


def birth(pid: int) -> str | None:
    """When the process began, as the system words it; None where none runs (a zombie does not run)."""
    if sys.platform.startswith("linux"):
        try:
            # The name in field 2 may hold spaces and brackets; the fields after it do not.
            fields = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"tick {fields[19]}"
    ask = ("ps", "-o", "stat=,lstart=", "-p", str(pid))
    told = subprocess.run(ask, capture_output=True, text=True, check=False)  # noqa: S603
    state, _, began = told.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else began.strip()


def is_alive(pid: int, born: str) -> bool:
    """Does the process that was born then still run under this pid?"""
    return birth(pid) == born


def end(pid: int, born: str, *, grace_s: float = 10.0) -> str:
    """Ask the process to end (SIGTERM), and kill it after ``grace_s``. Blocks until it is gone.

    :returns: ``"gone"`` where it did not run, ``"stopped"`` or ``"killed"``.
    """
    if not is_alive(pid, born):
        return "gone"
    _signal(pid, signal.SIGTERM)
    if _gone_within(pid, born, grace_s):
        return "stopped"
    kill(pid, born)
    return "killed"


def kill(pid: int, born: str) -> None:
    """End the process at once (SIGKILL), as a crash would. Blocks until it is gone."""
    if is_alive(pid, born):
        _signal(pid, signal.SIGKILL)
        _gone_within(pid, born, 10.0)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone_within(pid: int, born: str, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while is_alive(pid, born):
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE_S)
    return True
