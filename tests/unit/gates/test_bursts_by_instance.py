"""Gates that tolerate bursts, where instances are known: who fails decides, not how many requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from paritygate.comparators.instances import PLACE, InstanceMinutes, no_counts
from paritygate.comparators.tally import COUNT_NAMES, INDEX, Counts, Tally
from paritygate.gates.verdict import Verdict, VerdictKind

ABSOLUTE = "error_rate: {maximum: 0.01, tolerate_bursts: true}"
RELATIVE = "error_rate: {maximum_regression_percent: 50, tolerate_bursts: true}"
EXCLUDING = "error_rate: {maximum: 0.01, tolerate_bursts: true, max_bursts_to_exclude_per_hour: 1}"
INVALID = "schema_validation_pass_rate: {minimum: 0.99, tolerate_bursts: true}"
FLEETS = [(1, 1), (4, 4), (19, 1)]
REQUESTS = 1000
HEALTHY = 3

Said = Callable[..., Verdict]


def fleet_minutes(count: int, baseline: int, candidate: int) -> Counts:
    """Minutes of 1,000 requests an arm, spread over its instances; three fail in the first one of each."""
    found = np.zeros((count, *no_counts().shape), np.int64)
    for arm, instances in enumerate((baseline, candidate)):
        for what in ("requests", "checked"):
            found[:, arm, PLACE[what], 1 : 1 + instances] = REQUESTS // instances
        for what in ("errors", "invalid"):
            found[:, arm, PLACE[what], 1] = HEALTHY
    return found


def struck(minutes: Counts, arm: int, at: slice | int, instances: slice | int, share: float) -> None:
    """That share of the requests of some instances fails in some minutes."""
    for bad, total in (("errors", "requests"), ("invalid", "checked")):
        minutes[at, arm, PLACE[bad], instances] = share * minutes[at, arm, PLACE[total], instances]


def overall(minutes: Counts) -> Counts:
    """The counts of the whole fleet that belong to counts by instance, none of them common to both arms."""
    total = np.zeros((len(minutes), len(COUNT_NAMES)), np.int64)
    for arm, name in enumerate(("baseline", "candidate")):
        sums = {what: minutes[:, arm, place].sum(axis=-1) for what, place in PLACE.items()}
        for what in ("errors", "checked", "invalid"):
            total[:, INDEX[f"{name}_{what}"]] = sums[what]
        for what in ("errors", "invalid"):
            total[:, INDEX[f"{name}_only_{what}"]] = sums[what]
        total[:, INDEX["requests"]] = total[:, INDEX["pairs"]] = sums["requests"]
    return total


@pytest.fixture(scope="module")
def said(first: Said) -> Said:
    """The verdict on counts by instance of closed minutes, all of them in the stage."""

    def judge(gate: str, minutes: Counts, **more: Any) -> Verdict:
        rows = overall(minutes)
        whole = Tally((), {(): rows.sum(axis=0)})
        known = InstanceMinutes(minutes, minutes[0], np.ones(len(minutes), np.bool_), 60_000)
        return first(gate, whole, minutes=rows, opening=rows[0], instances=known, **more)

    return judge


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("gate", [ABSOLUTE, RELATIVE, INVALID])
@pytest.mark.parametrize("at", [0, 1, 20])
def test_a_burst_of_one_instance_fails_nothing(said: Said, gate: str, fleet: tuple[int, int], at: int) -> None:
    """30 % of one instance's requests for one minute: the first of the rollout, the second, or a late one."""
    minutes = fleet_minutes(21, *fleet)
    struck(minutes, 1, at, 1, 0.3)
    for closed in (at + 1, 21):
        assert said(gate, minutes[:closed]).kind is not VerdictKind.FAIL


@pytest.mark.parametrize("gate", [ABSOLUTE, INVALID])
@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_a_late_fault_of_every_instance_fails_within_three_minutes(said: Said, gate: str, share: float) -> None:
    """Four instances of the candidate fail from the 21st minute on; after three minutes that is enough."""
    minutes = fleet_minutes(23, 4, 4)
    struck(minutes, 1, slice(20, None), slice(1, 5), share)

    assert said(gate, minutes[:20]).kind is not VerdictKind.FAIL
    assert said(gate, minutes).kind is VerdictKind.FAIL


@pytest.mark.parametrize(("fleet", "needed"), [((1, 1), 14), ((4, 4), 4), ((19, 1), 4)])
def test_a_relative_gate_sees_a_late_fault_after_minutes(said: Said, fleet: tuple[int, int], needed: int) -> None:
    """30 % from the 21st minute on, with nothing but the baseline to compare with."""
    minutes = fleet_minutes(20 + needed, *fleet)
    struck(minutes, 1, slice(20, None), slice(1, 1 + fleet[1]), 0.3)

    assert said(RELATIVE, minutes[:21]).kind is not VerdictKind.FAIL
    assert said(RELATIVE, minutes).kind is VerdictKind.FAIL


@pytest.mark.parametrize("gate", [ABSOLUTE, RELATIVE])
def test_a_fault_from_the_start_waits_for_no_minute(said: Said, first: Said, gate: str) -> None:
    """No minute has closed: the opening counts without its worst instance, or where more than half of all fails."""
    for fleet, share in (((4, 4), 0.05), ((1, 1), 0.9)):
        minutes = fleet_minutes(1, *fleet)
        struck(minutes, 1, 0, slice(1, 1 + fleet[1]), share)
        rows = overall(minutes)
        known = InstanceMinutes(minutes[:0], minutes[0], np.zeros(0, np.bool_), 60_000)
        whole = Tally((), {(): rows[0]})

        verdict = first(gate, whole, minutes=rows[:0], opening=rows[0], instances=known)
        assert (verdict.kind, verdict.reason_code) == (VerdictKind.FAIL, "breached")


@pytest.mark.parametrize("gate", [ABSOLUTE, RELATIVE])
def test_bursts_in_both_arms_alike_fail_nothing(said: Said, gate: str) -> None:
    """Every tenth minute one instance of each arm is struck, in other minutes; 3 % on the whole in both."""
    minutes = fleet_minutes(60, 4, 4)
    struck(minutes, 1, slice(2, None, 5), 2, 0.6)
    struck(minutes, 0, slice(4, None, 5), 3, 0.6)

    assert all(said(gate, minutes[:closed]).kind is not VerdictKind.FAIL for closed in range(1, 61))


def test_swapped_arms_mirror_the_verdict(said: Said) -> None:
    """The worse candidate fails; the same minutes with the arms exchanged fail nothing."""
    minutes = fleet_minutes(30, 4, 4)
    struck(minutes, 1, slice(10, None), slice(1, 5), 0.3)
    for gate in (ABSOLUTE, RELATIVE):
        assert said(gate, minutes).kind is VerdictKind.FAIL
        assert said(gate, minutes[:, ::-1]).kind is not VerdictKind.FAIL


def test_a_pass_says_that_bursts_are_not_excluded(said: Said) -> None:
    """It speaks of the rate outside of bursts."""
    verdict = said(ABSOLUTE, fleet_minutes(20, 4, 4))

    assert verdict.kind is VerdictKind.PASS
    assert "outside of bursts; bursts are not excluded" in verdict.reason


def test_a_pass_may_have_to_exclude_bursts(said: Said) -> None:
    """1 burst an hour takes 3.13 instance-hours without one: 47 minutes of four instances."""
    waits, passes = said(EXCLUDING, fleet_minutes(40, 4, 4)), said(EXCLUDING, fleet_minutes(48, 4, 4))
    minutes = fleet_minutes(48, 4, 4)
    struck(minutes, 1, 20, 2, 0.05)
    minutes[20, 1, PLACE["errors"], 2] = 60
    after_one = said(EXCLUDING, minutes)

    assert (waits.kind, waits.reason_code) == (VerdictKind.INCONCLUSIVE, "more_data")
    assert waits.numbers["more_hours_needed"] == pytest.approx(3.13 - 40 * 4 / 60, abs=0.02)
    assert passes.kind is VerdictKind.PASS
    assert "more than 1/h per instance are excluded" in passes.reason
    assert after_one.kind is VerdictKind.INCONCLUSIVE


def test_a_burst_of_three_minutes_is_one_burst(said: Said) -> None:
    """It is counted where it begins, and its minutes are no exposure."""
    minutes = fleet_minutes(200, 4, 4)
    minutes[50:53, 1, PLACE["errors"], 2] = 60
    verdict = said(EXCLUDING, minutes)

    assert verdict.numbers["bursts_candidate"] == 3
    assert verdict.numbers["instance_minutes_candidate"] == 800
    assert "1 burst in 13 instance-hours" in verdict.reason
