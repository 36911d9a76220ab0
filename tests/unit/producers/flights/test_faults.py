from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paritygate.producers.call import current_role
from paritygate.producers.flights.faults import (
    Answer,
    FeatureStoreError,
    LatencyFault,
    LiveLoadFault,
    Predict,
    Request,
    Scenario,
    SchemaFault,
    SegmentFault,
    candidate_of,
    turned_round,
)
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Role

HIT = {"origin": "EWR", "carrier": "B6"}
GOOD = {"prediction": "late", "confidence": 0.75, "model_version": "v2", "probability_late": 0.75}


def good(_request: Request) -> Answer:
    return dict(GOOD)


def ends(predict: Predict, request: Request, calls: int) -> list[Answer | None]:
    """Answers of some calls; None where one failed."""
    found: list[Answer | None] = []
    for _ in range(calls):
        try:
            found.append(predict(request))
        except FeatureStoreError:
            found.append(None)
    return found


@pytest.mark.parametrize(
    "request_",
    [{"origin": "JFK", "carrier": "B6"}, {"origin": "EWR", "carrier": "UA"}, {"origin": "EWR", "carrier": "EV"}],
)
def test_the_segment_fault_leaves_other_segments_alone(request_: dict[str, str]) -> None:
    """Neither the tier at another origin nor another tier at the origin is touched."""
    assert ends(SegmentFault(good), request_, 50) == [GOOD] * 50


def test_the_segment_fault_turns_half_and_fails_half() -> None:
    """Every answer of the segment is wrong, in one way or the other."""
    found = ends(SegmentFault(good, seed=1), HIT, 400)

    assert all(a is None or a == turned_round(GOOD) for a in found)
    assert 150 < found.count(None) < 250


def test_turning_round_is_its_own_inverse() -> None:
    """Label, confidence and probability change together."""
    assert turned_round(GOOD) == {
        "prediction": "on_time", "confidence": 0.25, "model_version": "v2", "probability_late": 0.25,
    }  # fmt: skip
    assert turned_round(turned_round(GOOD)) == GOOD


def test_the_latency_fault_takes_a_multiple_of_its_own_time() -> None:
    """On a clock that only work moves, the call ends at the first tick past the factor."""
    clock = {"ms": 0}

    def timer() -> float:
        clock["ms"] += 1
        return clock["ms"] / 1000

    def predict(request: Request) -> Answer:
        clock["ms"] += 100
        return good(request)

    started = clock["ms"]
    assert LatencyFault(predict, factor=1.5, timer=timer)({}) == GOOD
    assert 150 <= clock["ms"] - started <= 155


def test_the_schema_fault_breaks_a_small_share() -> None:
    """About the ratio of the answers misses the confidence or has it in percent; the rest is untouched."""
    found = ends(SchemaFault(good, ratio=0.02, seed=2), HIT, 10_000)
    missing = [a for a in found if a is not None and "confidence" not in a]
    outside = [a for a in found if a is not None and a.get("confidence", 0) > 1]

    assert 60 < len(missing) < 140
    assert 60 < len(outside) < 140
    assert found.count(GOOD) == 10_000 - len(missing) - len(outside)


@pytest.mark.parametrize(
    ("role", "weight", "fails"),
    [(Role.SHADOW, 50, False), (Role.PRIMARY, 4, False), (None, 50, False), (Role.PRIMARY, 5, True)],
)
def test_the_live_load_fault_needs_live_load(role: Role | None, weight: int, fails: bool) -> None:
    """In shadow, and below the weight, nothing shows; from it on most live calls fail."""
    fault = LiveLoadFault(good, lambda: weight, seed=3)
    token = current_role.set(role)
    try:
        failed = ends(fault, HIT, 200).count(None)
    finally:
        current_role.reset(token)

    assert failed > 120 if fails else failed == 0


@pytest.mark.parametrize("make", [lambda: SegmentFault(good, seed=7), lambda: SchemaFault(good, ratio=0.3, seed=7)])
def test_the_same_seed_gives_the_same_faults(make: Callable[[], Predict]) -> None:
    """A scenario can be run again."""
    assert ends(make(), HIT, 200) == ends(make(), HIT, 200)


@pytest.mark.parametrize("scenario", list(Scenario))
def test_every_scenario_has_a_candidate(scenario: Scenario) -> None:
    """Outside its fault each of them answers like the model it wraps."""
    predict = candidate_of(scenario, baseline=good, candidate=good, candidate_version="v9")

    answer: Any = predict({"origin": "LGA", "carrier": "UA"})

    assert answer | {"model_version": "v2"} == GOOD
    assert answer["model_version"] == ("v9" if scenario is Scenario.SAME else "v2")


def test_an_unknown_scenario_is_named() -> None:
    """The error lists those that there are."""
    with pytest.raises(ConfigError, match="'canary': choose healthy, same, segment, latency, schema, canary-only"):
        candidate_of("canary", baseline=good, candidate=good, candidate_version="v2")
