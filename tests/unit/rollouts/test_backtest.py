"""A backtest runs the whole machine on what was recorded, and says what the record cannot answer."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from paritygate.rollouts.backtest import Backtest, Backtested
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import ConfigError
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import ORIGIN_MS, plain_plan, plan

LOGS = logs_of(story())


def answer(policy: RolloutPlan, rollout: str = "r1", *, without: Sequence[int] = (), **more: Any) -> Backtested:
    test = Backtest(policy, rollout, LOGS.decisions, list(enumerate(LOGS.commands)), **more)
    for offset, report in enumerate(LOGS.reports):
        if offset not in without:
            test.apply_report(offset, report)
    return test.finish()


def digest(decisions: Sequence[GateDecision]) -> str:
    return hashlib.sha256(b"\n".join(d.to_bytes() for d in decisions)).hexdigest()


@pytest.mark.parametrize(("rollout", "service"), [("r1", "fraud"), ("s1", "search"), ("r2", "fraud")])
def test_the_policy_of_the_record_gives_the_record(rollout: str, service: str) -> None:
    """Pauses, rollbacks by hand and by gate, rollouts of other services between: byte for byte."""
    found = answer(plan(rollout=rollout, service=service), rollout)

    assert found.identical
    assert digest(found.decisions) == digest(LOGS.of(rollout))
    assert found.decided == found.recorded_decided
    assert (found.refused, found.unknowable) == ((), ())


def test_a_copy_under_another_name_is_the_same_policy() -> None:
    """Whose rollout it was is not the policy's to say: id, service and versions are those of the record."""
    policy = plan(rollout="copy", service="other", candidate={"version": "v9"})

    assert answer(policy).identical


def test_the_hash_seed_changes_nothing() -> None:
    """Another process with another hash seed derives the same bytes."""
    code = (
        "from tests.unit.rollouts.test_backtest import answer, digest, plan;"
        "print(digest(answer(plan(promotion_gates={'error_rate': {'maximum': 0.2}})).decisions))"
    )
    wanted = digest(answer(plan(promotion_gates={"error_rate": {"maximum": 0.2}})).decisions)
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(["src", "."])}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == wanted


def test_a_stricter_floor_stays_longer_and_says_where_the_weights_part() -> None:
    """The record was live where this policy is still in shadow: live counts are those of the record."""
    stages = plain_plan()["stages"]
    stages[0]["minimum_pairs"] = 600
    found = answer(plan(stages=stages))

    assert not found.identical
    assert found.decisions[1].reason_code == "floor_pairs"
    assert any("0 % where the record gave 5 %" in what for what in found.unknowable)
    assert found.decided is not None  # the operator's rollback stands in the log for every policy
    assert found.decided.reason_code == "operator_rollback"


def test_a_looser_gate_outlives_the_recorded_rollback_and_says_so() -> None:
    """The record ends where the candidate lost its users; what would have come then is not invented."""
    found = answer(plan(promotion_gates={"error_rate": {"maximum": 0.99}}), "s1")

    assert found.decided is None
    assert found.recorded_decided is not None
    assert found.recorded_decided.reason_code == "gate_failed"
    assert any("rolled back at decision" in what and "cannot be known" in what for what in found.unknowable)
    assert max(d.windows_next for d in found.decisions) <= LOGS.of("s1")[-1].windows_next


def test_rollbacks_of_the_same_version_are_false_alarms() -> None:
    """On A/A windows every rollback by a gate is counted, and the gate is named."""
    s1 = plan(rollout="s1", service="search")
    found = answer(s1, "s1", same=True)

    assert (found.false_alarms, found.failed_gates) == (1, ("error_rate",))
    assert answer(s1, "s1").false_alarms is None
    assert answer(plan(), "r1", same=True).false_alarms == 0


def test_time_to_decision_and_exposed_users_are_told() -> None:
    """Event time from the first window to the end, and the users that the end had exposed."""
    found = answer(plan())
    assert found.decided is not None
    assert found.began_ms is not None

    assert found.took_ms(found.decided) == found.decided.at_ms - found.began_ms
    assert found.took_ms(None) is None
    assert found.decided.exposed_requests == LOGS.of("r1")[-1].exposed_requests > 0


def test_since_leaves_out_what_lies_before() -> None:
    """Only windows that start then or later are taken, and the ladder begins there."""
    since_ms = ORIGIN_MS + 6_000
    found = answer(plan(), since_ms=since_ms)

    assert found.began_ms == since_ms
    assert not found.identical
    assert any("--since" in what for what in found.unknowable)


def test_windows_that_are_gone_are_counted() -> None:
    """Retention took some of its windows: the answer says how many records are missing."""
    found = answer(plan(), without=[4, 5])

    assert any(what.startswith("2 records of windows.v1") for what in found.unknowable)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("segments", {"segments": ["origin", "tier"]}),
        ("join.window_ms", {"join": {"window_ms": 2000}}),
        ("join.grace_ms", {"join": {"grace_ms": 1000}}),
        ("output", {"output": {"required": ["prediction"]}}),
        ("diff", {"diff": {"ignore": ["/trace_id"]}}),
        ("promotion_gates.latency_p95_ms.maximum_regression_percent",
         {"promotion_gates": {"latency_p95_ms": {"maximum_regression_percent": 30}}}),
        ("promotion_gates.error_rate.tolerate_bursts",
         {"promotion_gates": {"error_rate": {"maximum": 0.1, "tolerate_bursts": True}}}),
        ("promotion_gates.label_shift", {"promotion_gates": {"label_shift": {"maximum": 0.1}}}),
        ("promotion_gates.fallback_rate", {"promotion_gates": {"fallback_rate": {"maximum_delta": 0.1}}}),
    ],
)  # fmt: skip
def test_what_was_not_counted_is_refused_with_its_key(key: str, change: dict[str, Any]) -> None:
    """One line that names the key of the policy which asks for another count."""
    with pytest.raises(ConfigError) as error:
        answer(plan(**change))

    assert str(error.value).startswith(f"{key}: ")
    assert "\n" not in str(error.value)


def test_a_rollout_without_its_start_command_is_refused() -> None:
    """Without the plan that its windows were counted for nothing can be compared."""
    with pytest.raises(ConfigError, match="its start command is not in"):
        Backtest(plan(), "r1", LOGS.decisions, [])
