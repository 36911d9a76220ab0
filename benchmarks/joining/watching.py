"""Watch an engine's processes from outside: their memory and their processor time."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

EACH_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at some processes every ``EACH_S`` until the block is left."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._pids = [process.pid for process in processes]
        self._peaks_kib = dict.fromkeys(self._pids, 0)
        self._cpu_s = dict.fromkeys(self._pids, 0.0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.over_time: list[tuple[int, float]] = []

    @property
    def peak_mib(self) -> float:
        """The peaks of all processes together."""
        return sum(self._peaks_kib.values()) / 1024

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all processes and threads, user and system."""
        return sum(self._cpu_s.values())

    def look(self) -> None:
        """Look once; a process that has ended keeps its last figures."""
        now_kib = 0
        for pid in self._pids:
            try:
                status = dict(
                    line.split(":", 1)
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if ":" in line
                )
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if "VmHWM" not in status:
                continue
            self._peaks_kib[pid] = int(status["VmHWM"].split()[0])
            now_kib += int(status["VmRSS"].split()[0])
            self._cpu_s[pid] = (int(stat[11]) + int(stat[12])) / _TICKS
        if now_kib:
            self.over_time.append((time.time_ns() // 1_000_000, now_kib / 1024))

    def _run(self) -> None:
        while not self._ended.wait(EACH_S):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
