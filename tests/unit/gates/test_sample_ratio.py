"""The share of answers that users saw from the candidate, against the stage's weight."""

from __future__ import annotations

import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.evidence import Evidence
from paritygate.gates.sample_ratio import NAME, assess_sample_ratio
from paritygate.gates.verdict import Verdict, VerdictKind


def _judge(candidate: int, baseline: int, weight: int = 5, *, required: bool = True) -> Verdict | None:
    evidence = Evidence(
        whole=Tally(()), stage=Tally(()), stage_name=str(weight), weight=weight, obeyed=(candidate, baseline)
    )
    return assess_sample_ratio(evidence, 0.05, required=required)


def test_the_declared_share_passes() -> None:
    """With the numbers it rests on."""
    found = _judge(496, 9504)

    assert found is not None
    assert (found.kind, found.reason_code, found.required) == (VerdictKind.PASS, "as_declared", True)
    assert found.reason == ("496 of 10,000 answers that users saw are the candidate's (5 %), 5 % declared")


@pytest.mark.parametrize(("candidate", "baseline"), [(0, 200), (400, 9600), (900, 9100), (30, 20)])
def test_another_share_holds(candidate: int, baseline: int) -> None:
    """Too few or too many; never a fail."""
    found = _judge(candidate, baseline)

    assert found is not None
    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, NAME)
    assert "5 % should be" in found.reason


def test_what_is_near_enough_is_enough() -> None:
    """5.1 % of ten million answers is surely not 5 %, and harms nobody."""
    found = _judge(510_000, 9_490_000)

    assert found is not None
    assert found.kind is VerdictKind.PASS
    assert found.numbers["log_e_bad"] is not None
    assert found.numbers["log_e_bad"] > 3.0


def test_no_answer_is_no_pass() -> None:
    """Nothing was seen since the routers could obey."""
    found = _judge(0, 0)

    assert found is not None
    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "no_data")


def test_where_nothing_is_drawn_nothing_is_judged() -> None:
    """Shadow and 100 %."""
    assert _judge(1, 1000, 0) is None
    assert _judge(1000, 1, 100) is None


def test_it_is_advisory_unless_the_plan_requires_it() -> None:
    """Sticky keys make a mismatch real without any fault."""
    found = _judge(0, 200, required=False)

    assert found is not None
    assert not found.required
