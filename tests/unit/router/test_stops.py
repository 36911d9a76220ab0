"""Kill switch and breaker: what a router does by itself, and who may undo it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.router.breaker import Breaker
from paritygate.router.kill_switch import FILE, VARIABLE, KillSwitch
from paritygate.router.last_known_good import LastKnownGood
from paritygate.router.state import RoutingState
from paritygate.router.watcher import DecisionWatcher, Source
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status
from tests.support.decisions import decision

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")
WAIT_S = 20.0

Start = Callable[..., DecisionWatcher]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A router without Kafka that knows from its disk that the candidate has half of the traffic."""
    made: list[DecisionWatcher] = []

    def begin(weight: int = 50, **options: object) -> DecisionWatcher:
        LastKnownGood(tmp_path, "r1").save(decision(weight))
        options = {"environ": {}, **options}
        made.append(DecisionWatcher(NOWHERE, "r1", "router-a", tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for watcher in made:
        watcher.close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.01)


def arms(watcher: DecisionWatcher) -> set[Arm]:
    return {watcher.choose(str(n)) for n in range(200)}


def answer(status: Status, arm: Arm = Arm.CANDIDATE) -> PredictionEvent:
    return PredictionEvent(
        request_id="q", rollout_id="r1", arm=arm, role=Role.SHADOW, model_version="v2",
        event_at_ms=1, latency_ms=1.0, status=status,
    )  # fmt: skip


def test_a_kill_needs_no_kafka_and_outlives_a_restart(start: Start) -> None:
    """In force when the call returns, and still there for the next process of the same router."""
    watcher = start()
    before = arms(watcher)
    watcher.kill("it talks nonsense")

    assert before == {Arm.BASELINE, Arm.CANDIDATE}
    assert arms(watcher) == {Arm.BASELINE}
    assert (watcher.source, watcher.weight, watcher.state.killed) == (Source.KILLED, 0, True)
    watcher.close()
    again = start()
    assert (again.source, again.weight) == (Source.KILLED, 0)
    until(lambda: "it talks nonsense" in again.warning)


def test_a_kill_takes_all_of_the_traffic_too(start: Start) -> None:
    """Unlike the end of a lease, it is a person's word: at 100 % it counts as a rollback does."""
    watcher = start(100)
    watcher.kill()

    assert arms(watcher) == {Arm.BASELINE}


def test_a_file_kills_and_its_removal_is_the_way_back(start: Start, tmp_path: Path) -> None:
    """Anyone who can write a file can stop the candidate; metric and callback tell of both ways."""
    heard: list[RoutingState] = []
    metrics = Metrics()
    watcher = start(on_change=heard.append, metrics=metrics)
    killed = "paritygate_router_killed", {"rollout": "r1", "router": "router-a"}
    (tmp_path / FILE).write_text("a bad feeling\nmore")
    until(lambda: len(heard) == 1)
    assert (*killed, 1.0) in metrics.values()
    assert "(a bad feeling)" in watcher.warning
    (tmp_path / FILE).unlink()
    until(lambda: len(heard) == 2)

    assert [(s.killed, s.weight) for s in heard] == [(True, 0), (False, 50)]
    assert (*killed, 0.0) in metrics.values()
    assert watcher.warning == ""


def test_revive_undoes_a_kill_but_not_the_environment(start: Start) -> None:
    """What an operator wrote into the deployment is not for the process to undo."""
    watcher = start()
    watcher.kill()
    watcher.revive()
    assert watcher.weight == 50
    watcher.close()
    watcher = start(environ={VARIABLE: "1"})
    watcher.revive()

    assert watcher.weight == 0
    until(lambda: f"take {VARIABLE}=1 away and restart" in watcher.warning)


@pytest.mark.parametrize(("said", "on"), [("", False), ("0", False), (" ", False), ("1", True), ("no", True)])
def test_only_nothing_and_0_leave_it_off(tmp_path: Path, said: str, on: bool) -> None:
    """A word that is not understood is the safe one."""
    assert KillSwitch(tmp_path, {VARIABLE: said}).on is on


def test_a_kill_counts_where_it_cannot_be_written(tmp_path: Path) -> None:
    """A full disk must not keep the candidate's traffic; it is said that a restart would forget it."""
    (tmp_path / "file").write_text("no folder")
    switch = KillSwitch(tmp_path / "file", {})

    assert "a restart would forget it" in switch.pull("now")
    switch.look()
    assert switch.on


def test_what_cannot_be_looked_at_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that went away for a moment gives no traffic back."""
    switch = KillSwitch(tmp_path, {})
    switch.pull("now")

    def denied(self: Path, **_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "stat", denied)
    switch.look()

    assert switch.on


def test_a_router_stops_a_candidate_that_it_sees_fail(start: Start) -> None:
    """Half of its newest answers are enough; the baseline's and those not asked for say nothing."""
    heard: list[RoutingState] = []
    watcher = start(on_change=heard.append)
    for _ in range(100):
        watcher.saw(answer(Status.ERROR, Arm.BASELINE))
        watcher.saw(answer(Status.SHED))
    assert watcher.weight == 50
    for status in [Status.OK] * 100 + [Status.ERROR, Status.TIMEOUT] * 5:
        assert watcher.weight == 50
        watcher.saw(answer(status))

    assert arms(watcher) == {Arm.BASELINE}
    assert (watcher.source, watcher.state.rolled_back) == (Source.BREAKER, False)
    until(lambda: [s.tripped for s in heard] == [True])
    assert "breaker is open" in watcher.warning


def test_the_breaker_leaves_all_of_the_traffic_alone_unless_told(start: Start) -> None:
    """At 100 % the baseline may be gone; who keeps it says so."""
    for at_100, weight in ((False, 100), (True, 0)):
        watcher = start(100, breaker=Breaker(at_100=at_100))
        for _ in range(20):
            watcher.saw(answer(Status.ERROR))
        assert watcher.weight == weight
        watcher.close()


def test_a_breaker_closes_by_good_answers_of_the_mirror_and_by_time() -> None:
    """Neither alone: time proves nothing, and twenty answers of one second are no recovery."""
    now_s = [0.0]
    breaker = Breaker(failures=2, of=3, least_open_s=30, clock=lambda: now_s[0])
    for failed in (True, True):
        breaker.saw(failed=failed)
    assert breaker.open
    now_s[0] = 1e6
    assert breaker.open
    now_s[0] = 29.0
    for _ in range(10):
        breaker.saw(failed=False)
    assert breaker.open
    breaker.saw(failed=True)
    now_s[0] = 31.0
    for _ in range(2):
        breaker.saw(failed=False)
        assert breaker.open
    breaker.saw(failed=False)

    assert not breaker.open


@given(st.lists(st.booleans(), max_size=200))
def test_a_breaker_opens_at_the_first_answer_that_fills_the_measure(answers: list[bool]) -> None:
    """Not before, not later, whatever came long ago."""
    breaker = Breaker(failures=3, of=5, clock=lambda: 0.0)
    expected = False
    for i, failed in enumerate(answers):
        breaker.saw(failed=failed)
        expected = expected or (failed and sum(answers[max(0, i - 4) : i + 1]) >= 3)
        assert breaker.open is expected


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"failures": 21}, {"least_open_s": -1.0}])
def test_a_breaker_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """At the place that made the mistake."""
    with pytest.raises(ConfigError, match="a breaker needs"):
        Breaker(**wrong)  # type: ignore[arg-type]
