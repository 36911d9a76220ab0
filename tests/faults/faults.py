"""What is done to the workers: each function hurts a run that is under way and leaves a worker reading."""

from __future__ import annotations

import time
from functools import partial

from tests.faults.harness import LARGEST_BYTES, SESSION_S, FaultRun, FaultWorker
from tests.faults.worker import EARLY, POINTS, STOPPED
from tests.support.cluster import Cluster


def random_kills(run: FaultRun, times: int, alive_s: float = 3.0) -> None:
    """kill -9 at moments that the seed draws."""
    for n in range(times):
        worker = run.worker("w1")
        if n == 0:
            run.until(lambda: run.done() > 0, "the first snapshot")  # a kill before it hits nothing
        time.sleep(run.luck.uniform(0.2, 1.0) * alive_s)
        run.fault(f"kill -9 number {n + 1}", worker.kill)


def kills_at_points(run: FaultRun, points: tuple[str, ...] = POINTS) -> None:
    """kill -9 at each named point; the worker must have died of it."""
    for point in points:
        times = 1 if point in ("in_restore", "in_rebalance") else run.luck.randint(2, 6)
        if point == EARLY:
            times = run.exhausted + 1
        worker = run.worker("w1", f"{point}:{times}", owning=point != "in_restore")
        if point == "in_rebalance":
            run.worker("w2", owning=False)
        if point == EARLY:
            run.exhaust()
        run.fault(f"kill -9 {point}", partial(_wait_for_death, run, worker))
        assert worker.process is not None
        assert worker.process.returncode == -9, f"ended with {worker.process.returncode} at {point}"
        if point == "in_rebalance":
            run.worker("w1")
            run.workers["w2"].terminate()


def _wait_for_death(run: FaultRun, worker: FaultWorker) -> None:
    run.until(lambda: not worker.alive, "its death")


def _join(run: FaultRun) -> None:
    for name in ("w2", "w3"):
        run.worker(name, owning=False)


def churn(run: FaultRun, rounds: int, each_s: float = 4.0) -> None:
    """Workers join, leave and die: 1, 3, 2, 1."""
    run.worker("w1")
    for n in range(rounds):
        run.fault(f"round {n + 1}: two workers join", partial(_join, run))
        time.sleep(each_s)
        run.fault("one is killed", run.workers["w3"].kill)
        time.sleep(each_s)
        run.fault("one leaves", run.workers["w2"].terminate)
        time.sleep(each_s)
    run.workers["w1"].kill()


def broker_dies(run: FaultRun, times: int, away_s: float = 2.0) -> None:
    """kill -9 of the broker while a worker reads and writes, and its return."""

    def die() -> None:
        run.kafka.broker.kill()
        time.sleep(away_s)
        run.kafka.broker.restart()

    worker = run.worker("w1")
    for n in range(times):
        time.sleep(run.luck.uniform(1.0, 3.0))
        run.fault(f"broker killed, number {n + 1}", die)
        time.sleep(2.0)
        if not worker.alive:
            run.worker("w1")
    worker.kill()


def zombie(run: FaultRun, stopped_s: float = 20.0) -> None:
    """A worker is stopped for longer than its session, another one takes over, the first one goes on."""
    run.worker("w1")
    first = run.worker("w2", owning=False)
    time.sleep(2.0)
    run.fault("stopped", first.stop)
    time.sleep(max(stopped_s, SESSION_S + 3))
    run.fault("goes on", first.go_on)
    time.sleep(3.0)
    run.fault("the other one is killed", run.workers["w1"].kill)
    run.worker("w1")
    first.kill()
    run.workers["w1"].kill()


def zombie_with_reports(run: FaultRun) -> None:
    """A worker is stopped with reports in its hands, and sends them when another one has read on for long.

    It reads in small steps and has no snapshot since its first one, so it has reported every window often and
    in part; the other one reads in gulps and reports each window once or twice. A version that only counted
    reports would let the first one win. One of its reports is an early one, of a window that the other has closed.
    """
    # It comes back as the one before, so that nobody has to be missed.
    first = run.worker("z1", f"{STOPPED}:{run.exhausted + 1}", checkpoint_ms="600000", instance_id="w1")
    reported = len(run.reports()) + run.luck.randint(60, 100)
    run.until(lambda: len(run.reports()) >= reported, "it has reported much")
    number, window_ms = run.exhausted + 1, run.exhaust()

    def whole_and_after() -> list[bool]:
        told = _told(run, window_ms, number)
        return told[told.index(False) :] if False in told else []

    run.until(lambda: first.is_stopped, "it is stopped")
    before = run.done()
    # Below LATE_MS of event time, compressed or not: a late record must not come with what makes it late.
    run.worker("z2", fetch_bytes=str(4 * run.batch * LARGEST_BYTES))
    run.until(lambda: run.done() > min(0.95, before + 0.25), "the other one has read on")
    run.until(lambda: bool(whole_and_after()), "the other one has closed the window")
    run.fault("goes on with old reports", first.go_on)
    run.until(lambda: True in whole_and_after(), "the old reports are written")
    first.kill()
    run.workers["z2"].kill()
    run.reader = "z2"


def _told(run: FaultRun, window_ms: int, number: int) -> list[bool]:
    """The reports that tell of an exhaustion, in log order: whether each is an early one."""
    return [
        r.is_early for r in run.reports()
        if r.window_start_ms == window_ms and r.totals.get("restarts.candidate", 0) >= number
    ]  # fmt: skip


def leaders_move(run: FaultRun, times: int) -> None:
    """One of three brokers dies and comes back: its partitions get other leaders, and get them back."""
    cluster = run.kafka.broker
    assert isinstance(cluster, Cluster)
    worker = run.worker("w1")
    for n in range(times):
        node = cluster.nodes[1 + n % 2]
        time.sleep(run.luck.uniform(1.0, 3.0))
        run.fault(f"broker {2 + n % 2} killed", node.kill)
        time.sleep(4.0)
        run.fault(f"broker {2 + n % 2} back", node.restart)
        time.sleep(4.0)
        if not worker.alive:
            run.worker("w1")
    worker.kill()
