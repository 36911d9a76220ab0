"""``paritygate worker`` with faults built in: ``python -m tests.faults.worker``, told by the environment.

Law: the product has no door for faults; this process reaches in from outside before the worker starts.

``FAULT_POINT=NAME`` or ``NAME:N``: kill -9 itself at a named point, the first or the N-th time it is reached
(``POINTS``, ``DECIDER_POINTS``). For ``after_early_report`` N is the number of the exhaustion that must be told
(``FaultRun.exhaust``);
``stopped_before_early_report:N`` stops it there instead, as a paused virtual machine is. ``FAULT_OFF``: switches
a safety off (``SWITCHES``), to show that the runs notice. ``FAULT_PACE``: a file with the milliseconds
to rest before each fetch. ``FAULT_PART_BYTES``: size of a snapshot's parts. ``FAULT_SIZES``: a file to which each
checkpoint's bytes and milliseconds are added.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EARLY = "after_early_report"
POINTS = (
    EARLY, "after_outputs", "between_parts", "after_snapshot", "before_commit", "in_restore", "in_rebalance",
)  # fmt: skip
STOPPED = "stopped_before_early_report"
#: Of the decider: its decision is made (and signed), it is in the audit, routers can read it.
DECIDER_POINTS = ("before_audit", "after_audit", "after_decision")
SWITCHES = ("guard", "fencing", "replay")


class _Point:
    """Counts how often a point was reached, and ends or stops the process when its time has come."""

    def __init__(self, text: str) -> None:
        self.name, _, times = text.partition(":")
        self.times = self._left = int(times or 1)

    def reached(self, name: str, times: int = 1) -> None:
        if name != self.name:
            return
        self._left -= times
        if self._left <= 0:
            self.name = ""
            os.kill(os.getpid(), signal.SIGSTOP if name == STOPPED else signal.SIGKILL)


def know_older_schema() -> None:
    """Before anything else binds the registry."""
    from paritygate.schemas import registry  # noqa: PLC0415
    from tests.faults.older import older_schema  # noqa: PLC0415

    known = registry.REGISTRY
    registry.REGISTRY = registry.Registry([*(s for r in known.records for s in known.versions(r)), older_schema()])


def set_points(point: _Point) -> None:
    """Wrap the places that the points name."""
    from paritygate.comparators.partition import PartitionJoin  # noqa: PLC0415
    from paritygate.streams.join import JoinKeeper  # noqa: PLC0415
    from paritygate.streams.outbox import Outbox  # noqa: PLC0415
    from paritygate.streams.positions import GroupPositions  # noqa: PLC0415
    from paritygate.streams.snapshots import TableStore  # noqa: PLC0415

    publish, write, save = JoinKeeper._publish, TableStore._write, TableStore.save
    commit, replay, release = GroupPositions.commit, PartitionJoin._replay, JoinKeeper.release
    send = Outbox.send

    async def publishing(self: Any, reports: Any) -> None:
        # An exhaustion says as many restarts as its number: what was told in a life before is told again.
        number = max((r.totals.get("restarts.candidate", 0) for r in reports if r.is_early), default=0)
        is_awaited = number >= point.times
        if is_awaited:
            point.reached(STOPPED, number)
        await publish(self, reports)
        if is_awaited:
            point.reached(EARLY, number)
        if reports:
            point.reached("after_outputs")

    async def writing(self: Any, partition: int, records: Any) -> None:
        half = len(records) // 2
        if half and point.name == "between_parts":
            await write(self, partition, records[:half])
            point.reached("between_parts")
            records = records[half:]
        await write(self, partition, records)

    async def saving(self: Any, *args: Any) -> None:
        await save(self, *args)
        point.reached("after_snapshot")

    @functools.wraps(commit)
    def committing(self: Any, *args: Any) -> None:
        point.reached("before_commit")
        commit(self, *args)

    def replaying(self: Any, *args: Any) -> None:
        point.reached("in_restore")
        replay(self, *args)

    async def releasing(self: Any, *args: Any) -> None:
        if self.partitions:
            point.reached("in_rebalance")
        await release(self, *args)

    async def sending(self: Any, records: Any) -> Any:
        records = list(records)
        of_audit, of_decisions = (any(r.topic.endswith(t) for r in records) for t in ("audit.v1", "decisions.v1"))
        if of_audit:
            point.reached("before_audit")
        sent = await send(self, records)
        if of_audit:
            point.reached("after_audit")
        if of_decisions:
            point.reached("after_decision")
        return sent

    _set(Outbox, send=sending)
    _set(JoinKeeper, _publish=publishing, release=releasing)
    _set(TableStore, _write=writing, save=saving)
    _set(GroupPositions, commit=committing)
    _set(PartitionJoin, _replay=replaying)


def switch_off(name: str) -> None:
    """Take one safety away."""
    from paritygate.comparators import reports, sources  # noqa: PLC0415
    from paritygate.streams.snapshots import TableStore  # noqa: PLC0415

    if name in ("guard", "replay"):
        read_back = sources.Source.from_plain.__func__  # type: ignore[attr-defined]

        def without(cls: Any, plain: Any, topic: str) -> Any:
            source = read_back(cls, plain, topic)
            if name == "guard":  # offsets that are in the counts are counted again
                source.applied = source.fetched = source.replay.start
            source.replay = None
            return source

        _set(sources.Source, from_plain=classmethod(without))
    elif name == "fencing":  # every owner has the same generation, and revisions go on from the snapshot's

        async def claim(self: Any, partition: int) -> int:
            return 1

        _set(TableStore, claim=claim)
        _set(reports, _REVISIONS=1)
    else:
        raise SystemExit(f"FAULT_OFF is {name!r}, not one of {', '.join(SWITCHES)}")


def rest_between_fetches(path: Path) -> None:
    """Read slowly, so that faults hit work under way; the file can be rewritten at any time.

    What is read again after a restart is not slowed down, or a worker would die before it came to anything new.
    """
    from paritygate.streams.fetch import BatchFetcher  # noqa: PLC0415
    from paritygate.streams.join import JoinKeeper  # noqa: PLC0415

    fetch, positions_of = BatchFetcher.fetch, JoinKeeper._positions
    replaying = False

    def looking(self: Any) -> Any:
        nonlocal replaying
        replaying = any(join.replaying for join in self._joins.values())
        return positions_of(self)

    async def pacing(self: Any, positions: Any) -> Any:
        if not replaying:
            await asyncio.sleep(float(path.read_text() or 0) / 1000)
        return await fetch(self, positions)

    _set(BatchFetcher, fetch=pacing)
    _set(JoinKeeper, _positions=looking)


def note_sizes(path: Path) -> None:
    """Keep what each checkpoint cost."""
    from paritygate.streams.metrics import WorkerMetrics  # noqa: PLC0415

    checkpoint = WorkerMetrics.checkpoint

    def noting(self: Any, size_bytes: int, took_ms: int) -> None:
        with path.open("a") as file:
            file.write(f"{size_bytes} {took_ms}\n")
        checkpoint(self, size_bytes, took_ms)

    _set(WorkerMetrics, checkpoint=noting)


def _set(target: Any, **members: Callable[..., Any] | Any) -> None:
    for name, member in members.items():
        assert hasattr(target, name), f"{target} has no {name} any more: the fault would not happen"
        setattr(target, name, member)


def main() -> None:
    """Arm the faults, then be a worker."""
    know_older_schema()
    env = os.environ
    set_points(_Point(env.get("FAULT_POINT", "")))
    for name in filter(None, env.get("FAULT_OFF", "").split(",")):
        switch_off(name)
    if "FAULT_PACE" in env:
        rest_between_fetches(Path(env["FAULT_PACE"]))
    if "FAULT_SIZES" in env:
        note_sizes(Path(env["FAULT_SIZES"]))
    if "FAULT_PART_BYTES" in env:
        from paritygate.streams import snapshots  # noqa: PLC0415

        sizes = list(snapshots.TableStore.__init__.__defaults__ or ())
        snapshots.TableStore.__init__.__defaults__ = (*sizes[:-1], int(env["FAULT_PART_BYTES"]))
    from paritygate.cli.main import main as paritygate  # noqa: PLC0415

    sys.exit(paritygate(["worker"]))


if __name__ == "__main__":
    main()
