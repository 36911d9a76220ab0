"""Low stages last longer where the plan names a circumstance that asks for it, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.rollouts.explanation import explain
from paritygate.rollouts.fold import Fold
from paritygate.rollouts.more_time import CIRCUMSTANCES, LOW_PERCENT
from paritygate.rollouts.plan import RolloutPlan, plan_json_schema
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import Action, GateDecision
from paritygate.schemas.errors import PlanError
from tests.unit.rollouts.conftest import plain_plan, report

PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ann@example.com
rollback_condition: any required gate fails
promotion_gates: {error_rate: {maximum: 0.01}}
"""
SETS = st.lists(st.sampled_from(list(CIRCUMSTANCES)), unique=True)


def climb(**changes: Any) -> list[GateDecision]:
    """The decisions of a healthy rollout, a window of one second after the other."""
    fold, plain = Fold(hold_every_ms=1000), plain_plan(**changes)
    start = Command(kind=CommandKind.START, rollout_id="r1", actor="ann", issued_at_ms=1, plan=plain)
    made = fold.apply_command(0, start)
    for window in range(40):
        live = 30 if fold.states()["r1"].stage.weight else 0
        made += fold.apply_report(window, report(window, partitions=1, requests=120, live=live))
    return made


@settings(max_examples=40, derandomize=True, database=None)
@given(
    named=SETS,
    minimum=st.integers(0, 30 * 86_400),
    room=st.none() | st.integers(1, 1000),
    weights=st.sets(st.integers(1, 99), min_size=1, max_size=6),
)
def test_each_circumstance_adds_the_written_time_once(
    named: list[str], minimum: int, room: int | None, weights: set[int]
) -> None:
    """To every stage up to 10 %; what lies between minimum and maximum, pairs and weights stay."""
    stages = [
        {
            "weight": w, "minimum_seconds": minimum, "minimum_pairs": 7,
            "maximum_seconds": None if room is None else minimum + room,
        }
        for w in (0, *sorted(weights), 100)
    ]  # fmt: skip
    plan = RolloutPlan.from_plain(plain_plan(stages=stages, spend_more_time_when=named))

    for stage, written in zip(plan.ladder.stages, plan.written_stages, strict=True):
        times = 1 + len(named) if stage.weight <= LOW_PERCENT else 1
        assert stage.minimum_ms == times * written.minimum_ms == times * minimum * 1000
        assert (stage.maximum_ms is None) == (room is None)
        assert room is None or (stage.maximum_ms or 0) - stage.minimum_ms == room * 1000
        assert (stage.name, stage.weight, stage.minimum_pairs) == (written.name, written.weight, 7)


@settings(max_examples=20, derandomize=True, database=None)
@given(named=SETS)
def test_the_digest_is_that_of_the_circumstances(named: list[str]) -> None:
    """Their order means nothing; none at all is the plan of a build that knew none; a plan reads back as it is."""
    plan = RolloutPlan.from_plain(plain_plan(spend_more_time_when=named))
    without = RolloutPlan.from_plain(plain_plan())

    assert RolloutPlan.from_plain(plain_plan(spend_more_time_when=named[::-1])).digest() == plan.digest()
    assert (plan.digest() == without.digest()) == (not named)
    assert "spend_more_time_when" not in without.to_plain()
    assert RolloutPlan.from_plain(plan.to_plain()) == plan


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("[resource_heavi]", "8:24 spend_more_time_when.0: must be 'traffic_variable', 'resource_heavy' or"),
        ("[trust_or_money, trust_or_money]", '8:40 spend_more_time_when.1: "trust_or_money" stands twice'),
        ("trust_or_money", "8:23 spend_more_time_when: must be a list"),
    ],
)
def test_another_word_is_refused_at_its_place(line: str, error: str) -> None:
    """With the words that there are."""
    with pytest.raises(PlanError) as caught:
        RolloutPlan.from_yaml(f"{PLAN}spend_more_time_when: {line}\n", file="r.yaml")

    assert str(caught.value).startswith(f"r.yaml:{error}")


def test_editors_know_the_words() -> None:
    """The published schema lists them, each once, and says what they do."""
    found = plan_json_schema()["properties"]["spend_more_time_when"]

    assert found["items"]["enum"] == list(CIRCUMSTANCES)
    assert found["uniqueItems"] is True
    assert all(why in found["description"] for why in CIRCUMSTANCES.values())


def test_the_decider_keeps_to_the_longer_time() -> None:
    """The same evidence promotes a low stage later and a high one as soon; the reason and ``explain`` say why."""

    def stays(decisions: list[GateDecision]) -> dict[str, int]:
        entered = [d for d in decisions if d.action is Action.PROMOTE]
        return {b.from_stage: b.at_ms - a.at_ms for a, b in pairwise(entered)}

    usual, longer = climb(), climb(spend_more_time_when=["resource_heavy", "trust_or_money"])
    assert stays(usual)["5"] < 6_000 <= stays(longer)["5"]
    assert stays(usual)["50"] == stays(longer)["50"]

    held = next(d for d in longer if d.reason_code == "floor_time")
    plan = RolloutPlan.from_plain(plain_plan(spend_more_time_when=["resource_heavy", "trust_or_money"]))
    assert explain(held, longer, plan).plan_lines == {
        "stages.0.minimum_seconds": 2,
        "spend_more_time_when": ["resource_heavy", "trust_or_money"],
    }
    unnamed = next(d for d in usual if d.reason_code in {"floor_time", "proven"})
    assert "spend_more_time_when" not in explain(unnamed, usual, RolloutPlan.from_plain(plain_plan())).plan_lines
