"""The live estimate: what is still lacking, as time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts.estimate import remaining_ms, with_estimates
from paritygate.rollouts.fold import Fold
from paritygate.schemas.decision import GateDecision
from tests.unit.rollouts.conftest import command, report, windows

#: Too strict for the few requests of these tests, so the rollout waits for more of them.
STRICT = {"error_rate": {"maximum": 0.001}}


def said(*, kind: VerdictKind = VerdictKind.INCONCLUSIVE, numbers: dict[str, float | None]) -> Verdict:
    verdict = Verdict(gate="error_rate", kind=kind, reason="about 2,820 more", reason_code="x", numbers=numbers)
    found = with_estimates(Assessment(verdicts=(verdict,), overall=verdict.kind), 60_000)
    return found.verdicts[0]


def climb(*records: Any) -> list[GateDecision]:
    fold, made = Fold(hold_every_ms=1000), []
    for r in records:
        if hasattr(r, "kind"):
            made += fold.apply_command(fold.commands_next, r)
        else:
            made += fold.apply_report(fold.windows_next, r)
    return made


def test_time_is_count_over_rate() -> None:
    """2,820 more where 1,000 came in 60 s take 169.2 s; in words rounded up."""
    found = said(numbers={"more_needed": 2820, "total": 1000})

    assert found.numbers["more_needed_ms"] == 169_200
    assert found.numbers["more_needed"] == 2820
    assert found.reason == "about 2,820 more, about 2 m 50 s at the present rate"


def test_running_hours_have_a_rate_too() -> None:
    """Two instances collect two hours an hour."""
    found = said(numbers={"more_hours_needed": 3.0, "stage_hours": 2.0 / 60.0})

    assert found.numbers["more_needed_ms"] == 90 * 60_000
    assert found.reason.endswith("about 1 h 30 m at the present rate")


@pytest.mark.parametrize("seen", [{"total": 0}, {"total": None}, {}])
def test_what_has_not_come_has_no_time(seen: dict[str, float | None]) -> None:
    """Without a rate the time is unknown, never zero, and no word is said of it."""
    found = said(numbers={"more_needed": 5, **seen})

    assert found.numbers["more_needed_ms"] is None
    assert found.reason == "about 2,820 more"


def test_nothing_is_said_of_what_lacks_nothing() -> None:
    """Verdicts without a need, and those that have spoken, stay as they are."""
    assert "more_needed_ms" not in said(numbers={"total": 1000}).numbers
    assert "more_needed_ms" not in said(kind=VerdictKind.PASS, numbers={"more_needed": 3, "total": 1000}).numbers
    assert remaining_ms(5, 10, 0) is None
    assert remaining_ms(5, 10, -5) is None


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10**10))
def test_the_estimate_is_whole_and_grows_with_the_need(more: int, seen: int, counted_ms: int) -> None:
    """Never negative; twice the need takes about twice the time."""
    one, two = remaining_ms(more, seen, counted_ms), remaining_ms(2 * more, seen, counted_ms)

    assert one is not None
    assert two is not None
    assert isinstance(one, int)
    assert 0 <= one <= two <= 2 * one + 2


def test_a_hold_says_how_long() -> None:
    """The decision's sentence and its numbers name the time, from the evidence and event time of the stage."""
    made = climb(command("start", promotion_gates=STRICT), *windows(0, 12))
    last = made[-1]
    numbers = last.verdicts[0].numbers
    more_ms, more, seen = numbers["more_needed_ms"], numbers["more_needed"], numbers["total"]

    assert last.action.value == "hold"
    assert last.reason_code == "more_evidence"
    assert "at the present rate" in last.reason
    assert last.verdicts[0].reason in last.reason
    assert more_ms
    assert more
    assert seen
    # 120 requests come in each second of event time (two partitions of 60).
    assert more_ms == pytest.approx(1000.0 * more / 120.0, rel=0.25)


def test_a_missing_floor_of_pairs_has_a_time() -> None:
    """The floor of pairs says when it will be met."""
    stages = [
        {"weight": 0, "minimum_seconds": 0, "minimum_pairs": 100_000},
        {"weight": 5, "minimum_seconds": 0, "minimum_pairs": 1},
        {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
    ]
    made = climb(command("start", stages=stages), *windows(0, 13))
    floors = [d.reason for d in made if d.reason_code == "floor_pairs"]

    assert floors
    assert "more pairs (at least 100,000), about 1" in floors[-1]
    assert floors[-1].endswith("at the present rate")


def test_the_same_records_give_the_same_bytes() -> None:
    """Decisions with estimates replay byte for byte."""
    records = [command("start", promotion_gates=STRICT), *windows(0, 25), report(25, errors=1)]

    assert [d.to_bytes() for d in climb(*records)] == [d.to_bytes() for d in climb(*records)]


def test_the_rate_is_that_of_the_time_that_is_counted() -> None:
    """Windows that one partition has not reported yet slow nothing down: the rate stays 120 a second."""
    strict = command("start", promotion_gates=STRICT)
    whole, early = climb(strict, *windows(0, 12)), climb(strict, *windows(0, 12), report(12, 0), report(13, 0))

    assert early[-1].at_ms > whole[-1].at_ms
    for decision in (whole[-1], early[-1]):
        numbers = decision.verdicts[0].numbers
        assert numbers["more_needed_ms"] == pytest.approx(1000.0 * (numbers["more_needed"] or 0) / 120.0, rel=0.1)
