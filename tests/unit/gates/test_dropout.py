"""Losses that depend on the segment hold; losses that strike all alike, or hardly, do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paritygate.comparators.tally import Tally
from paritygate.gates.assess import Assessment
from paritygate.gates.dropout import NAME, assess_dropout
from paritygate.gates.evidence import Evidence, Sums
from paritygate.gates.verdict import Verdict, VerdictKind

Build = Callable[..., Tally]


def _judge(stage: Tally) -> Verdict | None:
    return assess_dropout(Sums(Evidence(whole=stage, stage=stage, stage_name="shadow", weight=0)), 0.05)


def test_a_segment_that_loses_more_is_named(tally_of: Build) -> None:
    """Half of a percent of everything, but 5 % of one origin: the rest is no fair sample of that origin."""
    cells = {
        ("JFK",): {"requests": 950, "pairs": 950, "shed": 30, "missing_baseline": 20},
        ("LGA",): {"requests": 9000, "pairs": 9000},
    }
    found = _judge(tally_of(("origin",), cells))

    assert found is not None
    assert (found.kind, found.reason_code, found.segment) == (VerdictKind.INCONCLUSIVE, NAME, "origin=JFK")
    assert found.reason == (
        "50 of 1,000 requests of origin=JFK could not be compared (5 %), elsewhere 0 %:"
        " what is left is no fair sample"
    )
    assert found.numbers["lost"] == 50


def test_losses_everywhere_alike_are_no_reason(tally_of: Build) -> None:
    """2 % of each: completeness speaks of them, not this."""
    cells = {
        (o,): {"requests": 980 * n, "pairs": 980 * n, "shed": 20 * n}
        for o, n in (("EWR", 1), ("JFK", 3), ("LGA", 9))
    }

    assert _judge(tally_of(("origin",), cells)) is None


def test_a_loss_that_is_borne_everywhere_is_borne_in_a_segment(tally_of: Build) -> None:
    """0.5 % of one segment and nothing elsewhere: certain, and of no consequence."""
    cells = {("JFK",): {"requests": 19_900, "shed": 100}, ("LGA",): {"requests": 50_000}}

    assert _judge(tally_of(("origin",), cells)) is None


def test_a_silent_candidate_is_a_failure_and_no_dropout(tally_of: Build) -> None:
    """missing_candidate is judged by the error rate; here it says nothing."""
    silent = {"requests": 1000, "pairs": 800, "missing_candidate": 200, "candidate_errors": 200}

    assert _judge(tally_of(("origin",), {("JFK",): silent, ("LGA",): {"requests": 9000, "pairs": 9000}})) is None


def test_nothing_lost_or_nothing_declared_is_silent(tally_of: Build) -> None:
    """Without a dimension, or with one value of it, there is nothing to compare."""
    assert _judge(tally_of((), {(): {"requests": 10, "shed": 900}})) is None
    assert _judge(tally_of(("origin",), {("JFK",): {"requests": 10, "shed": 900}})) is None
    assert _judge(tally_of(("origin",), {("JFK",): {"requests": 10}, ("LGA",): {"requests": 10}})) is None


def test_it_stands_among_the_checks_that_always_run(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """A stage that is complete enough still waits."""
    cells = {
        ("JFK",): {"requests": 950, "pairs": 950, "shed": 50},
        ("LGA",): {"requests": 9000, "pairs": 9000},
    }
    found = assess("error_rate: {maximum: 0.01}", tally_of(("origin",), cells))

    assert [v.gate for v in found.verdicts[1:3]] == ["join_completeness", NAME]
    assert found.overall is not VerdictKind.PASS


def test_false_alarms_over_many_segments_are_rare(tally_of: Build) -> None:
    """200 stages of 40 x 4 segments with 2 % lost by chance, a look at every 1,000th request: 5 % alarm at most."""
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        counts = np.zeros((40, 4, 2), int)
        alarmed = False
        for _look in range(8):
            a, b = random.integers(0, 40, 1000), random.integers(0, 4, 1000)
            np.add.at(counts, (a, b, (random.random(1000) < 0.02).astype(int)), 1)
            cells = {
                (f"a{i}", f"b{k}"): {"requests": int(counts[i, k, 0]), "shed": int(counts[i, k, 1])}
                for i in range(40)
                for k in range(4)
            }
            alarmed = alarmed or _judge(tally_of(("a", "b"), cells)) is not None
        alarms += alarmed

    assert alarms / 200 <= 0.05


def test_what_is_lost_could_hide_a_breach(tally_of: Build, assess: Callable[..., Assessment]) -> None:
    """0.9 % of one origin is lost and nothing of the other: allowed for completeness, but with a limit of 0.3 % all
    of it could have failed. The gate shows the worst case and waits; where loss strikes all alike it does not."""
    gates = "error_rate: {maximum: 0.003}"
    one = {
        ("JFK",): {"requests": 9910, "pairs": 9910, "shed": 90},
        ("LGA",): {"requests": 10_000, "pairs": 10_000},
    }
    alike = {(origin,): {"requests": 9955, "pairs": 9955, "shed": 45} for origin in ("JFK", "LGA")}

    held = assess(gates, tally_of(("origin",), one)).verdicts[0]
    assert (held.kind, held.reason_code) == (VerdictKind.INCONCLUSIVE, "informative_dropout")
    assert "with the 90 lost it could be 0.45 %, over 0.3 %" in held.reason
    assert held.numbers["worst_case"] == 0.0045
    passed = assess(gates, tally_of(("origin",), alike)).verdicts[0]
    assert passed.kind is VerdictKind.PASS
    assert passed.numbers["worst_case"] == 0.0045
    assert assess("error_rate: {maximum: 0.01}", tally_of(("origin",), one)).verdicts[0].kind is VerdictKind.PASS
