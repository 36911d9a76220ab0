"""One fault run: topics laid down, workers that are hurt while they read them, and the oracle's word at the end.

Law: a run is told by its seed. What it does to the workers is drawn from it; what the counts must be follows
from the topics alone, so no timing of the machine can excuse a difference.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.cimpl import NewTopic

from paritygate.cli.lag import JOINED, committed
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_report
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import AUDIT, BULK, PARTITIONER, ROLLOUTS, TOPICS, WINDOWS
from tests.faults.oracle import Difference, Topics, compare
from tests.faults.traffic import COMPRESSIONS, CONFLUENT_ID, FaultTraffic, Sent, plan_of
from tests.support.kafka import KafkaBench, new_topic
from tests.support.tree import ROOT
from tests.support.worker import WorkerProcess

#: Shortest that a broker takes; a worker that is killed for good is missed after it.
SESSION_S = 6
#: Small, so that a snapshot of a short run has parts.
PART_BYTES = 4_096
#: How often a run exhausts the candidate's memory beside what the log holds: the plan allows so many and no more.
EXHAUSTIONS = 2
#: How far ahead of the watermark, in event time: its window is still open when it is read, and closes in the run.
AHEAD_MS = 30_000
#: A batch must fit into a partition's share of a fetch, or the broker leaves the partition out.
LARGEST_BYTES, USUAL_BYTES = 600, 260


class FaultWorker(WorkerProcess):
    """A worker that can be told to hurt itself."""

    def start(self, point: str = "") -> FaultWorker:
        """Start it; it dies when it reaches the point."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker"], env={**self._env, "FAULT_POINT": point},
                stdout=log, stderr=log, cwd=ROOT,
            )  # fmt: skip
        return self

    @property
    def alive(self) -> bool:
        """Whether its process runs (or is stopped)."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGSTOP: it holds its breath and does not know it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def is_stopped(self) -> bool:
        """Whether it holds its breath."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"


@dataclass
class FaultRun:
    """A rollout with its topics on a broker, and the workers on it."""

    kafka: KafkaBench
    folder: Path
    pairs: int
    seed: int
    off: str = ""
    partitions: int = 4
    repeats: float = 0.01
    #: Records of a batch at most. A worker fetches about two of them at once, so that a short log lasts.
    batch: int = 15
    say: Callable[[str], None] = print
    workers: dict[str, FaultWorker] = field(default_factory=dict)
    #: What was done, with the share of the records that was read before and after.
    faults: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.luck = random.Random(self.seed)
        self.settings: KafkaSettings = self.kafka.settings("faults")
        self.group = self.settings.topic("paritygate")
        start_ms = (time.time_ns() // 1_000_000 - 300_000) // 1_000 * 1_000
        self.traffic = FaultTraffic("faults", self.pairs, start_ms, self.seed, self.partitions, self.repeats)
        self.plan = plan_of("faults", self.traffic.exhaustions + EXHAUSTIONS)
        self.exhausted = 0
        #: Who reads on to the end where nobody is alive; nobody has to be missed if it was the last one.
        self.reader = "w1"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pace = self.folder / "pace"
        self.sizes = self.folder / "sizes"
        self.records = 0

    # -- topics ----------------------------------------------------------------------------------------------

    def lay(self, replicas: int = 1) -> None:
        """Make the topics and write everything; returns when the broker has it all."""
        began = time.monotonic()
        self.kafka.create(*(self._topic(t, replicas) for t in TOPICS))
        start = Command(
            kind=CommandKind.START, rollout_id="faults", actor="faults", issued_at_ms=1, plan=self.plan.to_plain()
        )
        self.kafka.produce(self.settings.topic(ROLLOUTS.name), [("faults", start.to_bytes())])
        producers = {name: self._producer(name) for name in COMPRESSIONS}
        turn = max(1_000, 2 * self.pairs // 40)
        producer = producers["none"]
        for sent in chain(self.traffic.records(), self.traffic.closing()):
            if self.records % turn == 0:
                assert producer.flush(120) == 0  # order within a partition, across producers
                producer = producers[COMPRESSIONS[self.records // turn % len(COMPRESSIONS)]]
            self._write(producer, sent)
            self.records += 1
        assert producer.flush(120) == 0
        self.say(f"{self.records:,} records of {self.pairs:,} pairs laid down in {time.monotonic() - began:.0f} s")

    def _topic(self, topic: Any, replicas: int) -> NewTopic:
        made = new_topic(self.settings, topic, self.partitions)
        config = dict(topic.config)
        if topic in BULK:
            config["message.timestamp.type"] = "CreateTime"
        return NewTopic(made.topic, num_partitions=made.num_partitions, replication_factor=replicas, config=config)

    def _producer(self, compression: str, **more: Any) -> Producer:
        return Producer(
            self.settings.confluent(
                **{
                    "partitioner": PARTITIONER, "acks": "all", "enable.idempotence": True, "linger.ms": 50,
                    "batch.num.messages": self.batch, "compression.type": compression,
                    **more,
                }
            )
        )  # fmt: skip

    def _write(self, producer: Producer, sent: Sent) -> None:
        where = -1 if sent.partition is None else sent.partition
        topic = self.settings.topic(sent.topic)
        while True:
            try:
                producer.produce(topic, key=sent.key, value=sent.value, timestamp=sent.at_ms, partition=where)
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.1)

    def exhaust(self) -> int:
        """The candidate's memory is exhausted, now and in an open window; returns the window's start."""
        self.exhausted += 1
        now_ms = max((r.watermark_ms for r in self.reports()), default=self.traffic.start_ms)
        at_ms = now_ms + AHEAD_MS
        producer = self._producer("none", **{"enable.idempotence": False})  # half a second less
        self._write(producer, self.traffic.exhausted(self.exhausted, at_ms))
        assert producer.flush(120) == 0
        self.records += 1
        window_ms = self.plan.join_settings().window_ms
        return at_ms // window_ms * window_ms

    def reports(self) -> list[WindowReport]:
        """What was published so far, in log order."""
        found = self.kafka.read(self.settings.topic(WINDOWS.name), timeout_s=600)
        return [decode_report(record.value) for record in found]

    def rollbacks(self) -> int:
        """How many the decider has decided."""
        found = self.kafka.read(self.settings.topic(AUDIT.name))
        return sum(GateDecision.from_bytes(r.value or b"").action is Action.ROLLBACK for r in found)

    def read_for(self, seconds: float) -> None:
        """Let the whole log take about so many seconds of a worker's life."""
        rounds = self.records / (2 * self.partitions * self.batch * LARGEST_BYTES / USUAL_BYTES)
        self.pace.write_text(f"{1000 * seconds / rounds:.0f}")

    # -- workers ---------------------------------------------------------------------------------------------

    def worker(self, name: str, point: str = "", *, owning: bool = True, **settings: str) -> FaultWorker:
        """Start a worker, or start it again; waits until it has its share, unless it is to die before.

        ``settings``: of the worker, from its first start on.
        """
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = FaultWorker(
                self.settings,
                self.folder,
                name,
                **{
                    "session_timeout_s": str(SESSION_S),
                    "idle_after_ms": "3600000",
                    "fetch_bytes": str(self.batch * LARGEST_BYTES),
                    "stuck_after_s": "120",
                    **settings,
                },
            )
            worker._env |= {
                "PARITYGATE_CONFLUENT_IDS": f"{CONFLUENT_ID}=prediction_event.v1",
                "FAULT_PACE": str(self.pace), "FAULT_SIZES": str(self.sizes), "FAULT_OFF": self.off,
                "FAULT_PART_BYTES": str(PART_BYTES),
            }  # fmt: skip
        before = worker.log().count("owning partitions")
        worker.start(point)
        if owning:
            self.until(
                lambda: worker.log().count("owning partitions") > before or not worker.alive, f"{name} owns a share"
            )
            assert worker.alive or point, f"{name} ended with {worker.process}:\n{worker.log()[-3000:]}"
        return worker

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
        """Wait for something to come true."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{n}:\n{w.log()[-2000:]}" for n, w in self.workers.items())
                raise AssertionError(f"not within {timeout_s:g} s: {what}\n{logs}")
            time.sleep(0.2)

    def done(self) -> float:
        """Share of the joined topics' records that is in a committed snapshot; -1 where nobody says."""
        try:
            found = committed(self.settings, self.group).positions
        except ParityGateError:
            return -1.0
        return sum(found.values()) / max(1, self.records)

    def fault(self, what: str, do: Callable[[], object]) -> None:
        """Do something to them, and note how far the reading was."""
        before, began = self.done(), time.monotonic()
        do()
        self.faults.append(
            {"fault": what, "at": round(before, 3), "after_s": round(time.monotonic() - began, 1)}
        )  # fmt: skip
        self.say(f"{what} at {before:.0%}")

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers.values():
            if worker.alive:
                worker.go_on()
                worker.kill()

    # -- the end ---------------------------------------------------------------------------------------------

    def judge(self) -> Difference:
        """Let the workers come to the end of the log, stop them in order, ask the oracle."""
        self.pace.write_text("0")
        if not any(w.alive for w in self.workers.values()):
            self.worker(self.reader)
        # Most of a long log is still to be read, half of it record by record.
        long_s = 600 + self.records / 1_000
        self.until(self._is_counted, "every record is counted and nothing waits", timeout_s=long_s)
        too_soon = self._decide_by_count() if not self.off else 0
        for worker in self.workers.values():
            if worker.alive:
                worker.terminate()
        topics = {self.settings.topic(t.name): t.name for t in BULK}
        records = (record for topic in topics for record in self.kafka.read(topic, timeout_s=600))
        standings = committed(self.settings, self.group).standings
        found = compare(
            Topics(records, topics), self.reports(), {p: s.bins for p, s in standings.items()},
            self.plan.join_settings(),
        )  # fmt: skip
        rollbacks = self.rollbacks() if not self.off else 1
        found.note("decisions", 2, [(k, n, want) for k, n, want in (
            ("rollbacks at the limit", too_soon, 0), ("rollbacks beyond it", rollbacks, 1),
        ) if n != want])  # fmt: skip
        self.say(f"{sum(found.compared.values()):,} numbers compared, {found.found:,} differ (seed {self.seed})")
        return found

    def _decide_by_count(self) -> int:
        """Exhaust the memory as often as the plan allows, and once more; returns the rollbacks before that.

        Had the decider counted one exhaustion twice, it would have rolled back; had it lost one, it would not now.
        """
        while self.exhausted < EXHAUSTIONS:
            self.exhaust()
        self.until(self._is_counted, "the last exhaustions are counted")
        time.sleep(1.0)  # for a decision that must not come
        too_soon = self.rollbacks()
        self.exhaust()
        self.until(self._is_counted, "one more is counted")
        self.until(lambda: self.rollbacks() > 0, "one exhaustion too many rolls back")
        return too_soon

    def _is_counted(self) -> bool:
        try:
            found = committed(self.settings, self.group)
        except ParityGateError:
            return False
        if not any(w.alive for w in self.workers.values()):
            self.worker(self.reader)
        names = {self.settings.topic(t.name): t.name for t in JOINED}
        ends = self.kafka.end_offsets((topic, p) for topic in names for p in range(self.partitions))
        return (
            found.positions == {(names[topic], p): end for (topic, p), end in ends.items()}
            and len(found.standings) == self.partitions
            and not any(s.pending or s.replay_left for s in found.standings.values())
        )

    def snapshots(self) -> dict[str, float]:
        """What checkpoints cost: bytes of all partitions of a worker, and milliseconds."""
        rows = [line.split() for line in self.sizes.read_text().splitlines()] if self.sizes.exists() else []
        sizes, took = sorted(int(r[0]) for r in rows), sorted(int(r[1]) for r in rows)
        if not rows:
            return {}
        return {
            "count": len(rows), "bytes_median": sizes[len(rows) // 2], "bytes_max": sizes[-1],
            "ms_median": took[len(rows) // 2], "ms_max": took[-1],
        }  # fmt: skip


def environment() -> dict[str, str]:
    """What the figures were measured on."""
    return {"python": sys.version.split()[0], "cpus": str(os.cpu_count()), "load": f"{os.getloadavg()[0]:.1f}"}
