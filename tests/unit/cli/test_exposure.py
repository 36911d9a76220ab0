from __future__ import annotations

import math

import pytest

from paritygate.cli.demo.exposure import ExposureClock
from paritygate.comparators.tally import INDEX, Tally, zero_counts
from paritygate.gates.assess import Evidence, assess_gates
from paritygate.gates.spec import parse_gates
from paritygate.gates.verdict import VerdictKind
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status


def event(status: Status = Status.OK, role: Role = Role.PRIMARY, arm: Arm = Arm.CANDIDATE) -> PredictionEvent:
    return PredictionEvent(
        request_id="r",
        rollout_id="x",
        arm=arm,
        role=role,
        event_at_ms=1,
        latency_ms=1.0,
        status=status,
        model_version="2",
    )


def gate_fails(live_bad: int, live: int) -> bool:
    """The real gate after a long faultless shadow stage, on its evidence since the rollout's start."""
    counts = zero_counts()
    named = {
        "requests": 5000 + live,
        "pairs": 5000 + live,
        "candidate_errors": live_bad,
        "candidate_only_errors": live_bad,
        "live_candidate": live,
        "live_candidate_errors": live_bad,
    }
    for name, count in named.items():
        counts[INDEX[name]] = count
    evidence = Evidence(whole=Tally((), cells={(): counts}), stage=Tally(()), stage_name="5", weight=5)
    gates = parse_gates({"error_rate": {"maximum": 0.01}})
    return assess_gates(gates, evidence).verdicts[0].kind is VerdictKind.FAIL


@pytest.mark.parametrize("good", [0, 20, 100, 400])
def test_decidable_means_that_the_real_gate_would_fail(good: int) -> None:
    """After any number of good live answers, the clock starts at the very failure at which the gate fails."""
    by_gate = next(bad for bad in range(1, 100) if gate_fails(bad, good + bad))

    clock = ExposureClock(limit=0.01)
    for now_ms in range(good):
        clock.saw(event(), now_ms)
    for bad in range(1, by_gate + 20):
        clock.saw(event(Status.ERROR if bad % 2 else Status.TIMEOUT), 1000 + bad)
    clock.rolled_back(2000)

    assert clock.latency_ms == 1000 - by_gate


def test_only_live_answers_of_the_candidate_count() -> None:
    """Shadow answers and the baseline's expose nobody, and make nothing decidable."""
    clock = ExposureClock(limit=0.01)
    for _ in range(50):
        clock.saw(event(Status.ERROR, role=Role.SHADOW), 1)
        clock.saw(event(Status.ERROR, arm=Arm.BASELINE), 1)
    clock.rolled_back(2)

    assert clock.latency_ms is None


def test_the_first_weight_0_stops_the_clock() -> None:
    """The time ends with the first rollback seen; what comes later changes nothing."""
    clock = ExposureClock(limit=0.01)
    for _ in range(10):
        clock.saw(event(Status.ERROR), 100)
    assert clock.latency_ms is None

    clock.rolled_back(350.04)
    clock.rolled_back(9000)
    assert math.isclose(clock.latency_ms or 0, 250.0)
