"""What the span of a decision links to: the newest examples of its rollout that name a trace."""

from __future__ import annotations

from dataclasses import replace

from paritygate.rollouts.cited import MAX_CITED, Cited
from paritygate.schemas.report import Example, WindowReport
from tests.unit.rollouts.conftest import report


def told(window: int, *traces: str, rollout: str = "r1") -> WindowReport:
    examples = tuple(
        Example(request_id=f"r{window}{i}", kind="label_change", detail="", values=("EWR",), trace_id=trace)
        for i, trace in enumerate(traces)
    )
    return replace(report(window, rollout=rollout), examples=examples)


def test_the_newest_are_kept_each_once() -> None:
    """A window that is told again is as new as its report; an example without a trace leads nowhere."""
    cited = Cited()
    for window in range(MAX_CITED):
        cited.take(told(window, f"t{window}", ""))
    cited.take(told(0, "t0"))
    cited.take(told(MAX_CITED, "t"))

    kept = [e.trace_id for e in cited.of("r1")]
    assert kept == [*(f"t{w}" for w in range(2, MAX_CITED)), "t0", "t"]


def test_rollouts_do_not_mix() -> None:
    """Each has its own, and one that nobody told of has none."""
    cited = Cited()
    cited.take(told(0, "a"))
    cited.take(told(0, "b", rollout="r2"))

    assert [e.trace_id for r in ("r1", "r2", "r3") for e in cited.of(r)] == ["a", "b"]
