"""Seeded faults in the candidate's serving path, one per scenario of the demo.

Law: a fault changes what the candidate really does (its answer, its work, whether it raises), never what is
measured or published about it; the same seed and order of calls give the same faults.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any

from paritygate.producers.call import Timer, current_role
from paritygate.producers.flights.data import carrier_tier
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.prediction import Role

Request = Mapping[str, Any]
Answer = dict[str, Any]
Predict = Callable[[Request], Answer]


@unique
class Scenario(StrEnum):
    """What is wrong with the candidate. ``SAME``: it is the baseline under another version name."""

    HEALTHY = "healthy"
    SAME = "same"
    SEGMENT = "segment"
    LATENCY = "latency"
    SCHEMA = "schema"
    CANARY_ONLY = "canary-only"


class FeatureStoreError(RuntimeError):
    """What a broken candidate raises in the demo."""


@dataclass(slots=True)
class SegmentFault:
    """For one carrier tier at one origin half of the answers are turned round and half fail."""

    predict: Predict
    origin: str = "EWR"
    tier: str = "low_cost"
    seed: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (a seeded demo)

    def __call__(self, request: Request) -> Answer:
        """The answer, or what becomes of it."""
        if request["origin"] != self.origin or carrier_tier(request["carrier"]) != self.tier:
            return self.predict(request)
        if self._random.random() < 0.5:
            raise FeatureStoreError(f"no features for {self.tier} carriers at {self.origin}")
        return turned_round(self.predict(request))


@dataclass(slots=True)
class LatencyFault:
    """Every call does real extra work, so that it takes ``factor`` times its own time.

    The candidate's own time is 0.92 of the baseline's: a factor of 1.42 makes its p95 30 % longer than the
    baseline's. ``timer`` must be the router's, or the work is not what is measured.
    """

    predict: Predict
    factor: float = 1.42
    timer: Timer = time.perf_counter

    def __call__(self, request: Request) -> Answer:
        """The answer, late."""
        started_s = self.timer()
        answer = self.predict(request)
        ends_s = started_s + (self.timer() - started_s) * self.factor
        while self.timer() < ends_s:
            pass
        return answer


@dataclass(slots=True)
class SchemaFault:
    """A share of the answers misses ``confidence`` or puts it outside 0..1 (one half each)."""

    predict: Predict
    ratio: float = 0.02
    seed: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (a seeded demo)

    def __call__(self, request: Request) -> Answer:
        """The answer, some with a wrong shape."""
        answer = self.predict(request)
        if self._random.random() >= self.ratio:
            return answer
        if self._random.random() < 0.5:
            return {name: value for name, value in answer.items() if name != "confidence"}
        return answer | {"confidence": answer["confidence"] * 100}  # percent, where a ratio is wanted


@dataclass(slots=True)
class LiveLoadFault:
    """Good as a shadow; once it carries live traffic, most of its live calls fail.

    ``weight`` tells the percent of live traffic in force, e.g. the router watcher's. The call learns its
    role from :data:`~paritygate.producers.call.current_role`.
    """

    predict: Predict
    weight: Callable[[], int]
    from_weight: int = 5
    ratio: float = 0.8
    seed: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (a seeded demo)

    def __call__(self, request: Request) -> Answer:
        """The answer, while nobody waits for it."""
        live = current_role.get() is Role.PRIMARY and self.weight() >= self.from_weight
        if live and self._random.random() < self.ratio:
            raise FeatureStoreError("connection pool exhausted")
        return self.predict(request)


def turned_round(answer: Answer) -> Answer:
    """The opposite answer, with the opposite certainty."""
    return answer | {
        "prediction": "on_time" if answer["prediction"] == "late" else "late",
        "confidence": round(1.0 - answer["confidence"], 6),
        "probability_late": round(1.0 - answer["probability_late"], 6),
    }


def renamed(predict: Predict, version: str) -> Predict:
    """The same model under another version name."""

    def answer_as(request: Request) -> Answer:
        answer = predict(request)
        answer["model_version"] = version  # in place: a copy would cost this arm time
        return answer

    return answer_as


def candidate_of(
    scenario: Scenario | str,
    *,
    baseline: Predict,
    candidate: Predict,
    candidate_version: str,
    weight: Callable[[], int] = lambda: 0,
    timer: Timer = time.perf_counter,
    seed: int = 0,
) -> Predict:
    """The candidate's function in a scenario.

    :raises ConfigError: no such scenario.
    """
    try:
        named = Scenario(scenario)
    except ValueError:
        raise ConfigError(f"no scenario is called {scenario!r}: choose {', '.join(Scenario)}") from None
    if named is Scenario.SAME:
        return renamed(baseline, candidate_version)
    faults: Mapping[Scenario, Callable[[], Predict]] = {
        Scenario.HEALTHY: lambda: candidate,
        Scenario.SEGMENT: lambda: SegmentFault(candidate, seed=seed),
        Scenario.LATENCY: lambda: LatencyFault(candidate, timer=timer),
        Scenario.SCHEMA: lambda: SchemaFault(candidate, seed=seed),
        Scenario.CANARY_ONLY: lambda: LiveLoadFault(candidate, weight, seed=seed),
    }
    return faults[named]()
