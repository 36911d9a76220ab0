"""The lease: a candidate has traffic only as long as somebody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.router.last_known_good import LastKnownGood
from paritygate.router.lease import NEVER, lease_end_s
from paritygate.router.state import RoutingState
from paritygate.router.watcher import DecisionWatcher, Source
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm
from tests.support import decisions

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")
HOUR_MS = 3_600_000


def decision(
    sequence: int = 4, weight: int = 50, until_ms: int = 0, lease_ms: int = 300_000, action: Action = Action.PROMOTE
) -> GateDecision:
    lease_ms = lease_ms if until_ms else 0
    return decisions.decision(weight, action, sequence=sequence, lease_ms=lease_ms, lease_until_ms=until_ms)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


Start = Callable[..., DecisionWatcher]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A router without Kafka that knows one decision from its disk."""
    made: list[DecisionWatcher] = []

    def begin(known: GateDecision, **options: object) -> DecisionWatcher:
        LastKnownGood(tmp_path, "r1").save(known)
        made.append(DecisionWatcher(NOWHERE, "r1", "router-a", tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for watcher in made:
        watcher.close()


@given(st.integers(1, 10**13), st.integers(1, 10**9), st.integers(0, 10**13))
def test_no_clock_makes_a_lease_longer(until_ms: int, lease_ms: int, wall_ms: int) -> None:
    """It ends at its instant, and lasts no longer than its length from here, however wrong the wall clock is."""
    end_s = lease_end_s(decision(until_ms=until_ms, lease_ms=lease_ms), wall_ms=wall_ms, monotonic_s=0.0)

    assert end_s <= lease_ms / 1000
    assert end_s <= (until_ms - wall_ms) / 1000
    assert end_s in (lease_ms / 1000, (until_ms - wall_ms) / 1000)


def test_a_decision_without_a_lease_holds() -> None:
    """Earlier builds, the shadow and 100 % have none: what they say holds until something else is said."""
    assert lease_end_s(decision(), wall_ms=10**15, monotonic_s=0.0) == NEVER
    assert lease_end_s(None, wall_ms=10**15, monotonic_s=0.0) == NEVER


def test_a_restart_without_kafka_goes_on_while_the_lease_lasts(start: Start) -> None:
    """boot_lkg: the decision on disk counts, as long as it would have counted without the restart."""
    watcher = start(decision(until_ms=now_ms() + 60_000))

    assert (watcher.source, watcher.weight, watcher.state.lapsed) == (Source.BOOT_LKG, 50, False)


def test_a_restart_without_kafka_after_the_lease_is_stable(start: Start) -> None:
    """unsupervised: nobody has watched for too long, so the baseline answers everything."""
    metrics = Metrics()
    watcher = start(decision(until_ms=now_ms() - 1), metrics=metrics)

    assert (watcher.source, watcher.weight, watcher.state.weight) == (Source.UNSUPERVISED, 0, 0)
    assert watcher.state.lapsed
    assert {watcher.choose(str(n)) for n in range(200)} == {Arm.BASELINE}
    assert ("paritygate_router_weight_ratio", {"rollout": "r1", "router": "router-a"}, 0.0) in metrics.values()


def test_at_100_percent_the_weight_stays(start: Start) -> None:
    """The version that serves all is not taken away because the control plane is: there may be nothing else."""
    assert start(decision(weight=100)).weight == 100


def test_the_end_is_seen_by_the_request_itself(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the thread that follows does nothing any more."""
    monkeypatch.setattr(DecisionWatcher, "_run", lambda self: None)
    watcher = start(decision(until_ms=now_ms() + HOUR_MS, lease_ms=HOUR_MS))
    before = {watcher.choose(str(n)) for n in range(200)}
    there = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: there + HOUR_MS / 1000 + 1)
    after = {watcher.choose(str(n)) for n in range(200)}
    monkeypatch.undo()

    assert before == {Arm.BASELINE, Arm.CANDIDATE}
    assert after == {Arm.BASELINE}


def test_the_end_is_told_once(start: Start) -> None:
    """A router that pushes weights somewhere hears of it, with weight 0 and the reason."""
    heard: list[RoutingState] = []
    watcher = start(decision(until_ms=now_ms() + 100), on_change=heard.append)
    end = time.monotonic() + 20
    while not heard and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)

    assert [(state.weight, state.lapsed) for state in heard] == [(0, True)]
    assert "too old to be obeyed" in watcher.warning


def test_a_rollback_has_no_lease(start: Start) -> None:
    """Its weight is 0 with a lease or without one, and it stays."""
    watcher = start(decision(weight=0, until_ms=now_ms() + 50, action=Action.ROLLBACK))

    assert watcher.state.rolled_back
    assert watcher.weight == 0
