from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paritygate.router.breaker import Breaker
from paritygate.router.state import RoutingState
from paritygate.router.watcher import DecisionWatcher, Source
from paritygate.schemas.ack import Refusal, RouterAck
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from paritygate.schemas.signature import DECISION, Signer, TrustedKeys
from paritygate.schemas.topics import DECISIONS, ROUTER_ACKS
from tests.support.kafka import KafkaBench
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC

pytestmark = pytest.mark.broker
WAIT_S = 90.0


def decision(
    sequence: int,
    weight: int,
    action: Action = Action.PROMOTE,
    rollout_id: str = "r1",
    reason: str = "ok",
    *,
    lease_ms: int = 0,
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight),
        weight=weight,
        from_stage="shadow",
        reason_code="test",
        reason=reason,
        at_ms=sequence,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
        lease_ms=lease_ms,
        lease_until_ms=time.time_ns() // 1_000_000 + lease_ms if lease_ms else 0,
    )


def answer(status: Status) -> PredictionEvent:
    return PredictionEvent(
        request_id="q", rollout_id="r1", arm=Arm.CANDIDATE, role=Role.SHADOW, model_version="v2",
        event_at_ms=1, latency_ms=1.0, status=status,
    )  # fmt: skip


class Bench:
    """Decisions in, a watcher that obeys, acknowledgements out."""

    def __init__(self, kafka: KafkaBench, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder
        self.settings: KafkaSettings = kafka.settings("router")
        self.watchers: list[DecisionWatcher] = []

    def create(self) -> None:
        self.kafka.create_topics(self.settings, topics=(DECISIONS, ROUTER_ACKS))

    def decide(self, *decisions: GateDecision) -> None:
        records = [(d.rollout_id, d.to_bytes()) for d in decisions]
        self.kafka.produce(self.settings.topic(DECISIONS.name), records)

    def junk(self, value: bytes | None) -> None:
        self.kafka.produce(self.settings.topic(DECISIONS.name), [("r1", value)])

    def watch(
        self,
        on_change: Callable[[RoutingState], None] | None = None,
        metrics: Metrics | None = None,
        trusted_keys: TrustedKeys | None = None,
        breaker: Breaker | None = None,
    ) -> DecisionWatcher:
        watcher = DecisionWatcher(
            self.settings, "r1", "router-a", self.folder, on_change,
            metrics=metrics, trusted_keys=trusted_keys, breaker=breaker,
        )  # fmt: skip
        self.watchers.append(watcher)
        return watcher

    def acks(self, count: int) -> list[RouterAck]:
        records = self.kafka.read(self.settings.topic(ROUTER_ACKS.name), count=count)
        return [RouterAck.from_bytes(r.value or b"") for r in records]


@pytest.fixture
def bench(kafka: KafkaBench, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, tmp_path)
    yield bench
    for watcher in bench.watchers:
        watcher.close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.005)


def test_history_is_not_lived_through(bench: Bench) -> None:
    """A router that starts late shows the newest decision only, and says once which one it applied."""
    bench.create()
    bench.decide(*(decision(n, w) for n, w in enumerate((0, 1, 5, 25))))
    seen: list[int] = []
    watcher = bench.watch(lambda state: seen.append(state.weight))

    assert watcher.wait_ready(WAIT_S)
    assert watcher.source is Source.FOLLOWING
    assert (watcher.weight, watcher.state.sequence) == (25, 3)
    assert seen == [25]
    assert [(a.sequence, a.weight, a.router_id) for a in bench.acks(1)] == [(3, 25, "router-a")]


def test_decisions_are_obeyed_as_they_come(bench: Bench) -> None:
    """New decisions take effect and are acknowledged; stale, forked and foreign ones are only counted."""
    bench.create()
    watcher = bench.watch()
    assert watcher.wait_ready(WAIT_S)
    bench.decide(
        decision(2, 5),
        decision(1, 100),
        decision(2, 100, reason="another decider"),
        decision(9, 100, rollout_id="r2"),
        decision(3, 25),
    )
    until(lambda: watcher.state.sequence == 3)

    assert watcher.weight == 25
    assert watcher.state.ignored == {"stale": 1, "forked": 1, "other_rollout": 1}
    acks = [a for a in bench.acks(3) if a.sequence == 3 or a.refused is None]
    assert [(a.sequence, a.weight) for a in acks] == [(2, 5), (3, 25)]
    assert acks[-1].refused == Refusal(offset=2, reason="decision 2 is forked", count=2)


def test_rollback_is_absorbing_across_a_restart(bench: Bench) -> None:
    """After a rollback nothing raises the weight, also not for the next process of the same router."""
    bench.create()
    first = bench.watch()
    assert first.wait_ready(WAIT_S)
    bench.decide(decision(0, 50), decision(1, 0, Action.ROLLBACK))
    until(lambda: first.state.rolled_back)
    bench.decide(decision(2, 100))
    until(lambda: first.state.ignored.get("absorbed") == 1)
    first.close()

    second = bench.watch()
    assert second.state.rolled_back
    assert second.wait_ready(WAIT_S)
    assert second.weight == 0
    assert second.choose("any") is Arm.BASELINE


def test_broken_records_and_callbacks_stop_nothing(bench: Bench) -> None:
    """Junk on the topic, a tombstone and a raising callback are counted; the next decision is obeyed."""
    bench.create()

    def raises(_: RoutingState) -> None:
        raise RuntimeError("the service's mistake")

    metrics = Metrics()
    watcher = bench.watch(raises, metrics)
    assert watcher.wait_ready(WAIT_S)
    bench.junk(b"{not json")
    bench.junk(None)
    bench.decide(decision(0, 5))
    until(lambda: watcher.weight == 5)
    until(lambda: len(bench.acks(2)) == 2)
    assert [a.sequence for a in bench.acks(2)] == [-1, 0]
    watcher.close()

    errors = {x["kind"]: v for n, x, v in metrics.values() if n == "paritygate_router_errors_total"}
    assert errors == {"undecodable": 1, "callback": 1}


def test_topic_made_later_is_followed(bench: Bench) -> None:
    """A router that is there before its topic starts on weight 0 and follows once the topic is made."""
    watcher = bench.watch()
    assert not watcher.wait_ready(0.3)
    assert watcher.source is Source.BOOT_DEFAULT
    bench.create()
    bench.decide(decision(0, 5))

    assert watcher.wait_ready(150)
    until(lambda: watcher.weight == 5)


def test_control_topic_made_anew_freezes_the_router(bench: Bench) -> None:
    """Where the log ends before what the router knows, it stays on its last known good and warns."""
    bench.create()
    first = bench.watch()
    assert first.wait_ready(WAIT_S)
    bench.decide(decision(7, 25))
    until(lambda: first.weight == 25)
    first.close()
    bench.settings = bench.kafka.settings("anew")
    bench.create()
    bench.decide(decision(0, 0))

    second = bench.watch()
    assert second.wait_ready(WAIT_S)
    assert second.weight == 25
    assert "re-created" in second.warning


def test_only_signed_decisions_are_obeyed(bench: Bench) -> None:
    """Where keys are trusted, unsigned, changed and foreign decisions change nothing; a signed one does."""
    bench.create()
    topic, signer = bench.settings.topic(DECISIONS.name), Signer(PRIVATE, "key")

    def decide(sent: GateDecision, signed: GateDecision) -> None:
        headers: dict[str, bytes | str | None] = dict(signer.headers(DECISION, signed.to_bytes()))
        bench.kafka.produce(topic, [("r1", sent.to_bytes())], headers=headers)

    metrics = Metrics()
    watcher = bench.watch(metrics=metrics, trusted_keys=TrustedKeys(PUBLIC, "pub"))
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 100))
    decide(decision(1, 100), decision(1, 5))
    decide(decision(2, 5), decision(2, 5))
    until(lambda: watcher.weight == 5)
    bench.decide(decision(3, 0, Action.ROLLBACK))
    decide(decision(4, 25), decision(4, 25))
    until(lambda: watcher.weight == 25)

    assert watcher.state.ignored == {}
    assert f"{DECISIONS.name} offset 3 is refused: it is not signed" in watcher.warning
    errors = {x["kind"]: v for n, x, v in metrics.values() if n == "paritygate_router_errors_total"}
    assert errors == {"signature": 3}
    told = [a.refused for a in bench.acks(3)]
    assert told[-1] == Refusal(offset=3, reason="it is not signed", count=3)


def test_a_flood_of_refused_decisions_makes_no_flood_of_acknowledgements(bench: Bench) -> None:
    """The first is told at once, the rest together, those of other rollouts not at all; what is in force stays."""
    bench.create()
    watcher = bench.watch(trusted_keys=TrustedKeys(PUBLIC, "pub"))
    assert watcher.wait_ready(WAIT_S)
    bench.decide(*(decision(n, 100, rollout_id="r2") for n in range(5)))
    bench.decide(*(decision(n, 100) for n in range(500)))
    until(lambda: any(a.refused and a.refused.count == 500 for a in bench.acks(1)))

    acks = bench.acks(1)
    assert len(acks) <= 5
    assert {(a.sequence, a.weight, a.state) for a in acks} == {(-1, 0, "applied")}
    assert acks[-1].refused == Refusal(offset=504, reason="it is not signed", count=500)


def test_the_end_of_a_lease_is_local_and_no_rollback(bench: Bench) -> None:
    """Where no newer decision comes in time the weight is 0 (unsupervised), and acknowledged so; the next decision
    brings it back, and one that is too old when it comes does not."""
    bench.create()
    seen: list[tuple[int, bool]] = []
    watcher = bench.watch(lambda state: seen.append((state.weight, state.lapsed)))
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 25, lease_ms=60_000))
    until(lambda: seen == [(25, False)])
    watcher._stops.lease_end_s = 0.0  # a minute passes
    assert watcher.source is Source.UNSUPERVISED
    assert (watcher.weight, watcher.state.rolled_back) == (0, False)
    until(lambda: len(seen) == 2)
    bench.decide(decision(1, 25, Action.HOLD, lease_ms=60_000))
    until(lambda: watcher.weight == 25)
    until(lambda: len(seen) == 3)
    assert watcher.warning == ""
    bench.decide(decision(2, 50, lease_ms=60_000).model_copy(update={"lease_until_ms": 1}))
    until(lambda: watcher.state.sequence == 2)

    assert watcher.source is Source.UNSUPERVISED
    assert seen[:3] == [(25, False), (0, True), (25, False)]
    assert (50, False) not in seen
    acks = [(a.sequence, a.weight, a.state) for a in bench.acks(4)]
    assert acks[:4] == [(0, 25, "applied"), (0, 0, "lapsed"), (1, 25, "applied"), (2, 0, "lapsed")]


def test_a_kill_is_acknowledged_and_undone_only_by_hand(bench: Bench) -> None:
    """A newer decision changes nothing; the broker hears of the kill and of its end; then decisions count again."""
    bench.create()
    watcher = bench.watch()
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 25))
    until(lambda: watcher.weight == 25)
    watcher.kill("bad feeling")
    until(lambda: len(bench.acks(2)) == 2)
    bench.decide(decision(1, 50))
    until(lambda: watcher.state.sequence == 1)
    assert (watcher.source, watcher.weight) == (Source.KILLED, 0)
    until(lambda: len(bench.acks(3)) == 3)
    watcher.revive()

    until(lambda: watcher.weight == 50)
    said = [(a.sequence, a.weight, a.state) for a in bench.acks(4)]
    assert said == [(0, 25, "applied"), (0, 0, "killed"), (1, 0, "killed"), (1, 50, "applied")]


def test_an_open_breaker_is_acknowledged_and_closes_by_good_answers(bench: Bench) -> None:
    """The router stops by itself, before any decision, says so, and lets go when the mirror answers well."""
    bench.create()
    watcher = bench.watch(breaker=Breaker(failures=2, of=2, least_open_s=0))
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 25))
    until(lambda: watcher.weight == 25)
    for _ in range(2):
        watcher.saw(answer(Status.TIMEOUT))
    assert (watcher.source, watcher.weight) == (Source.BREAKER, 0)
    until(lambda: len(bench.acks(2)) == 2)
    for _ in range(2):
        watcher.saw(answer(Status.OK))

    said = [(a.sequence, a.weight, a.state) for a in bench.acks(3)]
    assert said == [(0, 25, "applied"), (0, 0, "breaker"), (0, 25, "applied")]
    assert watcher.source is Source.FOLLOWING


def test_a_kill_without_a_broker_is_heard_when_it_is_back(bench: Bench) -> None:
    """The weight is 0 at once; the topic says later that this router is off, though nothing was decided."""
    bench.create()
    watcher = bench.watch()
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 25))
    until(lambda: watcher.weight == 25)
    assert len(bench.acks(1)) == 1
    try:
        bench.kafka.broker.kill()
    except ConfigError as error:
        pytest.skip(f"not ours to break: {error}")
    try:
        watcher.kill()
        assert watcher.weight == 0
    finally:
        bench.kafka.broker.restart()

    assert [(a.weight, a.state) for a in bench.acks(2)][-1] == (0, "killed")


def test_lost_broker_leaves_the_weight(bench: Bench) -> None:
    """When the broker goes the weight stays (control_lost); when it is back the router follows again."""
    bench.create()
    watcher = bench.watch()
    assert watcher.wait_ready(WAIT_S)
    bench.decide(decision(0, 5))
    until(lambda: watcher.weight == 5)
    try:
        bench.kafka.broker.kill()
    except ConfigError as error:
        pytest.skip(f"not ours to break: {error}")
    try:
        until(lambda: watcher.source is Source.CONTROL_LOST)
        assert watcher.weight == 5
    finally:
        bench.kafka.broker.restart()
    bench.decide(decision(1, 25))

    until(lambda: watcher.weight == 25)
    until(lambda: watcher.source is Source.FOLLOWING)
