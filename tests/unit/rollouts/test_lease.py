"""Live decisions carry a lease that runs from what the slowest partition has seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from paritygate.rollouts.fold import HOLD_EVERY_MS, Fold
from paritygate.rollouts.plan import LEASE_SECONDS, RENEWED_SECONDS, RolloutPlan
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PlanError
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import (
    ORIGIN_MS,
    PARTITIONS,
    WINDOW_MS,
    command,
    plain_plan,
    plan,
    report,
    windows,
)

LEASE_S = 60
YAML = """\
rollout: r-1
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ann@example.com
rollback_condition: any required gate fails
promotion_gates: {error_rate: {maximum: 0.01}}
"""
#: Stays in the first live stage.
LONG = [
    {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100},
    {"weight": 5, "minimum_seconds": 3600, "minimum_pairs": 100},
    {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
]


class Run:
    """A fold that started one rollout with a lease, and the windows that it was given."""

    def __init__(self, **changes: Any) -> None:
        self.fold = Fold()
        self.decisions = self.fold.apply_command(0, command("start", lease_seconds=LEASE_S, **changes))
        self._offset = 0

    def feed(self, *reports: WindowReport) -> list[GateDecision]:
        new = []
        for r in reports:
            new += self.fold.apply_report(self._offset, r)
            self._offset += 1
        self.decisions += new
        return new


def live(decisions: list[GateDecision]) -> list[GateDecision]:
    return [d for d in decisions if 0 < d.weight < 100]


def test_only_live_stages_below_100_have_a_lease() -> None:
    """Shadow exposes nobody, 100 % may have no way back, a rollback is for good."""
    run = Run()
    run.feed(*windows(0, 30, live=3))
    run.feed(*windows(30, 40, errors=50, live=3))

    assert {d.weight for d in run.decisions} == {0, 5, 50, 100}
    assert run.decisions[-1].action is Action.ROLLBACK
    for d in run.decisions:
        assert bool(d.lease_until_ms) == bool(d.lease_ms) == (0 < d.weight < 100)
        assert d.lease_until_ms <= d.at_ms + LEASE_S * 1000


def test_a_rollout_that_is_watched_never_loses_its_lease() -> None:
    """Whatever stage and reason: the next decision comes before half of the lease is over."""
    run = Run(stages=LONG)
    run.feed(*windows(0, 60, live=3))

    found = live(run.decisions)
    assert len(found) > 3
    for earlier, later in pairwise(found):
        assert later.at_ms - earlier.at_ms <= HOLD_EVERY_MS + WINDOW_MS
        assert later.lease_until_ms > earlier.lease_until_ms
        assert later.at_ms < earlier.lease_until_ms - LEASE_S * 500


@pytest.mark.parametrize("paused", [False, True])
def test_a_partition_that_nobody_watches_ends_the_lease(paused: bool) -> None:
    """The others' windows go on and decisions come; none of them is a longer lease, paused or not."""
    run = Run(stages=LONG)
    run.feed(*windows(0, 20, live=3))
    if paused:
        run.decisions += run.fold.apply_command(1, command("pause"))
    seen_ms = ORIGIN_MS + 20 * WINDOW_MS
    new = run.feed(*(report(w, 0, live=3) for w in range(20, 70)))

    assert len(live(new)) >= 3
    assert max(d.lease_until_ms for d in live(new)) == seen_ms + LEASE_S * 1000
    back = run.feed(report(70, 1, live=3), *windows(71, 90, live=3))
    assert live(back)[-1].lease_until_ms > seen_ms + LEASE_S * 1000 + 40 * WINDOW_MS


def test_no_traffic_is_not_unwatched() -> None:
    """Workers that see nothing say so: the lease goes on, until the rule of no data ends the exposure."""
    run = Run(stages=LONG, no_data_seconds=40)
    run.feed(*windows(0, 20, live=3))
    new = run.feed(*windows(20, 80, requests=0))

    assert [d.reason_code for d in new if d.action is Action.ROLLBACK] == ["no_data"]
    held = live(new)
    assert held[-1].lease_until_ms > held[0].lease_until_ms


def test_a_command_is_no_sign_of_life() -> None:
    """A pause comes from a person; it does not say that the workers live."""
    run = Run(stages=LONG)
    run.feed(*windows(0, 20, live=3))
    until_ms = run.decisions[-1].lease_until_ms
    (paused,) = run.fold.apply_command(1, command("pause"))

    assert paused.lease_until_ms - until_ms <= HOLD_EVERY_MS + WINDOW_MS
    assert paused.lease_until_ms == ORIGIN_MS + 20 * WINDOW_MS + LEASE_S * 1000


def test_a_file_has_a_lease_unless_it_says_0() -> None:
    """300 s, or what wide windows need; 0 means that routers keep the weight whatever happens."""
    wide = "join: {window_ms: 600000}\n"

    assert RolloutPlan.from_yaml(YAML).lease_seconds == LEASE_SECONDS
    assert RolloutPlan.from_yaml(YAML + wide).lease_seconds == 2 * (RENEWED_SECONDS + 600 + 3)
    assert RolloutPlan.from_yaml(YAML + "lease_seconds: 0\n").lease_seconds == 0
    with pytest.raises(PlanError, match=r"lease_seconds: must be at least 48 with these windows"):
        RolloutPlan.from_yaml(YAML + "lease_seconds: 47\n")
    assert RENEWED_SECONDS * 1000 > HOLD_EVERY_MS


def test_what_earlier_builds_recorded_keeps_its_bytes() -> None:
    """A start without a lease has the digest it had, and its decisions are the bytes they were."""
    without = plan()
    assert without.lease_seconds == 0
    assert "lease_seconds" not in without.to_plain()
    assert RolloutPlan.from_plain({**plain_plan(), "lease_seconds": LEASE_S}).digest() != without.digest()

    fold = Fold()
    decisions = fold.apply_command(0, command("start"))
    for offset, r in enumerate(windows(0, 30, live=3)):
        decisions += fold.apply_report(offset, r)
    assert {d.weight for d in decisions} == {0, 5, 50, 100}
    assert not any(b"lease" in d.to_bytes() for d in decisions)
    assert PARTITIONS == 2
