"""Gates on score differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from paritygate.comparators import scores
from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind

REVIEW = "human_review_score: {minimum_delta: -0.02}"
Judge = Callable[..., Verdict]


def scored(mean: float, total: int, measure: str = "human_review_score", seed: int = 1) -> Tally:
    tally = Tally(())
    deltas = np.random.default_rng(seed).normal(mean, 0.2, total)
    tally.histograms[f"scores.{measure}"] = np.bincount(scores.bucket(deltas), minlength=scores.BUCKETS)
    return tally


@pytest.mark.parametrize(
    ("mean", "total", "kind"),
    [
        (0.0, 4000, VerdictKind.PASS),
        (0.02, 900, VerdictKind.PASS),
        (-0.02, 4000, VerdictKind.INCONCLUSIVE),
        (-0.08, 900, VerdictKind.FAIL),
    ],
)
def test_a_mean_difference(first: Judge, mean: float, total: int, kind: VerdictKind) -> None:
    """Equal and better scores pass, clearly worse ones fail, the limit itself never ends."""
    found = first(REVIEW, scored(mean, total))

    assert found.kind is kind
    assert found.numbers["low"] < found.numbers["value"] < found.numbers["high"]  # type: ignore[operator]
    assert f"on {total:,} scored pairs" in found.reason


def test_scores_of_one_arm_are_no_data(first: Judge) -> None:
    """Requests that only one arm's answer was scored for are counted, and prove nothing."""
    tally = Tally((), totals={"outcome_single": 41})
    found = first(REVIEW, tally)

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "no_data")
    assert "41 requests had a score of one arm only" in found.reason


def test_scores_come_late(first: Judge) -> None:
    """A stage whose first score has not come is no data, though the rollout has many."""
    found = first(REVIEW, scored(0.0, 4000), Tally(()))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "no_data")


def test_any_other_measure_is_a_kpi(first: Judge) -> None:
    """A gate of another name reads its own scores, not the reviewers'."""
    gate = "clicked: {minimum_delta: -0.02}"

    assert first(gate, scored(0.0, 4000, "clicked")).kind is VerdictKind.PASS
    assert first(gate, scored(0.0, 4000)).reason_code == "no_data"


def test_few_scores_say_how_many_more(first: Judge) -> None:
    """The estimate counts scored pairs; the floor of 50 holds even where the proof is complete."""
    few = first(REVIEW, scored(0.02, 120))
    perfect = Tally(())
    perfect.histograms["scores.human_review_score"] = np.bincount([1800] * 30, minlength=scores.BUCKETS)

    assert few.numbers["more_needed"] > 0  # type: ignore[operator]
    assert first(REVIEW, perfect).numbers["more_needed"] == 20
