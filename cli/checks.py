"""What ``paritygate doctor`` looks at. Each check answers with a result, what it saw, and how to mend it.

Law: a check never raises because the thing it checks is broken: that is its answer. What cannot be told is
``skip`` with the reason, never ``ok``.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from paritygate.cli.finding import Check, Result
from paritygate.cli.kafka import ANSWER_S, end_offsets
from paritygate.cli.lag import committed, newest_records, worker_lag
from paritygate.cli.murmur2 import partition_of
from paritygate.cli.routers import router_check
from paritygate.cli.standing import bin_check, join_check
from paritygate.cli.topics import IS_MISSING, check_topics
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ParityGateError
from paritygate.schemas.topics import BULK, DECISIONS, PREDICTIONS_PRIMARY, ROUTER_ACKS, TOPICS, WINDOWS

#: Events without a window report for so long mean that nobody joins them.
SILENT_AFTER_S = 30.0
_SAMPLE_KEYS = 100
MISSING = "topics are missing"
RESTS_ON_TOPICS = ("keys", "worker", "join", "bins", "freshness", "routers")
#: Of the newest acknowledgements so many are looked at.
_ACKS = 1000


def all_checks(settings: KafkaSettings) -> Iterator[Check]:
    """Every check in the order of what rests on what; after a broker that does not answer the rest is skipped."""
    yield check_partitioner()
    try:
        reachable = check_broker(settings)
    except ParityGateError as e:
        yield Check("broker", Result.FAIL, str(e))
        for name in ("topics", *RESTS_ON_TOPICS):
            yield Check(name, Result.SKIP, "no broker answers")
        return
    yield reachable
    found = list(topic_checks(settings))
    yield from found
    if any(MISSING in c.detail for c in found):
        for name in RESTS_ON_TOPICS:
            yield Check(name, Result.SKIP, MISSING)
        return
    for name, check in (
        ("keys", check_keys),
        ("worker", check_worker),
        ("join", check_join),
        ("bins", check_bins),
        ("freshness", check_freshness),
        ("routers", check_routers),
    ):
        try:
            yield check(settings)
        except ParityGateError as e:
            yield Check(name, Result.FAIL, str(e))


def check_partitioner() -> Check:
    """Do our producers put keys where Java, Faust and aiokafka would? Asked of librdkafka's own mock cluster."""
    from confluent_kafka import KafkaError, Message, Producer  # noqa: PLC0415

    placed: dict[bytes, int] = {}

    def delivered(error: KafkaError | None, message: Message) -> None:
        key, partition = message.key(), message.partition()
        if error is None and isinstance(key, bytes) and partition is not None:
            placed[key] = partition

    config = KafkaSettings(bootstrap="in.process:1").confluent_producer(
        **{"test.mock.num.brokers": 1, "linger.ms": 0}
    )
    producer = Producer(config)
    keys = [f"request-{n}-{'é' * (n % 5)}".encode() for n in range(_SAMPLE_KEYS)]
    for key in keys:
        producer.produce("probe", b"", key=key, on_delivery=delivered)
    producer.flush(ANSWER_S)
    if len(placed) < len(keys):
        return Check("partitioner", Result.SKIP, "librdkafka's mock cluster did not answer")
    count = len(producer.list_topics("probe", timeout=ANSWER_S).topics["probe"].partitions)
    right = sum(placed[key] == partition_of(key, count) for key in keys)
    detail = f"{right} of {len(keys)} keys where murmur2 puts them, as Java, Faust and aiokafka do"
    if right == len(keys):
        return Check("partitioner", Result.OK, detail)
    return Check("partitioner", Result.FAIL, detail, "reinstall confluent-kafka >= 2.16: pairs would be lost")


def check_broker(settings: KafkaSettings) -> Check:
    """Does the cluster answer, and how fast?

    :raises BrokerUnavailableError: it does not.
    """
    from confluent_kafka import KafkaException, libversion  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    from paritygate.cli.kafka import unavailable  # noqa: PLC0415

    began = time.monotonic()
    try:
        metadata = AdminClient(settings.confluent()).list_topics(timeout=ANSWER_S)
    except KafkaException as e:
        unavailable(settings, e)
    took_ms = (time.monotonic() - began) * 1000
    return Check(
        "broker",
        Result.OK,
        f"{settings.bootstrap} answers in {took_ms:.0f} ms: cluster {metadata.cluster_id}, "
        f"{len(metadata.brokers)} broker(s), librdkafka {libversion()[0]}",
    )


def topic_checks(settings: KafkaSettings) -> Iterator[Check]:
    """One check per topic that is not as the table says, or one for all."""
    differences = check_topics(settings)
    missing = [d for d in differences if d.what == IS_MISSING]
    if missing:
        names = ", ".join(d.topic for d in missing)
        yield Check("topics", Result.FAIL, f"{len(missing)} of {len(TOPICS)} {MISSING}: {names}", missing[0].mend)
    for d in (d for d in differences if d not in missing):
        yield Check("topics", Result(d.severity), f"{d.topic} {d.what}", d.mend)
    if not differences:
        count = len(end_offsets(settings, settings.topic(BULK[0].name)))
        yield Check(
            "topics", Result.OK, f"all {len(TOPICS)} are there; the joined ones have {count} partitions each"
        )


def check_keys(settings: KafkaSettings) -> Check:
    """Do the newest events lie where their keys belong? Finds producers of others with another partitioner."""
    wrong: Counter[str] = Counter()
    seen = 0
    for topic in BULK[:3]:
        name = settings.topic(topic.name)
        count = len(end_offsets(settings, name))
        for record in newest_records(settings, name, 50):
            if record.key is not None:
                seen += 1
                wrong[name] += partition_of(record.key, count) != record.partition
    if not seen:
        return Check("keys", Result.SKIP, "no events yet")
    if not wrong.total():
        return Check("keys", Result.OK, f"the newest {seen} events lie on the partitions of their keys")
    listed = ", ".join(f"{n} in {name}" for name, n in wrong.items() if n)
    return Check(
        "keys",
        Result.FAIL,
        f"{wrong.total()} of the newest {seen} events lie where they never meet their pair ({listed})",
        "set partitioner=murmur2_random on librdkafka producers (Go, .NET, PHP, node-rdkafka, kcat)",
    )


def check_worker(settings: KafkaSettings) -> Check:
    """Is there a worker, and how far behind the logs are the positions it committed?"""
    from confluent_kafka import ConsumerGroupState, KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    group = worker_group(settings)
    admin = AdminClient(settings.confluent())  # must outlive its futures
    try:
        found = admin.describe_consumer_groups([group], request_timeout=ANSWER_S)[group].result()
    except KafkaException as e:
        return Check("worker", Result.SKIP, f"group {group} cannot be described: {e.args[0].str()}")
    members = len(found.members)
    lag = worker_lag(settings, committed(settings, group).positions)
    behind = "" if lag is None else f"; its lag is {lag:,} events"
    if members and found.state == ConsumerGroupState.STABLE:
        return Check("worker", Result.OK, f"group {group} is stable with {members} member(s){behind}")
    state = "has no member" if not members else f"is {found.state.name.lower().replace('_', ' ')}"
    return Check("worker", Result.WARN, f"group {group} {state}{behind}", "'paritygate worker' starts one")


def worker_group(settings: KafkaSettings) -> str:
    """The consumer group of the workers on this cluster."""
    return settings.topic(os.environ.get("PARITYGATE_WORKER_APP_ID", "paritygate"))


def check_join(settings: KafkaSettings) -> Check:
    """How far is the join in event time, what waits, and where do the worker's seconds go?"""
    return join_check(committed(settings, worker_group(settings)).standings, time.time_ns() // 1_000_000)


def check_bins(settings: KafkaSettings) -> Check:
    """Did every record end in exactly one bin?"""
    found = committed(settings, worker_group(settings))
    return bin_check(found.standings, found.positions)


def check_freshness(settings: KafkaSettings) -> Check:
    """Do windows keep up with events? Only a rollout that runs needs them to."""
    from paritygate.cli.follow import is_over, newest_decisions  # noqa: PLC0415

    now_s = time.time()

    def age_s(name: str) -> float | None:
        stamps = [r.timestamp_ms for r in newest_records(settings, settings.topic(name), 1)]
        return now_s - max(stamps) / 1000 if stamps else None

    ages = {name: age_s(name) for name in (PREDICTIONS_PRIMARY.name, WINDOWS.name, DECISIONS.name)}
    detail = ", ".join(f"{name} {'empty' if age is None else f'{age:.0f} s old'}" for name, age in ages.items())
    running = [d.rollout_id for d in newest_decisions(settings).values() if not is_over(d)]
    events, windows = ages[PREDICTIONS_PRIMARY.name], ages[WINDOWS.name]
    if events is None or not running:
        why = "no events yet" if events is None else "no rollout runs"
        return Check("freshness", Result.SKIP, f"{why} ({detail})")
    if windows is None or windows - events > SILENT_AFTER_S:
        return Check(
            "freshness",
            Result.FAIL,
            f"events come but no window report ({detail}) while {', '.join(running)} runs",
            "look at the worker's log; 'paritygate worker' starts one",
        )
    return Check("freshness", Result.OK, detail)


def check_routers(settings: KafkaSettings) -> Check:
    """Do the routers obey, and did one refuse what it read?"""
    from paritygate.cli.follow import is_over, newest_decisions  # noqa: PLC0415
    from paritygate.schemas.ack import RouterAck  # noqa: PLC0415

    acks = []
    for record in newest_records(settings, settings.topic(ROUTER_ACKS.name), _ACKS):
        with suppress(ParityGateError):
            acks.append(RouterAck.from_bytes(record.value or b""))
    return router_check(acks, {d.rollout_id for d in newest_decisions(settings).values() if not is_over(d)})
