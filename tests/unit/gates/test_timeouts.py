"""Gates on answers that came too late or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind

First = Callable[..., Verdict]
ABSOLUTE = "timeout_rate: {maximum: 0.01}"
RELATIVE = "timeout_rate: {maximum_regression_percent: 50}"


@pytest.fixture
def timed(tally_of: Callable[..., Tally]) -> Callable[..., Tally]:
    """timed(candidate, baseline, both=0, total=4000): who timed out on so many requests."""

    def build(candidate: int, baseline: int, both: int = 0, total: int = 4000, **more: int) -> Tally:
        counts = {
            "requests": total, "pairs": total, "timeouts_counted": total, "candidate_timeouts": candidate + both,
            "baseline_timeouts": baseline + both, "candidate_only_timeouts": candidate,
            "baseline_only_timeouts": baseline, "candidate_errors": candidate + both,
            "candidate_only_errors": candidate, "baseline_only_errors": baseline,
            "baseline_errors": baseline + both,
        }  # fmt: skip
        return tally_of((), {(): counts | more})

    return build


@pytest.mark.parametrize(
    ("gate", "timeouts", "kind"),
    [
        (ABSOLUTE, (4, 4), VerdictKind.PASS), (ABSOLUTE, (40, 4), VerdictKind.INCONCLUSIVE),
        (ABSOLUTE, (160, 4), VerdictKind.FAIL), (RELATIVE, (200, 20), VerdictKind.FAIL),
        (RELATIVE, (60, 200), VerdictKind.PASS),
    ],
)  # fmt: skip
def test_a_rate_of_timeouts(
    first: First, timed: Callable[..., Tally], gate: str, timeouts: tuple[int, int], kind: VerdictKind
) -> None:
    """Few are proven, many fail, against a limit and against the baseline."""
    found = first(gate, timed(*timeouts))

    assert found.kind is kind
    assert "timed out" in found.reason


def test_everybody_being_slow_is_no_fault_of_the_candidate(first: First, timed: Callable[..., Tally]) -> None:
    """An incident of both arms holds."""
    assert first(ABSOLUTE, timed(10, 10, both=300)).reason_code == "environment"


def test_reports_that_counted_no_timeouts_are_no_data(first: First, timed: Callable[..., Tally]) -> None:
    """A join of an older version counts requests and no timeouts, which must not look like none."""
    old = timed(0, 0, timeouts_counted=0)

    assert first(ABSOLUTE, old).reason_code == "no_data"


def test_live_errors_say_nothing_of_timeouts(first: First, timed: Callable[..., Tally]) -> None:
    """The batches of live errors hold errors of every kind, so a relative gate on timeouts leaves them out."""
    found = first(RELATIVE, timed(5, 5), live=[[50, 950, 50, 0]] * 40)

    assert found.kind is not VerdictKind.FAIL
    assert "log_e_share" not in found.numbers
