"""The forecast of a plan: which stages end, when, and what to change where they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paritygate.gates.truth import Truth
from paritygate.rollouts.forecast import Decidable, GateForecast, StageForecast, forecast, shown
from tests.unit.rollouts.conftest import plan


def stages(maximum_seconds: int | None = 3600, minimum_pairs: int = 1000) -> list[dict[str, Any]]:
    timed = {} if maximum_seconds is None else {"maximum_seconds": maximum_seconds}
    floors = {"minimum_seconds": 60, "minimum_pairs": minimum_pairs}
    return [{"weight": 0, **floors, **timed}, {"weight": 1, **floors, **timed}, {"weight": 100, **floors}]


def first(gate: dict[str, Any], rps: float = 200.0, truth: Truth | None = None, **of: Any) -> GateForecast:
    made = plan(
        promotion_gates={**gate, "label_change_rate": {"maximum": 0.1}},
        stages=stages(**of),
        prove_segments_above_ratio=1.0,
    )
    return forecast(made, rps, truth)[0].gates[0]


def whole(rps: float, **of: Any) -> tuple[StageForecast, ...]:
    return forecast(
        plan(
            promotion_gates={"error_rate": {"maximum": 0.01}}, stages=stages(**of), prove_segments_above_ratio=1.0
        ),
        rps,
    )


ERRORS = {"error_rate": {"maximum": 0.01}}
REVIEW = {"human_review_score": {"minimum_delta": -0.02}}
MEMORY = {"gpu_oom_events": {"maximum": 0, "max_rate_to_exclude_per_hour": 1}}


def test_pairs_come_at_the_same_rate_at_every_weight() -> None:
    """Every request is mirrored, so 1 % takes no longer than the shadow; live answers alone take 100 times."""
    shadow, canary = whole(200.0)

    assert [g.p90_ms for g in shadow.gates] == [g.p90_ms for g in canary.gates]
    assert shadow.gates[0].live_p90_ms is None
    live, pairs = canary.gates[0].live_p90_ms, canary.gates[0].p90_ms
    assert live is not None
    assert pairs is not None
    # Window and grace, 3 s, are in both.
    assert live - 3000 == pytest.approx(100 * (pairs - 3000), rel=0.01)


def test_a_stage_lasts_as_long_as_its_slowest_gate_and_its_floors() -> None:
    """minimum_seconds, minimum_pairs at the rate of pairs, then the gates; the last stage is left out."""
    by_time, by_pairs, by_gate = whole(200.0)[0], whole(200.0, minimum_pairs=100_000)[0], whole(2.0)[0]

    assert len(whole(200.0)) == 2
    assert by_time.p50_ms == by_time.floor_ms == 60_000
    assert by_pairs.p50_ms == by_pairs.floor_ms == 503_000
    assert by_gate.p90_ms == by_gate.gates[0].p90_ms
    assert not by_time.undecidable


def test_too_slow_is_told_from_never() -> None:
    """A stage that is too short, a limit that cannot be proven, and no end at all."""
    assert first(ERRORS).decidable is Decidable.DECIDABLE
    assert first(ERRORS, rps=0.1).decidable is Decidable.TOO_LATE
    assert first(ERRORS, rps=0.1, maximum_seconds=None).decidable is Decidable.DECIDABLE
    never = first({"error_rate": {"maximum": 0.003}})
    assert (never.decidable, never.p50_ms, never.p90_ms) == (Decidable.NEVER, None, None)


def test_advisory_gates_hold_nothing_up() -> None:
    """They are shown, and neither the stage's time nor its verdict waits for them."""
    gates = {**ERRORS, "human_review_score": {"minimum_delta": 0.5, "advisory": True}}
    shadow = forecast(plan(promotion_gates=gates, stages=stages()), 200.0)[0]

    assert shadow.gates[1].decidable is Decidable.NEVER
    assert not shadow.undecidable
    assert shadow.p90_ms == 60_000


@pytest.mark.parametrize(
    ("gate", "rps", "says"),
    [
        (
            ERRORS,
            0.5,
            ["a wider limit (maximum: 0.011)", "(maximum_seconds: 4500)", "more traffic (0.62 requests/s)"],
        ),
        ({"error_rate": {"maximum": 0.002}}, 200.0, ["needs a wider limit (maximum: 0.0034)"]),
        (REVIEW, 20.0, ["(minimum_delta: -0.037)", "(maximum_seconds: 11000)", "a paired sample of 3.1 % scored"]),
        (REVIEW, 0.1, ["more traffic (61 requests/s)"]),
        (MEMORY, 200.0, ["(maximum_seconds: 12000)", "4 instances or max_rate_to_exclude_per_hour: 3.2"]),
        ({"human_review_score": {"minimum_delta": 0.0}}, 200.0, ["needs a wider limit (minimum_delta: -0.012)"]),
        ({"latency_p95_ms": {"maximum": 90}}, 0.01, ["needs a longer stage", "more traffic"]),
    ],
)
def test_advice_says_what_to_change(gate: dict[str, Any], rps: float, says: list[str]) -> None:
    """A wider limit, a longer stage, more traffic, more scores, more instances: with numbers."""
    advice = first(gate, rps).advice

    assert [word for word in says if word not in advice] == [], advice


def test_a_limit_that_nothing_helps_is_said_to_be_the_assumptions() -> None:
    """Where the assumed candidate is beyond every limit there is no number to give."""
    found = first({"latency_p95_ms": {"maximum": 90}}, truth=replace(Truth(), latency_to_limit_ratio=1.2))

    assert found.advice == "the candidate assumed here does not keep the limit: change the limit or the assumption"


def test_following_the_advice_helps() -> None:
    """With the advised limit, length or traffic each gate is decidable."""
    rps, short = 0.5, first(ERRORS, 0.5)

    assert short.decidable is Decidable.TOO_LATE
    assert first({"error_rate": {"maximum": 0.011}}, rps).decidable is Decidable.DECIDABLE
    assert first(ERRORS, rps, maximum_seconds=4500).decidable is Decidable.DECIDABLE
    assert first(ERRORS, 0.62).decidable is Decidable.DECIDABLE


def test_late_scores_come_late() -> None:
    """The delay of the scores is added once."""
    now, later = first(REVIEW), first(REVIEW, truth=Truth(scored_delay_seconds=600.0))

    assert now.p50_ms is not None
    assert later.p50_ms == now.p50_ms + 600_000


def test_floors_that_outlast_their_stage_are_seen() -> None:
    """minimum_pairs that cannot come before maximum_seconds."""
    assert whole(1.0, minimum_pairs=10_000)[0].floor_too_late
    assert not whole(10.0, minimum_pairs=10_000)[0].floor_too_late
    assert shown(None) == "never"


def test_segments_that_are_to_be_proven_take_longer() -> None:
    """A gate on a rate needs its pairs in a segment with the declared share; latency asks all requests only."""

    def gates(ratio: float, segments: tuple[str, ...] = ("origin",)) -> tuple[GateForecast, ...]:
        made = plan(
            promotion_gates={**ERRORS, "latency_p95_ms": {"maximum_regression_percent": 10}},
            stages=stages(), prove_segments_above_ratio=ratio, segments=list(segments),
        )  # fmt: skip
        return forecast(made, 5.0)[1].gates

    (alone, p95), (inside, p95_inside) = gates(1.0), gates(0.1)
    assert p95 == p95_inside
    assert None not in (alone.p90_ms, inside.p90_ms, alone.live_p90_ms, inside.live_p90_ms)
    assert inside.need.p90 == pytest.approx(10 * (alone.need.p90 or 0.0), rel=0.1)
    assert inside.live_p90_ms == pytest.approx(10 * (alone.live_p90_ms or 0), rel=0.1)
    assert alone.decidable is Decidable.DECIDABLE
    assert inside.decidable is Decidable.SEGMENTS_TOO_LATE
    assert "a longer stage" in inside.advice
    assert gates(0.1, ())[0] == alone
