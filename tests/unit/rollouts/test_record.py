"""A record has stable bytes and no number that JSON cannot hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paritygate.gates.assess import Assessment
from paritygate.gates.verdict import Verdict, VerdictKind
from paritygate.rollouts.judge import Ruling
from paritygate.rollouts.ledger import Ledger
from paritygate.rollouts.record import Position, record, rounded
from paritygate.schemas.decision import Action, GateDecision
from tests.unit.rollouts.conftest import plan

PLAN = plan()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (3, 3),
        (0.1 + 0.2, 0.3),
        (1 / 3, 0.333333333333),
        (1e300, 1e300),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (np.float64(2 / 3), 0.666666666667),
    ],
)
def test_numbers_are_rounded_to_what_every_processor_agrees_on(value: float | None, kept: float | None) -> None:
    """12 significant digits; what is not finite is None, never NaN."""
    assert rounded(value) == kept


def decision(number: float) -> GateDecision:
    verdict = Verdict(
        gate="error_rate", kind=VerdictKind.PASS, reason="fine", reason_code="proven",
        numbers={"value": number, "count": 7, "none": None},
    )  # fmt: skip
    said = Assessment(verdicts=(verdict,), overall=VerdictKind.PASS, worst_segment="origin=EWR")
    ruling = Ruling(Action.PROMOTE, PLAN.stage("5"), "proven", "proven")
    return record(
        PLAN, None, ruling, Ledger(("origin",), 1000), Position(windows_next=3, commands_next=1),
        at_ms=5, assessment=said,
    )  # fmt: skip


def test_the_last_bits_of_a_sum_never_reach_the_log() -> None:
    """Two processors that differ in the last place write the same bytes, and the bytes read back."""
    a, b = decision(0.1 + 0.2), decision(0.3)

    assert a.to_bytes() == b.to_bytes()
    assert GateDecision.from_bytes(a.to_bytes()) == a
    assert a.verdicts[0].numbers == {"value": 0.3, "count": 7, "none": None}


def test_a_number_that_is_not_finite_is_none() -> None:
    """A record with NaN could not be read by anyone."""
    assert decision(math.nan).verdicts[0].numbers["value"] is None


def test_no_evidence_has_a_digest_too() -> None:
    """The digest of an empty ledger is a digest, and the same for every rollout of these dimensions."""
    assert len(decision(0.5).evidence_digest) == 64
    assert decision(0.5).worst_segment == "origin=EWR"
