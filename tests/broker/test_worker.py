"""The life of ``paritygate worker``: what it refuses, how it ends, what it survives, what its decider writes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest
from confluent_kafka.cimpl import NewTopic

from paritygate.cli.broker import RunningBroker, start_broker
from paritygate.cli.broker.probe import free_port
from paritygate.cli.lag import committed
from paritygate.cli.main import main
from paritygate.producers.publisher import PredictionPublisher
from paritygate.rollouts.plan import RolloutPlan
from paritygate.rollouts.replay import chained, replay
from paritygate.router.watcher import DecisionWatcher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_report
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PoisonError, RecoverableError
from paritygate.schemas.metrics import METRICS
from paritygate.schemas.prediction import Arm, PredictionEvent, Status
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import (
    AUDIT,
    PREDICTIONS_SHADOW,
    ROLLOUTS,
    TOPICS,
    WINDOWS,
)
from tests.support.batch_model import difference, recompute, streamed
from tests.support.feed import now_ms, send, start_command
from tests.support.kafka import KafkaBench, new_topic
from tests.support.traffic import Traffic, make_traffic, plan_for, trace_of
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

#: Making the traffic takes a moment, and must not make its first events late.
LEAD_MS = 3_000
SETTLED_S = 150.0
#: So long may a feeder stand still in the midst of its traffic before the clock passes what it still holds.
STILL_MS = "15000"
#: Where a feeder waits for what may take minutes only events drive time; the grace is longer than their span.
EVENTS_ONLY_MS = "600000"
SPAN_GRACE_MS = 10_000

#: Less than the clock needs anyway to pass the grace of the plan below.
CLIMB_IDLE_MS = "6000"
CLIMBING_YAML = """
rollout: climb
service: climb
baseline: {version: "1"}
candidate: {version: "2"}
owner: tests
rollback_condition: any gate that is proven to be broken
stages:
  - {name: shadow, weight: 0, minimum_seconds: 1, minimum_pairs: 100}
  - {name: "50", weight: 50, minimum_seconds: 1, minimum_pairs: 100}
  - {name: "100", weight: 100}
join: {window_ms: 500, grace_ms: 6000, lateness_ms: 1500, retain_ms: 1000, dedupe_ms: 30000}
promotion_gates:
  error_rate: {maximum: 0.5}
  schema_validation_pass_rate: {minimum: 0.5}
"""


def until(holds: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
    """Ask until it holds; a broker that does not answer for now is asked again."""
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(RecoverableError):
            if holds():
                return
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s"
        time.sleep(0.1)


def reports(kafka: KafkaBench, settings: KafkaSettings, rollout: str) -> list[WindowReport]:
    found = [decode_report(r.value) for r in kafka.read(settings.topic(WINDOWS.name))]
    return [r for r in found if r.rollout_id == rollout]


def settled(kafka: KafkaBench, settings: KafkaSettings, rollout: str, requests: int) -> list[WindowReport]:
    """The reports, once as many requests are settled as were sent."""
    found: list[WindowReport] = []

    def enough() -> bool:
        found[:] = reports(kafka, settings, rollout)
        tallies = streamed(found).values()
        return sum(t.count("requests") + t.count("missing_baseline") for t in tallies) >= requests

    until(enough, f"{requests} settled requests of {rollout}", SETTLED_S)
    return found


def close_windows(settings: KafkaSettings, end_ms: int) -> None:
    """Close by events what ended at ``end_ms`` of event time; they are of the rollout ``later``."""
    push = make_traffic("later", requests=200, start_ms=end_ms + SPAN_GRACE_MS + 5_000, span_ms=500, seed=9)
    send(settings, healthy(push).records())


def assert_exact(found: list[WindowReport], traffic: Traffic, plan: RolloutPlan) -> None:
    want = recompute(traffic.predictions, traffic.outcomes, traffic.platform, plan.join_settings())
    assert difference(streamed(found), want) == ""
    arms: dict[str, set[Arm]] = {}
    for event in traffic.predictions:
        arms.setdefault(event.request_id, set()).add(event.arm)
    # The trace of what waited in vain is not kept, whatever else is wrong with the one answer there is.
    examples = [e for r in found for e in r.examples if len(arms[e.request_id]) == 2]
    assert examples
    assert {e.request_id: e.trace_id for e in examples} == {e.request_id: trace_of(e.request_id) for e in examples}


def decisions(kafka: KafkaBench, settings: KafkaSettings, rollout: str) -> list[GateDecision]:
    """The audit of one rollout, as it lies there."""
    found = [GateDecision.from_bytes(r.value or b"") for r in kafka.read(settings.topic(AUDIT.name))]
    return [d for d in found if d.rollout_id == rollout]


# -- what it refuses ---------------------------------------------------------------------------------------------


def refused(settings: KafkaSettings, **worker: str) -> str:
    """Start a worker that is to end at once with exit code 2; the one line that it says."""
    env = {
        **os.environ,
        "PARITYGATE_BOOTSTRAP": settings.bootstrap,
        "PARITYGATE_TOPIC_PREFIX": settings.topic_prefix,
        **{f"PARITYGATE_WORKER_{k.upper()}": v for k, v in worker.items()},
    }
    command = [sys.executable, "-m", "paritygate.cli.main", "worker"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_another_partition_count_is_refused(kafka: KafkaBench) -> None:
    """A joined topic with another partition count ends the start with both counts in one line."""
    settings = kafka.settings()
    kafka.create(*(new_topic(settings, t, 6 if t is PREDICTIONS_SHADOW else 4) for t in TOPICS))

    line = refused(settings)
    assert f"{settings.topic(PREDICTIONS_SHADOW.name)} has 6" in line
    assert "primary.v1 has 4" in line


def test_several_partitions_of_an_ordered_topic_are_refused(kafka: KafkaBench) -> None:
    """The command topic decides by its order; with three partitions there is none."""
    settings = kafka.settings()
    kafka.create(*(new_topic(settings, t, 4) for t in TOPICS if t is not ROLLOUTS))
    kafka.create(NewTopic(settings.topic(ROLLOUTS.name), num_partitions=3))

    assert f"{settings.topic(ROLLOUTS.name)} has 3 partitions, not 1" in refused(settings)


def test_missing_topics_are_refused(kafka: KafkaBench) -> None:
    """Missing topics are named together with the command that makes them; none is made on the way."""
    settings = kafka.settings()
    kafka.create(*(new_topic(settings, t, 4) for t in TOPICS if t is not AUDIT))

    line = refused(settings)
    assert f"topics are missing: {settings.topic(AUDIT.name)};" in line
    assert "paritygate topics create" in line
    assert settings.topic(AUDIT.name) not in kafka.admin.list_topics(timeout=60).topics


def test_new_topics_under_an_old_name_are_refused(kafka: KafkaBench) -> None:
    """Snapshots of four partitions cannot go on with two; the line says which name to change."""
    settings = kafka.settings()
    kafka.create_topics(settings, partitions=2)
    kafka.create(NewTopic(settings.topic("paritygate-join-state-changelog"), num_partitions=4))

    line = refused(settings, partitions="2")
    assert "has 4 partitions, not 2" in line
    assert "PARITYGATE_WORKER_APP_ID" in line


def test_absent_broker_is_refused() -> None:
    """No broker: the line names the address."""
    assert "no Kafka broker answers at 127.0.0.1:1:" in refused(KafkaSettings(bootstrap="127.0.0.1:1"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("session_timeout_s", "5", "SESSION_TIMEOUT_S is 5"),
        ("session_timeout_s", "nan", "SESSION_TIMEOUT_S is nan"),
        ("checkpoint_ms", "soon", "not a whole number"),
        ("log_level", "loud", "not one of debug, info"),
    ],
)
def test_bad_settings_are_refused(name: str, value: str, said: str) -> None:
    """A setting that would let the worker idle or fail later is refused before anything is connected."""
    assert said in refused(KafkaSettings(bootstrap="127.0.0.1:1"), **{name: value})


def test_taken_metrics_port_is_refused(kafka: KafkaBench) -> None:
    """A port that another process has is named with the setting that changes it."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = refused(settings, metrics_port=str(taken.getsockname()[1]))
    assert "PARITYGATE_WORKER_METRICS_PORT" in line


# -- one worker's life -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Life:
    """One worker that several tests look at."""

    kafka: KafkaBench
    settings: KafkaSettings
    worker: WorkerProcess
    port: int


@pytest.fixture(scope="module")
def life(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    kafka = KafkaBench(broker, "life")
    settings = kafka.settings()
    kafka.create_topics(settings)
    port = free_port()
    with WorkerProcess(settings, tmp_path_factory.mktemp("life"), metrics_port=str(port)) as worker:
        worker.wait_owning()
        yield Life(kafka, settings, worker, port)
    kafka.close()


def test_bad_commands_are_refused_in_one_line_each(life: Life) -> None:
    """Undecodable commands and bad plans are told with their offset; the next good start is taken."""
    plan = plan_for("good")
    unknown_gate = plan.to_plain() | {"promotion_gates": {"speed": {"maximum": 1}}}
    bad_plan = Command(kind=CommandKind.START, rollout_id="good", actor="t", issued_at_ms=1, plan=unknown_gate)
    no_plan = Command(kind=CommandKind.START, rollout_id="good", actor="t", issued_at_ms=1)
    nobody = Command(kind=CommandKind.PAUSE, rollout_id="nobody", actor="t", issued_at_ms=1)
    commands: list[tuple[str, bytes | None]] = [
        ("good", b"\xc3\x01 no json"),
        ("good", None),
        ("good", bad_plan.to_bytes()),
        ("good", no_plan.to_bytes()),
        ("nobody", nobody.to_bytes()),
        start_command(plan),
    ]
    life.kafka.produce(life.settings.topic(ROLLOUTS.name), commands)
    until(lambda: bool(decisions(life.kafka, life.settings, "good")), "decision 0")

    (first,) = decisions(life.kafka, life.settings, "good")
    assert (first.sequence, first.reason_code, first.commands_next) == (0, "started", len(commands))
    until(lambda: "offset 4 is refused" in life.worker.log(), "the refusals in the log")
    lines = life.worker.log().splitlines()
    for offset, why in enumerate(("not a rollout command", "not a rollout command", "speed", "no plan", "no such")):
        (line,) = [text for text in lines if f"rollouts.v1 offset {offset} " in text]
        assert why in line
    assert life.worker.process is not None
    assert life.worker.process.poll() is None


def test_decider_yields_to_one_that_was_first(life: Life) -> None:
    """A decider that was cut off wrote once more: what stands first in the audit counts, and the next decision
    continues it. Otherwise every reader would ignore all that this decider writes from now on."""
    kafka, settings = life.kafka, life.settings
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan_for("contested"))])
    until(lambda: bool(decisions(kafka, settings, "contested")), "decision 0")
    head = chained(decisions(kafka, settings, "contested"))[-1]
    changes = {
        "reason": "said by another decider",
        "reason_code": "floor_time",
        "windows_next": head.windows_next + 1,
    }
    foreign = head.model_copy(
        update={**changes, "sequence": head.sequence + 1, "previous": head.digest(), "at_ms": now_ms()}
    )
    kafka.produce(settings.topic(AUDIT.name), [("contested", foreign.to_bytes())])
    until(lambda: "is not ours: folding again" in life.worker.log(), "the other decider's record")
    pause = Command(kind=CommandKind.PAUSE, rollout_id="contested", actor="t", issued_at_ms=1)
    kafka.produce(settings.topic(ROLLOUTS.name), [("contested", pause.to_bytes())])

    def paused() -> bool:
        return any(d.reason_code == "paused" for d in chained(decisions(kafka, settings, "contested")))

    until(paused, "a decision that continues the chain")
    chain = chained(decisions(kafka, settings, "contested"))
    assert chain[foreign.sequence].reason == foreign.reason


def test_metrics_are_those_declared(life: Life) -> None:
    """The endpoint on loopback shows the worker's series, and none that the table lacks."""
    traffic = make_traffic("good", requests=500, start_ms=now_ms() + 1_000, span_ms=1_000)
    for topic, key, value in traffic.records()[:50]:
        life.kafka.produce(life.settings.topic(topic), [(key, value)])
    wanted = {
        "paritygate_worker_events", "paritygate_worker_lag_events", "paritygate_worker_owned_partitions",
        "paritygate_worker_pending_requests", "paritygate_worker_snapshot_bytes", "rollout_decisions",
        "paritygate_worker_checkpoint_seconds", "paritygate_worker_batch_seconds", "rollout_weight_ratio",
        "paritygate_worker_rebalances", "paritygate_worker_watermark_timestamp_seconds",
    }  # fmt: skip
    shown: set[str] = set()

    def look() -> bool:
        text = urlopen(f"http://127.0.0.1:{life.port}/metrics", timeout=60).read().decode()
        shown.update(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
        assert "paritygate_worker_owned_partitions 4.0" in text
        return wanted <= {name.removesuffix("_total") for name in shown}

    until(look, "the series")
    declared = {m.value for m in METRICS}
    created = {name for name in shown if name.endswith("_created")}
    assert {name.removesuffix("_total") for name in shown - created} <= {n.removesuffix("_total") for n in declared}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of sockets")
def test_nobody_outside_can_connect(life: Life) -> None:
    """The worker listens on loopback only, and only for metrics; Faust's own web server does not start."""
    assert life.worker.process is not None
    inodes = set()
    for entry in Path(f"/proc/{life.worker.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(fields[1])
    loopback = "0100007F" if sys.byteorder == "little" else "7F000001"

    assert listening == {f"{loopback}:{life.port:04X}"}


def test_log_is_one_line_an_event(life: Life) -> None:
    """Each line has a time, a level and a logger of ours; libraries, tables and tracebacks stay out."""
    for line in life.worker.log().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) paritygate\.\S+: \S", line), (
            line
        )


# -- ends and successors -----------------------------------------------------------------------------------------


def test_successor_of_a_stopped_worker_goes_on_exactly(kafka: KafkaBench, tmp_path: Path) -> None:
    """SIGTERM in mid-stream ends with 0 and says goodbye; the next worker counts the rest and no event twice."""
    settings, plan = kafka.settings(), plan_for("stopped")
    kafka.create_topics(settings)
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan)])
    with WorkerProcess(settings, tmp_path, idle_after_ms=STILL_MS) as worker:
        worker.wait_owning()
        traffic = make_traffic("stopped", requests=3_000, start_ms=now_ms() + LEAD_MS, span_ms=3_000, seed=2)
        records = traffic.records()
        for half in (records[: len(records) // 2], records[len(records) // 2 :]):
            for topic in {t for t, _, _ in half}:
                kafka.produce(settings.topic(topic), [(k, v) for t, k, v in half if t == topic])
            if half[0] is records[0]:
                until(lambda: bool(reports(kafka, settings, "stopped")), "a report of the first worker")
                assert worker.terminate() == 0
                worker.start()
        found = settled(kafka, settings, "stopped", 3_000)
        assert worker.terminate() == 0
        log = worker.log()

    assert_exact(found, traffic, plan)
    assert len({r.generation for r in found}) > 1, "the second worker published nothing"
    assert log.count("stopped by a signal") == 2
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_two_workers_share_and_inherit(kafka: KafkaBench, tmp_path: Path) -> None:
    """A second worker takes its share in mid-stream; when it is killed the first inherits it; all is exact."""
    settings, plan = kafka.settings(), plan_for("shared", grace_ms=SPAN_GRACE_MS)
    kafka.create_topics(settings)
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan), start_command(plan_for("later"))])
    # While the feeder waits for a rebalance, the clock must not drive time past what it will send.
    first = WorkerProcess(settings, tmp_path, "w1", session_timeout_s="6", idle_after_ms=EVENTS_ONLY_MS).start()
    second = WorkerProcess(settings, tmp_path, "w2", session_timeout_s="6", idle_after_ms=EVENTS_ONLY_MS)
    try:
        first.wait_owning()
        start_ms = now_ms() + LEAD_MS
        traffic = make_traffic("shared", requests=6_000, start_ms=start_ms, span_ms=6_000, seed=4)
        records = traffic.records()
        third = len(records) // 3
        send(settings, records[:third])
        second.start()
        send(settings, records[third : 2 * third])
        until(lambda: "owning partitions [" in second.log(), "a share for the second worker")
        send(settings, records[2 * third : -third // 2])
        second.kill()
        send(settings, records[-third // 2 :])
        close_windows(settings, start_ms + 7_000)
        found = settled(kafka, settings, "shared", 6_000)
        assert first.terminate() == 0
        logs = [first.log(), second.log()]
    finally:
        first.kill()
        second.kill()

    shares = [re.findall(r"owning partitions \[([^\]]*)\]", log) for log in logs]
    assert shares[1][0]
    assert set(shares[0][1].split(", ")) | set(shares[1][0].split(", ")) == {"0", "1", "2", "3"}
    assert shares[0][-1] == "0, 1, 2, 3"
    assert_exact(found, traffic, plan)


def test_twin_with_the_same_instance_id_ends(kafka: KafkaBench, tmp_path: Path) -> None:
    """Two workers with one instance id throw each other out; one ends with 1 and the reason, the other stays."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    twins = [WorkerProcess(settings, tmp_path, name, instance_id="same", session_timeout_s="6") for name in "ab"]
    try:
        twins[0].start().wait_owning()
        twins[1].start()
        codes: list[int | None] = []

        def ended() -> bool:
            codes[:] = [w.process.poll() for w in twins if w.process is not None]
            return any(code is not None for code in codes)

        until(ended, "the end of one", 150)
        assert 1 in codes
        last = twins[codes.index(1)].log().splitlines()[-1]
    finally:
        for twin in twins:
            twin.kill()
    assert "another worker has PARITYGATE_WORKER_INSTANCE_ID same too" in last


# -- a broker that goes away -------------------------------------------------------------------------------------


class Supervised:
    """A worker that is started again whenever it ends by itself, as a supervisor would do."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.ended: list[int] = []

    def look(self) -> None:
        """Start it again if it has ended."""
        assert self.worker.process is not None
        code = self.worker.process.poll()
        if code is not None:
            self.ended.append(code)
            self.worker.start()


@pytest.fixture(scope="module")
def own_broker(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker of this module's own to break; the shared one serves the others."""
    if broker.kind != "apache":
        pytest.skip(f"a {broker.kind} broker is not ours to break")
    with start_broker(tmp_path_factory.mktemp("own") / "broker", prefer="apache") as own:
        yield own


def test_broker_that_dies_and_comes_back_costs_nothing(own_broker: RunningBroker, tmp_path: Path) -> None:
    """Kill -9 of the broker in mid-stream: the publisher loses nothing it took, and the counts end exact."""
    kafka = KafkaBench(own_broker, "outage")
    settings, plan = kafka.settings(), plan_for("outage", grace_ms=SPAN_GRACE_MS)
    kafka.create_topics(settings)
    kafka.produce(settings.topic(ROLLOUTS.name), [start_command(plan), start_command(plan_for("later"))])
    # However long the broker takes to come back: the clock must not pass what waits in the publisher.
    worker = WorkerProcess(settings, tmp_path, idle_after_ms=EVENTS_ONLY_MS).start()
    supervised = Supervised(worker)
    try:
        worker.wait_owning()
        start_ms = now_ms() + LEAD_MS
        traffic = make_traffic("outage", requests=4_000, start_ms=start_ms, span_ms=4_000, seed=6)
        with PredictionPublisher(settings, instance_id="pod-0", delivery_timeout_ms=300_000) as publisher:
            fifth = len(traffic.predictions) // 5
            for n in range(5):
                for event in traffic.predictions[n * fifth : (n + 1) * fifth if n < 4 else None]:
                    assert publisher.publish(event)
                if n == 1:
                    own_broker.kill()
                if n == 3:
                    time.sleep(1.0)
                    own_broker.restart()
                time.sleep(0.3)
                supervised.look()
            for outcome in traffic.outcomes:
                assert publisher.publish_outcome(outcome)
            for report in traffic.platform:
                assert publisher.publish_platform(report)
            until(lambda: publisher.flush(0.1) == 0, "delivery of all that was taken", 150)
            stats = publisher.stats()
        assert stats["delivered"] == len(traffic.predictions) + len(traffic.outcomes) + len(traffic.platform)
        close_windows(settings, start_ms + 5_000)
        found: list[WindowReport] = []

        def enough() -> bool:
            supervised.look()
            found[:] = reports(kafka, settings, "outage")
            tallies = streamed(found).values()
            return sum(t.count("requests") + t.count("missing_baseline") for t in tallies) >= 4_000

        until(enough, "all requests", 150)
        assert worker.terminate() == 0
    finally:
        worker.kill()

    assert 0 not in supervised.ended, "a worker that gives up says so by its exit code"
    assert_exact(found, traffic, plan)


def test_worker_gives_up_on_a_broker_that_stays_away(own_broker: RunningBroker, tmp_path: Path) -> None:
    """Without a broker a worker ends with 1 and the reason; told to stop, it ends with 0 and does not hang.

    Nobody needs this broker any more: it stays away.
    """
    kafka = KafkaBench(own_broker, "away")
    settings = kafka.settings()
    kafka.create_topics(settings)
    impatient = WorkerProcess(settings, tmp_path, "impatient", app_id="a", stuck_after_s="10").start()
    # It writes nothing after its first checkpoint: in the midst of a write it would say nothing of the outage yet.
    patient = WorkerProcess(settings, tmp_path, "patient", app_id="b", checkpoint_ms="600000").start()
    try:
        impatient.wait_owning()
        patient.wait_owning()
        for worker in (impatient, patient):
            until(lambda worker=worker: "the decider starts" in worker.log(), "the decider")  # type: ignore[misc]
        until(lambda: bool(committed(settings, settings.topic("b")).positions), "the first checkpoint")
        own_broker.kill()
        until(lambda: "cannot be read" in patient.log(), "the outage in the log")
        assert patient.terminate() == 0
        assert impatient.process is not None
        assert impatient.process.wait(150) == 1
    finally:
        impatient.kill()
        patient.kill()

    last = impatient.log().splitlines()[-1]
    assert re.search(r"the worker ends: .*(no broker has answered for 10 s|cannot be written: .*)$", last), last
    for log in (impatient.log(), patient.log()):
        # An attempt every 0.2 s would say it fifty times.
        assert log.count("cannot be read") <= 3, "said once an outage, not at each attempt"
        assert "Traceback" not in log


# -- the decider -------------------------------------------------------------------------------------------------


def healthy(traffic: Traffic) -> Traffic:
    """Only the requests that both arms answered well, each answer once."""
    answers: dict[str, dict[str, PredictionEvent]] = {}
    for event in traffic.predictions:
        if event.status is Status.OK and '"confidence":7' not in event.output:
            answers.setdefault(event.request_id, {})[event.arm.value] = event
    pairs = [pair for pair in answers.values() if len(pair) == 2]
    return Traffic([event for pair in pairs for event in pair.values()], [], [])


def replayed(kafka: KafkaBench, settings: KafkaSettings) -> str:
    """What an auditor finds: why the recorded decisions do not follow from the logs; empty where they do."""
    audit = [GateDecision.from_bytes(r.value or b"") for r in kafka.read(settings.topic(AUDIT.name))]
    commands: list[tuple[int, Command]] = []
    for record in kafka.read(settings.topic(ROLLOUTS.name)):
        with suppress(PoisonError):
            commands.append((record.offset, Command.from_bytes(record.value or b"")))
    windows = [(r.offset, decode_report(r.value)) for r in kafka.read(settings.topic(WINDOWS.name))]
    return replay(audit, commands, windows).first_difference or ""


def test_decider_that_is_killed_goes_on_with_the_same_chain(
    kafka: KafkaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands and windows, two kills in between: one chain without a fork, which follows from the logs, and a
    router that applies it."""
    settings = kafka.settings()
    kafka.create_topics(settings)
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", settings.topic_prefix)
    plan_file = tmp_path / "rollout.yaml"
    plan_file.write_text(CLIMBING_YAML)

    def say(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*arguments, "--json", "--actor", "ada", "--wait", "150"]) == 0
        said: dict[str, Any] = orjson.loads(capsys.readouterr().out)
        return said

    def feed(seed: int) -> None:
        made = make_traffic("climb", requests=600, start_ms=now_ms() + 500, span_ms=2_500, seed=seed)
        renamed = [replace(e, request_id=f"{seed}-{e.request_id}") for e in healthy(made).predictions]
        send(settings, Traffic(renamed, [], []).records())

    worker = WorkerProcess(settings, tmp_path, idle_after_ms=CLIMB_IDLE_MS).start()
    router = DecisionWatcher(settings, "climb", "router-a", tmp_path / "router")
    try:
        worker.wait_owning()
        assert say("start", str(plan_file))["reason_code"] == "started"
        feed(1)
        until(lambda: router.weight == 50, "the first promotion at the router")
        assert say("pause", "climb")["reason_code"] == "paused"
        worker.kill()
        worker.start()
        feed(2)
        until(lambda: worker.log().count("the decider starts with") == 2, "the second decider")
        assert say("resume", "climb", "--reason", "looked at it")["reason_code"] == "resumed"
        feed(3)
        until(lambda: router.weight == 100, "the second promotion at the router")
        worker.kill()
        worker.start()
        until(lambda: worker.log().count("the decider starts with") == 3, "the third decider")
        rolled_back = say("rollback", "climb", "--reason", "enough")
        assert (rolled_back["action"], rolled_back["weight"]) == ("rollback", 0)
        until(lambda: router.weight == 0, "the rollback at the router")
        assert worker.terminate() == 0
    finally:
        router.close()
        worker.kill()

    audit = decisions(kafka, settings, "climb")
    bodies: dict[int, set[bytes]] = {}
    for decision in audit:
        bodies.setdefault(decision.sequence, set()).add(decision.to_bytes())
    assert {len(found) for found in bodies.values()} == {1}, "a sequence with two contents is a fork"
    chain = chained(audit)
    assert [d.sequence for d in chain] == list(range(len(bodies)))
    assert [d.weight for d in chain if d.action is Action.PROMOTE] == [50, 100]
    assert replayed(kafka, settings) == ""
    assert "what is recorded stands" not in worker.log(), "the restarted deciders found a difference"
