"""What the worker emits on a real broker equals a batch recomputation, whatever is done to the worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from paritygate.cli.broker import RunningBroker
from paritygate.cli.main import main
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_report
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import PREDICTIONS_PRIMARY, ROLLOUTS, WINDOWS
from tests.support.batch_model import difference, recompute, streamed
from tests.support.kafka import KafkaBench
from tests.support.traffic import Traffic, make_traffic, plan_for
from tests.support.worker import WorkerProcess

SPAN_MS = 8_000
#: Making the traffic takes a while, and must not make its first events late.
LEAD_MS = 5_000
#: A busy machine may hold up the feeder; the clock must not drive time meanwhile, or what it sends next is late.
IDLE_AFTER_MS = "15000"


def now_ms() -> int:
    """An idle worker lets the wall clock drive time, so what is sent to it must be of today."""
    return time.time_ns() // 1_000_000


def start_rollout(kafka: KafkaBench, settings: KafkaSettings, plan: RolloutPlan) -> None:
    command = Command(
        kind=CommandKind.START, rollout_id=plan.rollout, actor="tests", issued_at_ms=1, plan=plan.to_plain()
    )
    kafka.produce(settings.topic(ROLLOUTS.name), [(plan.rollout, command.to_bytes())])


def feed(settings: KafkaSettings, traffic: Traffic, *, per_s: int | None = None) -> Iterator[int]:
    """Send everything, yielding now and then how much was sent; paced where ``per_s`` is given."""
    producer = Producer(settings.confluent_producer(**{"linger.ms": 5}))
    records = traffic.records()
    # Both prediction topics go out together, as live traffic does; outcomes and platform reports in between.
    began = time.monotonic()
    for i, (topic, key, value) in enumerate(records):
        producer.produce(settings.topic(topic), key=key, value=value)
        if i % 500 == 0:
            producer.poll(0)
            yield i
            if per_s:
                time.sleep(max(0.0, began + i / per_s - time.monotonic()))
    assert producer.flush(120) == 0
    yield len(records)


def reports_once(
    kafka: KafkaBench, settings: KafkaSettings, requests: int, timeout_s: float = 150
) -> list[WindowReport]:
    """All reports, once as many requests are settled as were sent."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = [decode_report(r.value) for r in kafka.read(settings.topic(WINDOWS.name))]
        settled = sum(
            tally.count("requests") + tally.count("missing_baseline") for tally in streamed(found).values()
        )
        if settled >= requests:
            return found
        totals = {
            k: sum(t.totals.get(k, 0) for t in streamed(found).values()) for k in ("late", "duplicate", "lost")
        }
        assert time.monotonic() < deadline, f"{settled} of {requests} requests settled in {timeout_s} s; {totals}"
        time.sleep(0.5)


@pytest.fixture
def rollout(kafka: KafkaBench) -> tuple[KafkaSettings, RolloutPlan]:
    settings = kafka.settings()
    kafka.create_topics(settings)
    plan = plan_for("exact")
    start_rollout(kafka, settings, plan)
    return settings, plan


def test_shuffled_and_duplicated_input_equals_the_batch(
    kafka: KafkaBench, rollout: tuple[KafkaSettings, RolloutPlan], tmp_path: Path
) -> None:
    """Closed windows are what a batch over all records gives, in every cell, total and histogram."""
    settings, plan = rollout
    with WorkerProcess(settings, tmp_path, idle_after_ms=IDLE_AFTER_MS) as worker:
        worker.wait_owning()
        start_ms = now_ms() + LEAD_MS
        traffic = make_traffic(plan.rollout, requests=8_000, start_ms=start_ms, span_ms=SPAN_MS)
        for _ in feed(settings, traffic, per_s=2_500):
            pass
        found = reports_once(kafka, settings, 8_000)

        # Far behind the watermark, so it can only be late; it must change no count of any window.
        old = make_traffic("exact", requests=5, start_ms=start_ms - 60_000, span_ms=5, seed=7).predictions[:5]
        late = [replace(e, request_id=f"late-{i}") for i, e in enumerate(old)]
        for _ in feed(settings, Traffic(late, [], [])):
            pass
        deadline = time.monotonic() + 120
        while sum(t.totals.get("late", 0) for t in streamed(found).values()) < len(late):
            assert time.monotonic() < deadline, f"late events are not counted\n{worker.log()}"
            time.sleep(0.5)
            found = [decode_report(r.value) for r in kafka.read(settings.topic(WINDOWS.name))]

        assert worker.terminate() == 0

    got = streamed(found)
    for start in list(got):
        got[start].totals.pop("late", None)
        if not (got[start].cells or got[start].histograms or got[start].totals):
            del got[start]
    want = recompute(traffic.predictions, traffic.outcomes, traffic.platform, plan.join_settings())
    assert difference(got, want) == ""


def test_five_kills_change_nothing(
    kafka: KafkaBench, rollout: tuple[KafkaSettings, RolloutPlan], tmp_path: Path
) -> None:
    """kill -9 in mid-stream, five times: nothing is lost and nothing is counted twice."""
    settings, plan = rollout
    worker = WorkerProcess(settings, tmp_path, idle_after_ms=IDLE_AFTER_MS).start()
    try:
        worker.wait_owning()
        traffic = make_traffic(plan.rollout, requests=30_000, start_ms=now_ms() + LEAD_MS, span_ms=15_000, seed=3)
        total = len(traffic.records())
        kills = [total * k // 6 for k in range(1, 6)]
        for sent in feed(settings, traffic, per_s=5_000):
            if kills and sent >= kills[0]:
                kills.pop(0)
                worker.kill()
                worker.start()
        found = reports_once(kafka, settings, 30_000, timeout_s=240)
    finally:
        worker.kill()

    assert not kills
    generations = {r.generation for r in found}
    assert len(generations) > 1, "no window was published by a second owner: the kills hit nothing"
    want = recompute(traffic.predictions, traffic.outcomes, traffic.platform, plan.join_settings())
    assert difference(streamed(found), want) == ""


@dataclass(frozen=True)
class Run:
    """A worker's whole life: what it read, and what it reported."""

    kafka: KafkaBench
    settings: KafkaSettings
    found: list[WindowReport]


@pytest.fixture(scope="module")
def short_run(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One small run of one worker, that several tests look at."""
    kafka = KafkaBench(broker, "short-run")
    settings = kafka.settings()
    kafka.create_topics(settings)
    plan = plan_for("short")
    start_rollout(kafka, settings, plan)
    with WorkerProcess(settings, tmp_path_factory.mktemp("worker"), idle_after_ms=IDLE_AFTER_MS) as worker:
        worker.wait_owning()
        traffic = make_traffic(plan.rollout, requests=1_000, start_ms=now_ms() + LEAD_MS, span_ms=2_000, seed=5)
        for _ in feed(settings, traffic):
            pass
        found = reports_once(kafka, settings, 1_000)
        assert worker.terminate() == 0
    yield Run(kafka, settings, found)
    kafka.close()


def test_every_record_is_in_one_bin(short_run: Run) -> None:
    """The offsets that the reports name as applied are the offsets that the topics hold."""
    reports = sorted(short_run.found, key=lambda r: r.revision)
    applied = {(s.topic, s.partition): s.next for r in reports for s in r.sources}
    held = short_run.kafka.read(short_run.settings.topic(PREDICTIONS_PRIMARY.name))
    assert sum(n for (topic, _), n in applied.items() if topic == PREDICTIONS_PRIMARY.name) == len(held)


def test_replay_from_raw_counts_what_a_worker_counted(
    short_run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real worker's windows are made again from the raw topics, count by count, and give its decisions."""
    monkeypatch.setenv("PARITYGATE_BOOTSTRAP", short_run.settings.bootstrap)
    monkeypatch.setenv("PARITYGATE_TOPIC_PREFIX", short_run.settings.topic_prefix)
    code = main(("replay", "short", "--from-raw", "--json"))

    answer = orjson.loads(capsys.readouterr().out)
    recorded = {(r.partition, r.window_start_ms) for r in short_run.found}
    assert [w["differences"] for w in answer["windows"]] == [[], [], [], []]
    assert sum(w["identical"] for w in answer["windows"]) >= len(recorded)
    assert {d["replay"] for d in answer["decisions"]} == {"identical"}
    assert (code, answer["holds"]) == (0, True)
