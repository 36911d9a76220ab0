"""One worker meets every kind of bad record, is killed twice, and loses nothing else."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import cramjam
import pytest
from confluent_kafka import Producer
from fastavro import schemaless_writer

from paritygate.cli.broker import RunningBroker
from paritygate.cli.lag import committed
from paritygate.comparators.partition import PartitionJoin
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import AvroRecord, decode_report, encode
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.contract import CONTRACTS
from paritygate.schemas.errors import RecoverableError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.registry import REGISTRY
from paritygate.schemas.report import WindowReport
from paritygate.schemas.topics import (
    BULK,
    OUTCOMES,
    PLATFORM,
    PREDICTIONS_PRIMARY,
    PREDICTIONS_SHADOW,
    ROLLOUTS,
    WINDOWS,
    Topic,
    dead_letter_topic,
)
from paritygate.streams.snapshots import TableStore
from tests.support.batch_model import difference, final_reports, recompute, streamed
from tests.support.kafka import KafkaBench, Record
from tests.support.traffic import Traffic, make_traffic, plan_for
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.broker

REQUESTS = 1_500
FUTURE_MS = 120_000
#: ``(topic, key, value)`` of one record; the key decides the partition.
Sent = tuple[str, bytes | None, bytes | None]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def bare(record: AvroRecord) -> bytes:
    """Avro without the checks of our own writer, as a writer in another language might send it."""
    contract, out = CONTRACTS[type(record)], BytesIO()
    schema = REGISTRY.newest(contract.name)
    out.write(schema.header)
    schemaless_writer(out, schema.parsed, contract.plain(record))
    return out.getvalue()


def prediction(at_ms: int, role: Role, request_id: str, rollout: str = "bad") -> PredictionEvent:
    return PredictionEvent(
        request_id=request_id, rollout_id=rollout, arm=Arm.BASELINE if role is Role.PRIMARY else Arm.CANDIDATE,
        role=role, event_at_ms=at_ms, latency_ms=1.0, status=Status.OK, model_version="1", instance_id="pod-0",
        segments={"tier": "gold", "region": "eu"},
    )  # fmt: skip


def bad_bytes(good: bytes) -> dict[str, bytes | None]:
    """What can be wrong with the value of any topic."""
    return {
        "truncated": good[:-3],
        "trailing": good + b"x",
        "fingerprint": good[:2] + bytes(8) + good[10:],
        "json": b'{"request_id": "r", ',
        "framing": b"hello",
        "empty": b"",
        "null": None,
    }


def bad_records(at_ms: int) -> list[Sent]:
    """Every kind of bad record on each topic where it applies, keyed so that each one is told apart."""
    sent: list[Sent] = []
    for topic, role in ((PREDICTIONS_PRIMARY, Role.PRIMARY), (PREDICTIONS_SHADOW, Role.SHADOW)):
        event = prediction(at_ms, role, "r")
        cases = bad_bytes(encode(event)) | {
            "nan": bare(replace(event, request_id="nan", latency_ms=float("nan"))),
            "infinite": bare(replace(event, request_id="infinite", latency_ms=float("inf"))),
            "huge": bare(replace(event, request_id="huge", output="x" * 1_000_000)),
            "other-key": encode(event),
        }
        sent += [(topic.name, kind.encode(), value) for kind, value in cases.items()]
        sent.append((topic.name, None, encode(event)))
    outcome = Outcome(request_id="r", rollout_id="bad", measure="m", event_at_ms=at_ms, baseline=0.5, candidate=0.5)
    cases = bad_bytes(encode(outcome)) | {
        "nan": bare(replace(outcome, request_id="nan", candidate=float("nan"))),
        "other-key": encode(outcome),
    }
    sent += [(OUTCOMES.name, kind.encode(), value) for kind, value in cases.items()]
    sent.append((OUTCOMES.name, None, encode(outcome)))
    report = PlatformEvent(
        rollout_id="bad", arm=Arm.BASELINE, model_version="1", instance_id="i", event_at_ms=at_ms, running_ms=1
    )
    cases = bad_bytes(encode(report)) | {"negative": bare(replace(report, running_ms=-1))}
    sent += [(PLATFORM.name, kind.encode(), value) for kind, value in cases.items()]
    sent.append((PLATFORM.name, None, encode(report)))
    return sent


@dataclass(slots=True)
class Story:
    """What was sent, and what a worker that was killed twice made of it."""

    settings: KafkaSettings
    plan: RolloutPlan
    traffic: Traffic
    bad: list[Sent]
    #: Offsets of the bad records: ``(topic, partition, offset)`` to what was sent there.
    places: dict[tuple[str, int, int], Sent]
    letters: dict[str, list[Record]] = field(default_factory=dict)
    letters_later: dict[str, int] = field(default_factory=dict)
    reports: list[WindowReport] = field(default_factory=list)
    bins: Counter[str] = field(default_factory=Counter)
    counted: dict[tuple[str, int], int] = field(default_factory=dict)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    log: str = ""

    def of(self, rollout: str) -> list[WindowReport]:
        return [r for r in self.reports if r.rollout_id == rollout]

    def total(self, rollout: str, name: str) -> int:
        return sum(r.totals.get(name, 0) for r in final_reports(self.of(rollout)).values())


def send(settings: KafkaSettings, records: list[Sent]) -> dict[tuple[str, int, int], Sent]:
    """Write records in order; where each one lies. Compressed, or a broker would not take the huge ones."""
    producer = Producer(settings.confluent_producer(**{"linger.ms": 5, "message.max.bytes": 4 << 20}))
    places: dict[tuple[str, int, int], Sent] = {}
    for i, record in enumerate(records):
        topic, key, value = record

        def delivered(error: object, message: object, record: Sent = record) -> None:
            assert error is None, f"{record[:2]}: {error}"
            places[record[0], message.partition(), message.offset()] = record  # type: ignore[attr-defined]

        producer.produce(settings.topic(topic), key=key, value=value, on_delivery=delivered)
        if i % 500 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return places


def wait_for(holds: Callable[[], bool], worker: WorkerProcess, what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s\n{worker.log()}"
        time.sleep(0.2)


def snapshots(kafka: KafkaBench, settings: KafkaSettings) -> list[PartitionJoin]:
    """The newest state of each partition, as the next owner would find it."""
    topic = settings.topic("paritygate-join-state-changelog")
    data: dict[bytes, bytes] = {}
    partitions: set[int] = set()
    for record in kafka.read(topic):
        partitions.add(record.partition)
        assert record.key is not None
        if record.value is None:
            data.pop(record.key, None)
        else:
            data[record.key] = record.value
    table = SimpleNamespace(data=data, changelog_topic=SimpleNamespace(get_topic_name=lambda: topic))
    store = TableStore(table, outbox=None)  # type: ignore[arg-type]  # nothing is written here
    newest = [found for partition in sorted(partitions) if (found := store.newest(partition))]
    return [PartitionJoin.restore(bytes(cramjam.zstd.decompress(state))) for _, state in newest]


@pytest.fixture(scope="module")
def story(broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Good and bad records mixed; kill -9 before anything is checkpointed, and once more after it."""
    kafka = KafkaBench(broker, "bad-input")
    settings = kafka.settings()
    kafka.create_topics(settings)
    plans = [plan_for("bad"), plan_for("future")]
    starts = [
        Command(kind=CommandKind.START, rollout_id=p.rollout, actor="t", issued_at_ms=1, plan=p.to_plain())
        for p in plans
    ]
    kafka.produce(settings.topic(ROLLOUTS.name), [(c.rollout_id, c.to_bytes()) for c in starts])
    folder = tmp_path_factory.mktemp("worker")
    worker = WorkerProcess(settings, folder, checkpoint_ms="600000").start()
    try:
        worker.wait_owning()
        yield tell(kafka, settings, plans[0], worker, folder)
    finally:
        worker.kill()
        kafka.close()


def tell(
    kafka: KafkaBench, settings: KafkaSettings, plan: RolloutPlan, worker: WorkerProcess, folder: Path
) -> Story:
    start_ms = now_ms() + 3_000
    traffic = make_traffic("bad", requests=REQUESTS, start_ms=start_ms, span_ms=2_000, seed=11)
    # Its candidate never comes, so it waits while it is contradicted: three conflicts and one duplicate.
    alone = prediction(start_ms, Role.PRIMARY, "contradicted")
    traffic.predictions += [alone, *(replace(alone, latency_ms=2.0 + n) for n in range(3)), alone]
    bad = bad_records(start_ms)
    mixed: list[Sent] = [(topic, key.encode(), value) for topic, key, value in traffic.records()]
    step = len(mixed) // len(bad)
    for i, record in enumerate(bad):
        mixed.insert(i * (step + 1), record)
    for n in range(10):
        for role in Role:
            topic = PREDICTIONS_PRIMARY if role is Role.PRIMARY else PREDICTIONS_SHADOW
            foreign = prediction(start_ms, role, f"foreign-{n}", "nobodys")
            ahead = prediction(now_ms() + FUTURE_MS, role, f"future-{n}", "future")
            mixed += [(topic.name, e.request_id.encode(), encode(e)) for e in (foreign, ahead)]
    places = send(settings, mixed)
    bad_ids = {id(record) for record in bad}
    story = Story(settings, plan, traffic, bad, {p: r for p, r in places.items() if id(r) in bad_ids})
    story.held = dict(Counter((topic, partition) for topic, partition, _ in places))

    def letters() -> dict[str, list[Record]]:
        return {t.name: kafka.read(settings.topic(dead_letter_topic(t).name)) for t in BULK}

    wait_for(lambda: sum(map(len, letters().values())) >= len(bad), worker, "the dead letters")
    worker.kill()
    worker = WorkerProcess(settings, folder, idle_after_ms="10000").start()
    worker.wait_owning()

    def settled() -> bool:
        story.reports = [decode_report(r.value) for r in kafka.read(settings.topic(WINDOWS.name))]
        found = [t.count("requests") + t.count("missing_baseline") for t in streamed(story.of("bad")).values()]
        return sum(found) >= REQUESTS + 1 and story.total("future", "future") >= 20

    group = settings.topic("paritygate")

    def checkpointed() -> bool:
        try:
            found = committed(settings, group)
        except RecoverableError:
            return False
        ends = {(topic, p): end for p, s in found.standings.items() for topic, (_, end) in s.ranges.items()}
        return {place: end for place, end in ends.items() if end} == story.held

    try:
        wait_for(settled, worker, "the windows")
        wait_for(checkpointed, worker, "a checkpoint that holds them")
        worker.kill()
        story.letters = letters()
        worker.start()
        wait_for(lambda: worker.log().count("owning partitions [0") >= 3, worker, "the third life")
        time.sleep(1.5)  # it reads again what it remembers
        assert worker.terminate() == 0
    finally:
        worker.kill()
    story.letters_later = {name: len(found) for name, found in letters().items()}
    story.log = worker.log()
    print(story.log)
    for join in snapshots(kafka, settings):
        story.bins.update(join.bins())
        story.counted |= {(t.name, join.partition): join.committed(t.name) for t in BULK}
    return story


@pytest.mark.parametrize("topic", BULK, ids=lambda t: t.name)
def test_each_bad_record_becomes_a_dead_letter(story: Story, topic: Topic) -> None:
    """The dead letter topic holds each bad record as it came, and where and why it failed."""
    found: dict[tuple[str, int, int], Record] = {}
    for letter in story.letters[topic.name]:
        about = {n: (v or b"").decode() for n, v in letter.headers.items()}
        place = (
            about["__dlq.errors.topic"],
            int(about["__dlq.errors.partition"]),
            int(about["__dlq.errors.offset"]),
        )
        found[place] = letter
        assert about["__dlq.errors.group"] == "paritygate"
        assert about["paritygate.error.kind"] in {"decode", "invalid"}
        assert 10 < len(about["__dlq.errors.message"]) < 200
    expected = {place: sent for place, sent in story.places.items() if place[0] == topic.name}

    assert found.keys() == expected.keys()
    assert len(story.letters[topic.name]) <= 2 * len(expected), "each is written once a life at most"
    for place, (_, key, value) in expected.items():
        letter = found[place]
        assert letter.key == key
        if key == b"huge":
            assert letter.headers["paritygate.error.value_bytes"] == str(len(value or b"")).encode()
            assert value is not None
            assert value.startswith(letter.value or b"-")
            assert len(letter.value or b"") == 512 * 1024
        else:
            assert letter.value == value, key


def test_good_records_around_bad_ones_are_exact(story: Story) -> None:
    """Every window is what a batch over the good records alone gives, after two kills."""
    traffic = story.traffic
    want = recompute(traffic.predictions, traffic.outcomes, traffic.platform, story.plan.join_settings())

    assert difference(streamed(story.of("bad")), want) == ""


def test_accounting_counts_each_bad_record_once(story: Story) -> None:
    """The dead letters of a life that left no checkpoint are written again, but not counted again."""
    assert story.bins["poison"] == len(story.bad)
    assert {name: len(found) for name, found in story.letters.items()} == story.letters_later, (
        "what a checkpoint holds is not buried again"
    )


def test_every_record_is_in_one_bin(story: Story) -> None:
    """The bins add up to the offsets counted, which are all that the topics hold."""
    assert story.counted == {place: story.held.get(place, 0) for place in story.counted}
    assert sum(story.bins.values()) == sum(story.held.values())
    assert story.bins["gap"] == story.bins["lost"] == story.bins["late"] == 0


def test_repeats_future_and_foreign_events_have_bins(story: Story) -> None:
    """Conflicts are told from duplicates; events of the future pair at the time they came; foreign ids count."""
    assert story.total("bad", "conflict") == 3
    assert story.bins["conflict"] == 3
    assert story.bins["foreign"] == 20
    assert story.total("future", "future") == 20
    pairs = sum(t.count("pairs") for t in streamed(story.of("future")).values())
    assert pairs == 10
    newest = max(r.window_start_ms for r in story.of("future") if r.cells)
    assert newest < now_ms() + FUTURE_MS - 60_000


def test_log_names_each_place_without_payload(story: Story) -> None:
    """Each line of the log starts with a time; bad records are told by topic, partition and offset."""
    lines = story.log.splitlines()
    assert all(line[:2] == "20" for line in lines), [line for line in lines if line[:2] != "20"][:3]
    assert "Traceback" not in story.log
    assert "hello" not in story.log
    for topic in BULK:
        assert f"{story.settings.topic(topic.name)}-" in story.log


def test_not_a_number_is_in_the_bytes() -> None:
    """The bad records are as bad as their names say: the bytes hold NaN."""
    event = replace(prediction(0, Role.PRIMARY, "nan"), latency_ms=float("nan"))
    assert struct.pack("<d", float("nan")) in bare(event)
