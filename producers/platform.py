"""PlatformReporter: a serving process tells how long it ran, its memory, its restarts and its OOMs.

Law: the intervals of an instance never overlap and leave no gap: each report covers the time since the one
before, so the sum of ``running_ms`` is the exposure behind "no out-of-memory event". A report also carries
the answers that the publisher had to drop: missing evidence is published as such.

A restart is an earlier run that ended without :meth:`PlatformReporter.close` (crash, kill, OOM killer);
a small state file beside the service remembers it. A planned stop is none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import orjson

from paritygate.producers.clock import now_ms
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import ARMS, Arm, Role

log = logging.getLogger(__name__)

_OOM_NAMES = frozenset({"OutOfMemoryError", "MemoryError", "XlaRuntimeError"})


class PublishesPlatform(Protocol):
    """What the reporter uses of :class:`~paritygate.producers.publisher.PredictionPublisher`."""

    def publish_platform(self, event: PlatformEvent) -> bool:
        """Take one report without blocking or raising."""

    def take_dropped(self, arm: Arm) -> int:
        """Lost answers of an arm since the last call."""


class PlatformReporter:
    """Reports of one process that serves the given arms (``versions``: arm to model version).

    ``state_file`` remembers an unclean end across runs; without it restarts are not counted. ``on_report``: called
    with each report that was made (the metrics' hook). ``clock``: UTC
    epoch milliseconds; ``steady``: seconds that never jump.
    """

    def __init__(
        self,
        publisher: PublishesPlatform,
        *,
        rollout_id: str,
        instance_id: str,
        versions: Mapping[Arm, str],
        state_file: Path | None = None,
        on_report: Callable[[PlatformEvent], None] | None = None,
        clock: Callable[[], int] = now_ms,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher, self._rollout_id, self._instance_id = publisher, rollout_id, instance_id
        self._versions, self._state_file = dict(versions), state_file
        self._on_report, self._clock, self._steady = on_report, clock, steady
        started_s = steady()
        self._reported_s = dict.fromkeys(self._versions, started_s)
        self._ooms = dict.fromkeys(ARMS, 0)
        self._restarts = dict.fromkeys(ARMS, 1 if _ended_uncleanly(state_file) else 0)
        _remember(state_file, running=True)

    def record_oom(self, arm: Arm) -> None:
        """Count one out-of-memory event of an arm."""
        self._ooms[arm] += 1

    def saw_error(self, arm: Arm, role: Role, error: BaseException) -> None:
        """Count the error if it says that memory ran out; fits the router's ``on_error``."""
        if is_out_of_memory(error):
            self.record_oom(arm)

    def report(self, arm: Arm) -> PlatformEvent:
        """Publish what happened to ``arm`` since its last report, and return it.

        If the publisher cannot take the report, its counts stay for the next one; so does its time.
        """
        now_s = self._steady()
        event = PlatformEvent(
            rollout_id=self._rollout_id,
            arm=arm,
            model_version=self._versions[arm],
            instance_id=self._instance_id,
            event_at_ms=self._clock(),
            running_ms=max(0, int((now_s - self._reported_s[arm]) * 1000)),
            gpu_ooms=self._ooms[arm],
            restarts=self._restarts[arm],
            memory_bytes=resident_bytes(),
            dropped_events=self._publisher.take_dropped(arm),
        )
        if self._publisher.publish_platform(event):
            # Not now_s: the part of a millisecond that was cut off belongs to the next interval.
            self._reported_s[arm] += event.running_ms / 1000
            self._ooms[arm] -= event.gpu_ooms
            self._restarts[arm] = 0
        if self._on_report is not None:
            self._on_report(event)
        return event

    def report_all(self) -> list[PlatformEvent]:
        """One report per arm."""
        return [self.report(arm) for arm in self._versions]

    async def run(self, interval_s: float = 1.0) -> None:
        """Report every ``interval_s`` seconds until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(interval_s)
                self.report_all()
        finally:
            self.report_all()

    def close(self) -> None:
        """A planned end: report once more, and the next start is no restart."""
        self.report_all()
        _remember(self._state_file, running=False)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, torch, TensorFlow or JAX says that memory ran out.

    Judged by class name, so that none of these libraries is needed here.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if "XlaRuntimeError" in names or "ResourceExhaustedError" in names:
        return "RESOURCE_EXHAUSTED" in str(error) or "ResourceExhaustedError" in names
    return bool(names & _OOM_NAMES)


def resident_bytes() -> int:
    """Resident memory of this process; where the kernel does not tell, the peak so far."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import resource  # noqa: PLC0415  (not on every platform)
        import sys  # noqa: PLC0415

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _ended_uncleanly(state_file: Path | None) -> bool:
    if state_file is None:
        return False
    try:
        return orjson.loads(state_file.read_bytes()).get("running") is True
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError):
        log.warning("%s cannot be read: the last run is taken for a clean one", state_file)
        return False


def _remember(state_file: Path | None, *, running: bool) -> None:
    if state_file is None:
        return
    try:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        new = state_file.with_suffix(state_file.suffix + ".new")
        new.write_bytes(orjson.dumps({"running": running}))
        new.replace(state_file)
    except OSError as e:
        log.warning("%s cannot be written (%s): restarts are not counted", state_file, e.strerror)
