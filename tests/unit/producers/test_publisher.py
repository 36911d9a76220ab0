from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from paritygate.producers.ledger import Loss
from paritygate.producers.publisher import OUTPUT_TOO_LARGE, PredictionPublisher
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.codec import decode_outcome, decode_platform, decode_prediction
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import MAX_OUTPUT_BYTES, MAX_REQUEST_ID_BYTES, Arm, Role


def adds_up(publisher: PredictionPublisher, offered: int) -> bool:
    s = publisher.stats()
    ends = ("waiting", "in_flight", "delivered", "dropped_queue_full", "dropped_invalid", "dropped_closed")
    return s["offered"] == offered == sum(s[e] for e in ends) + s["failed_delivery"]  # type: ignore[literal-required]


def test_events_go_to_the_topic_of_their_role_keyed_by_request_id(make_publisher: Any, make: Any) -> None:
    """Role decides the topic, the request id is the key, the event's time is the record's time."""
    publisher, wire = make_publisher()
    shadow, primary = make.event(instance_id="pod-7"), make.event(role=Role.PRIMARY, arm=Arm.BASELINE)
    outcome, platform = make.outcome(), make.platform()

    assert publisher.publish(shadow)
    assert publisher.publish(primary)
    assert publisher.publish_outcome(outcome)
    assert publisher.publish_platform(platform)
    assert publisher.flush(5) == 0

    assert [(m.topic, m.key, m.timestamp) for m in wire.sent] == [
        ("t.predictions.shadow.v1", "r-1", shadow.event_at_ms),
        ("t.predictions.primary.v1", "r-1", primary.event_at_ms),
        ("t.outcomes.v1", "r-1", outcome.event_at_ms),
        ("t.platform.v1", "pod-1", platform.event_at_ms),
    ]
    assert decode_prediction(wire.sent[0].value) == shadow
    assert decode_prediction(wire.sent[1].value).instance_id == "pod-1"
    assert decode_outcome(wire.sent[2].value) == outcome
    assert decode_platform(wire.sent[3].value) == platform
    assert publisher.stats()["delivered"] == 4


def test_the_producer_is_idempotent_and_partitions_like_the_readers(make_publisher: Any) -> None:
    """murmur2, idempotence, all replicas and bounded queues reach librdkafka."""
    _, wire = make_publisher(max_queue=500, max_queue_bytes=1 << 20)

    wanted = {
        "partitioner": "murmur2_random", "enable.idempotence": True, "acks": "all",
        "queue.buffering.max.messages": 500, "queue.buffering.max.kbytes": 1024,
    }  # fmt: skip
    assert wire.config.items() >= wanted.items()


def test_a_full_queue_drops_and_counts(make_publisher: Any, make: Any, gate: Any) -> None:
    """With the thread held up, the queue takes its bound and no more, and no call waits."""
    drops: list[Loss] = []
    publisher, _ = make_publisher(max_queue=10, encode=gate, on_drop=drops.append)
    assert publisher.publish(make.event())
    assert gate.entered.wait(10)

    taken = [publisher.publish(make.event(arm=Arm.BASELINE)) for _ in range(25)]

    assert taken == [True] * 10 + [False] * 15
    assert drops == [Loss.QUEUE_FULL] * 15
    assert publisher.take_dropped(Arm.BASELINE) == 15
    assert publisher.take_dropped(Arm.CANDIDATE) == 0
    gate.opened.set()
    assert publisher.flush(5) == 0
    assert publisher.stats()["delivered"] == 11
    assert adds_up(publisher, 26)


def test_the_memory_of_the_queue_is_bounded(make_publisher: Any, make: Any, gate: Any) -> None:
    """Large outputs fill the queue by their bytes long before they fill it by their number."""
    publisher, _ = make_publisher(max_queue_bytes=200_000, encode=gate)
    publisher.publish(make.event())
    assert gate.entered.wait(10)

    taken = [publisher.publish(make.event(output="x" * 60_000)) for _ in range(6)]

    assert taken == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("output", "stubbed"),
    [
        ("x" * MAX_OUTPUT_BYTES, False),
        ("x" * (MAX_OUTPUT_BYTES + 1), True),
        ("é" * (MAX_OUTPUT_BYTES // 2), False),
        ("é" * (MAX_OUTPUT_BYTES // 2 + 1), True),
        ("x" * 1_000_000, True),
    ],
)
def test_a_large_output_becomes_a_counted_stub(make_publisher: Any, make: Any, output: str, stubbed: bool) -> None:
    """Over the limit in UTF-8 bytes the event still goes, without its output and saying why."""
    publisher, wire = make_publisher()

    assert publisher.publish(make.event(output=output))
    publisher.flush(5)

    got = decode_prediction(wire.sent[0].value)
    assert (got.output, got.error_type) == (("", OUTPUT_TOO_LARGE) if stubbed else (output, ""))
    assert publisher.stats()["output_too_large"] == int(stubbed)
    assert publisher.stats()["delivered"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": ""},
        {"request_id": "x" * (MAX_REQUEST_ID_BYTES + 1)},
        {"request_id": None},
        {"latency_ms": float("nan")},
        {"latency_ms": -1.0},
        {"event_at_ms": "soon"},
        {"segments": {"origin": 7}},
        {"segments": "EWR"},
        {"output": None},
        {"output": "\ud800"},
    ],
)
def test_a_broken_event_costs_only_itself(make_publisher: Any, make: Any, changes: dict[str, Any]) -> None:
    """An event that breaks the contract is counted as invalid; the next one goes."""
    publisher, wire = make_publisher()

    publisher.publish(make.event(**changes))
    publisher.publish(make.event(request_id="after"))

    assert publisher.flush(5) == 0
    assert [m.key for m in wire.sent] == ["after"]
    assert publisher.stats()["dropped_invalid"] == 1
    assert publisher.take_dropped(Arm.CANDIDATE) == 1
    assert adds_up(publisher, 2)


def test_foreign_objects_never_raise_into_the_request(make_publisher: Any) -> None:
    """Whatever is handed over, the call returns False and counts."""
    publisher, _ = make_publisher()

    assert not publisher.publish(None)
    assert not publisher.publish_outcome(object())
    assert not publisher.publish_platform("report")

    assert publisher.stats()["dropped_invalid"] == 3
    assert adds_up(publisher, 3)


def test_no_payload_gets_into_the_log(make_publisher: Any, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be encoded is reported without its content, and once, not per event."""

    def encode(record: object) -> bytes:
        raise ValueError(f"cannot write {record}")

    publisher, _ = make_publisher(encode=encode)
    for _ in range(5):
        publisher.publish(make.event(output="4111-1111-1111-1111"))
    publisher.flush(5)

    assert "ValueError" in caplog.text
    assert "4111" not in caplog.text
    assert caplog.text.count("cannot be encoded") == 1


def test_failed_deliveries_are_missing_evidence(make_publisher: Any, make: Any) -> None:
    """What the broker refuses is counted and owed to the next platform report."""
    publisher, wire = make_publisher()
    wire.error = "broker says no"

    publisher.publish(make.event())
    publisher.publish_outcome(make.outcome())
    publisher.flush(5)

    assert publisher.stats()["failed_delivery"] == 2
    assert publisher.take_dropped(Arm.CANDIDATE) == 1
    assert publisher.last_error == "broker says no"


def test_a_lost_platform_report_is_owed_again(make_publisher: Any, make: Any) -> None:
    """The dropped answers that a report carried come back when the report itself is lost."""
    publisher, wire = make_publisher()
    wire.error = "gone"

    publisher.publish_platform(make.platform(arm=Arm.BASELINE, dropped_events=7))
    publisher.flush(5)

    assert publisher.take_dropped(Arm.BASELINE) == 7


def test_librdkafkas_full_queue_is_waited_out(make_publisher: Any, make: Any) -> None:
    """BufferError is no loss: the thread serves delivery reports and tries again, each event once."""
    publisher, wire = make_publisher()
    wire.room = 3

    for i in range(20):
        publisher.publish(make.event(request_id=f"r-{i}"))

    assert publisher.flush(5) == 0
    assert [m.key for m in wire.sent] == [f"r-{i}" for i in range(20)]


def test_a_refusal_of_librdkafka_is_counted(make_publisher: Any, make: Any) -> None:
    """An oversize message is invalid, any other refusal a failed delivery."""
    publisher, wire = make_publisher()

    wire.raises = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    publisher.publish(make.event())
    publisher.flush(5)
    wire.raises = KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
    publisher.publish(make.event())
    publisher.flush(5)

    stats = publisher.stats()
    assert (stats["dropped_invalid"], stats["failed_delivery"]) == (1, 1)
    assert adds_up(publisher, 2)


def test_a_fatal_error_makes_a_new_producer(make_publisher: Any, make: Any) -> None:
    """An idempotent producer never recovers from a fatal error, so the sender replaces it and goes on."""
    publisher, first = make_publisher()
    fatal = KafkaError(KafkaError._FATAL, "fenced", fatal=True)

    first.config["error_cb"](fatal)
    first.raises = KafkaException(fatal)
    publisher.publish(make.event(request_id="a"))
    publisher.flush(5)
    while publisher.stats()["delivered"] == 0:
        publisher.publish(make.event(request_id="b"))
        publisher.flush(5)

    assert first.sent == []
    assert "fenced" in publisher.last_error


def test_close_sends_what_waits_and_is_idempotent(make_publisher: Any, make: Any) -> None:
    """Closing twice is closing once; what comes after is refused and counted."""
    publisher, wire = make_publisher()
    for _ in range(5):
        publisher.publish(make.event())

    publisher.close(5)
    publisher.close(5)

    assert len(wire.sent) == 5
    assert not publisher.publish(make.event())
    assert publisher.stats()["dropped_closed"] == 1
    assert adds_up(publisher, 6)


def test_close_gives_up_in_time(make_publisher: Any, make: Any) -> None:
    """What the broker has not acknowledged when the time is over is purged and counted."""
    publisher, wire = make_publisher()
    wire.holds, wire.room = True, 2
    for _ in range(5):
        publisher.publish(make.event())

    publisher.close(0.2)

    stats = publisher.stats()
    assert wire.purged == stats["failed_delivery"] == 2
    assert stats["dropped_closed"] == 3
    assert publisher.take_dropped(Arm.CANDIDATE) == 5
    assert adds_up(publisher, 5)


def test_the_context_manager_closes(make_publisher: Any, make: Any) -> None:
    """Leaving the block sends what waits."""
    publisher, wire = make_publisher()

    with publisher as same:
        same.publish(make.event())

    assert len(wire.sent) == 1
    assert not publisher.publish(make.event())


def test_many_threads_publish_at_once(make_publisher: Any, make: Any) -> None:
    """Nothing is lost or counted twice when request threads share a publisher."""
    publisher, wire = make_publisher()

    def publish(name: int) -> None:
        for i in range(200):
            publisher.publish(make.event(request_id=f"{name}-{i}"))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert publisher.flush(10) == 0
    assert len({m.key for m in wire.sent}) == len(wire.sent) == 800
    assert adds_up(publisher, 800)


def test_an_unreachable_broker_stops_no_request(make: Any) -> None:
    """On the real client: events fill the bounds, then drop; every call returns and every event is accounted."""
    publisher = PredictionPublisher(
        KafkaSettings(bootstrap="127.0.0.1:1"), instance_id="pod-1", max_queue=20, linger_ms=0
    )

    taken = sum(publisher.publish(make.event(request_id=f"r-{i}")) for i in range(200))
    open_events = publisher.flush(0.2)
    mid = publisher.stats()
    publisher.close(0.2)

    end = publisher.stats()
    assert taken + mid["dropped_queue_full"] == 200
    assert open_events == mid["waiting"] + mid["in_flight"] <= 2 * 20 + 1
    assert end["delivered"] == end["waiting"] == end["in_flight"] == 0
    assert publisher.take_dropped(Arm.CANDIDATE) == 200
    assert adds_up(publisher, 200)


def test_settings_that_librdkafka_refuses_are_a_config_error() -> None:
    """A typo is named at start, in one line."""
    with pytest.raises(ConfigError, match="refuses its settings"):
        PredictionPublisher(KafkaSettings(bootstrap="x"), instance_id="i", delivery_timeout_ms=-5)


def test_a_forked_child_starts_over(make_publisher: Any, make: Any) -> None:
    """Servers that fork after loading: the child sends its own events and owes none of its parent's."""
    publisher, wire = make_publisher()
    publisher.publish(make.event())
    publisher.flush(5)

    def in_child() -> bool:
        publisher.publish(make.event(request_id="child"))
        return bool(publisher.flush(5) == 0 and publisher.stats()["offered"] == 1)

    assert _forked(in_child)
    assert [m.key for m in wire.sent] == ["r-1"]
    assert publisher.publish(make.event(request_id="parent"))


def _forked(check: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
