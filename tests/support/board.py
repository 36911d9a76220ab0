"""A dashboard without a broker: a follower whose board was filled by hand, and records that try to break pages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from paritygate.comparators.tally import COUNT_NAMES
from paritygate.dashboard.app import DashboardSettings, create_app
from paritygate.dashboard.follow import Follower
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.report import Cell, Example, WindowReport
from paritygate.schemas.topics import AUDIT, DECISIONS, ROLLOUTS, WINDOWS
from tests.support.story import Logs
from tests.unit.rollouts.conftest import report

#: The broker's time of every record, and the present time of a page made then.
HEARD_MS = 1_900_000_000_000
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & a=b \u202e\x1b[2J"


class StillFollower(Follower):
    """Its board is what it was given; it reads nothing."""

    def start(self) -> None:
        """Nothing to do."""


def follower_of(logs: Logs) -> StillFollower:
    """A follower that has read these logs to their ends."""
    follower = StillFollower(KafkaSettings(bootstrap="127.0.0.1:1"))
    fill(follower, logs)
    return follower


def fill(follower: Follower, logs: Logs) -> None:
    """Feed the logs in the order in which a follower reads them."""
    board, records = follower.board, logs.records()
    board.follow_open()
    for topic in (ROLLOUTS.name, AUDIT.name):
        for offset, (key, value) in enumerate(records[topic]):
            board.take(topic, offset, HEARD_MS, key.encode(), value)
            if topic == AUDIT.name:
                board.take(DECISIONS.name, offset, HEARD_MS, key.encode(), value)
    for offset, (key, value) in enumerate(records[WINDOWS.name]):
        board.take(WINDOWS.name, offset, HEARD_MS, key.encode(), value)
    follower.reading = replace(follower.reading, heard_at_ms=HEARD_MS, trouble="")


@contextmanager
def served(follower: StillFollower, settings: DashboardSettings | None = None) -> Iterator[str]:
    """The dashboard on a free port; its address."""
    began = time.time_ns() // 1_000_000
    app = create_app(
        follower, settings or DashboardSettings(), lambda: HEARD_MS + time.time_ns() // 1_000_000 - began
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.state.let_go()
        server.should_exit = True
        thread.join(10)


def hostile_report(window: int, partition: int = 0, *, rollout: str = "r1") -> WindowReport:
    """A window of failures in a segment with a name that would like to be markup, with an example of one."""
    bad = report(window, partition, rollout=rollout, origin=EVIL, errors=20)
    example = Example(request_id=EVIL, kind="candidate_only_error", detail=EVIL, values=(EVIL,), trace_id=EVIL)
    return replace(bad, examples=(example,))


def many_segments(window: int, count: int, *, rollout: str = "r1", partition: int = 0) -> WindowReport:
    """A window whose requests fall into ``count`` segments, the candidate worse in every hundredth."""
    cells: Sequence[Cell] = report(window, partition, rollout=rollout).cells
    names = dict(zip(COUNT_NAMES, cells[0].counts, strict=True))
    made = []
    for i in range(count):
        errors = 3 if i % 100 == 0 else 0
        counts = names | {"requests": 20, "pairs": 20, "candidate_errors": errors, "candidate_only_errors": errors}
        made.append(Cell(values=(f"s{i:04}",), counts=tuple(counts[n] for n in COUNT_NAMES)))
    return replace(report(window, partition, rollout=rollout), cells=tuple(made))
