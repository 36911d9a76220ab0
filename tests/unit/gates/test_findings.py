"""Findings: distinct causes, in order, with their shares of the loss, in words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Assessment
from paritygate.gates.findings import SegmentFinding
from paritygate.gates.verdict import VerdictKind

Build = Callable[..., Tally]
ORIGINS, TIERS = ("EWR", "JFK", "LGA"), ("low_cost", "major", "regional")


def planted(tally_of: Build, seed: int = 1) -> Tally:
    """1,000 requests a cell; 20 % fail for major at JFK, 14 % for every low_cost, 0.2 % in both arms elsewhere."""
    random = np.random.default_rng(seed)
    cells = {}
    for origin, tier in product(ORIGINS, TIERS):
        rate = 0.2 if (origin, tier) == ("JFK", "major") else 0.14 if tier == "low_cost" else 0.002
        worse, better = int(random.binomial(1000, rate)), int(random.binomial(1000, 0.002))
        cells[(origin, tier)] = {
            "requests": 1000, "pairs": 1000, "candidate_errors": worse, "baseline_errors": better,
            "candidate_only_errors": worse, "baseline_only_errors": better,
        }  # fmt: skip
    return tally_of(("origin", "carrier_tier"), cells)


def test_two_faulty_slices_are_named_in_order_with_their_shares(
    tally_of: Build, assess: Callable[..., Assessment]
) -> None:
    """The larger cause first, the other one second and without the requests of the first; nothing else."""
    found = assess("error_rate: {maximum: 0.01}", planted(tally_of))

    assert found.overall is VerdictKind.FAIL
    first, second, *others = found.segment_findings
    assert (first.segment, second.segment) == ("carrier_tier=low_cost", "carrier_tier=major & origin=JFK")
    assert others == []
    # 420 and 200 of about 620 that were lost.
    assert first.damage_ratio == pytest.approx(420 / 620, abs=0.06)
    assert second.damage_ratio == pytest.approx(200 / 620, abs=0.06)
    assert first.damage_ratio + second.damage_ratio <= 1.0 + 1e-9
    assert first.effect == pytest.approx(0.14, abs=0.02)
    assert second.effect == pytest.approx(0.20, abs=0.04)
    for finding in (first, second):
        assert finding.effect_low < finding.effect < finding.effect_high


def test_what_both_arms_suffer_explains_no_loss(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """The share is of what the candidate loses more than the baseline: a segment that is bad in both has none."""
    cells = {
        ("x",): {"requests": 2000, "pairs": 2000, "candidate_errors": 500, "baseline_errors": 500},
        ("y",): {
            "requests": 2000, "pairs": 2000, "candidate_errors": 100, "candidate_only_errors": 100,
        },
    }  # fmt: skip
    finding = assess("error_rate: {maximum: 0.01}", tally_of(("tier",), cells)).segment_findings[0]

    assert (finding.segment, finding.damage_ratio) == ("tier=y", 1.0)


def test_the_reason_says_it_in_words(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """Segment, effect in percentage points, bounds, and what it explains: in the verdict that decisions hold."""
    found = assess("error_rate: {maximum: 0.01}", planted(tally_of))
    verdict, first = found.verdicts[0], found.segment_findings[0]

    assert f"; worst segments: {first.words}; {found.segment_findings[1].words}" in verdict.reason
    assert verdict.numbers["segment_effect"] == first.effect
    assert verdict.numbers["segment_damage_ratio"] == first.damage_ratio


def test_the_words_of_a_finding() -> None:
    """As an operator reads them."""
    finding = SegmentFinding(
        segment="carrier_tier=low_cost & origin=JFK", measure="error_rate", effect=0.031, effect_low=0.012,
        effect_high=0.05, damage_ratio=0.64, bad=40, total=1000, log_e=9.0, score=7.0,
    )  # fmt: skip

    assert finding.words == "carrier_tier=low_cost & origin=JFK: +3.1 pp [1.2, 5], explains 64 % of the loss"


def test_changes_of_two_causes_are_told_apart(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """Changes have no arm: what a segment has more than as many requests elsewhere is what it explains."""
    cells = {
        (tier,): {"requests": 3000, "pairs": 3000, "output_changes": changed}
        for tier, changed in (("a", 1500), ("b", 60), ("c", 60))
    }
    finding = assess("output_change_rate: {maximum: 0.05}", tally_of(("tier",), cells)).segment_findings[0]

    assert finding.segment == "tier=a"
    assert finding.damage_ratio == pytest.approx((1500 - 60) / 1620, abs=1e-6)


def test_a_rollback_to_a_baseline_above_the_limit_says_so(
    tally_of: Build, assess: Callable[..., Assessment]
) -> None:
    """5 % against 2 % with a limit of 1 %: the candidate is worse, and what it goes back to is not well either."""
    counts = {
        "requests": 3000, "pairs": 3000, "candidate_errors": 150, "baseline_errors": 60,
        "candidate_only_errors": 110, "baseline_only_errors": 20,
    }  # fmt: skip
    verdict = assess("error_rate: {maximum: 0.01}", tally_of((), {(): counts})).verdicts[0]

    assert verdict.kind is VerdictKind.FAIL
    assert verdict.reason.endswith(
        "; 110 failed in the candidate alone, 20 in the baseline alone, 40 in both;"
        " target_unhealthy: the baseline is above 1 % itself (2 %)"
    )
    assert verdict.numbers["target_unhealthy"] == 1
