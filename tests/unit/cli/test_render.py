from __future__ import annotations

import io

from rich.console import Console, RenderableType

from paritygate.cli.follow import Declared, Rung
from paritygate.cli.render import UNKNOWN, instant, ladder_line, number, panel
from paritygate.rollouts.view import lines_of
from paritygate.schemas.ack import Refusal, RouterAck
from paritygate.schemas.decision import Action, GateDecision, VerdictRecord

RUNGS = (Rung("shadow", 0), Rung("1", 1), Rung("5", 5), Rung("100", 100))
NOTHING = Declared()
PLAN = {"promotion_gates": {"latency_p95_ms": {"maximum_regression_percent": 10}, "error_rate": {"maximum": 0.01}}}


def decision(action: Action, stage: str, weight: int, from_stage: str) -> GateDecision:
    return GateDecision(
        rollout_id="r1",
        sequence=7,
        action=action,
        stage=stage,
        weight=weight,
        from_stage=from_stage,
        reason_code="test",
        reason="p95 grew by 31 % \x1b[2J",
        at_ms=1_700_000_000_000,
        baseline_version="v1",
        candidate_version="v2",
        policy_digest="p",
        evidence_digest="e",
        worst_segment="origin=EWR",
        verdicts=(
            VerdictRecord(gate="error_rate", verdict="pass", reason="proven", numbers={"limit": 0.01}),
            VerdictRecord(
                gate="latency_p95_ms",
                verdict="fail",
                reason="31 % is over 10 %",
                segment="origin=EWR",
                numbers={"ratio": 1.3104, "ratio_low": 1.28, "ratio_high": None},
            ),
        ),
    )


def text_of(what: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200, markup=False, highlight=False).print(what)
    return out.getvalue()


def test_panel_says_all() -> None:
    """Sentence, ladder, segment, routers and gates are there in words, the failing gate first."""
    ack = RouterAck(rollout_id="r1", router_id="router-a", sequence=6, weight=5, applied_at_ms=1)
    text = text_of(panel(decision(Action.ROLLBACK, "shadow", 0, "5"), Declared(RUNGS, lines_of(PLAN)), [ack]))

    assert "r1 #7 rollback at shadow (no live traffic): p95 grew by 31 %" in text
    assert "✗ 5" in text
    assert "worst segment origin=EWR" in text
    assert "router-a #6 5 % (behind)" in text
    assert text.index("latency_p95_ms") < text.index("error_rate")
    assert "maximum_regression_percent 10" in text
    assert f"+31 % [+28 %, {UNKNOWN}]" in text


def test_a_router_that_stopped_by_itself_says_why() -> None:
    """Also in the shadow, where its weight is the one decided."""
    ack = RouterAck(rollout_id="r1", router_id="a", sequence=7, weight=0, applied_at_ms=1, state="killed")

    assert "a #7 0 % (killed)" in text_of(panel(decision(Action.HOLD, "shadow", 0, "shadow"), NOTHING, [ack]))
    assert "a #7 0 % (killed)" in text_of(panel(decision(Action.HOLD, "5", 5, "5"), NOTHING, [ack]))


def test_a_router_that_refuses_says_what() -> None:
    """How many decisions, where the last one lies, and why."""
    refused = Refusal(offset=17, reason="it is not signed", count=3)
    ack = RouterAck(rollout_id="r1", router_id="a", sequence=7, weight=5, applied_at_ms=1, refused=refused)

    text = text_of(panel(decision(Action.HOLD, "5", 5, "5"), NOTHING, [ack]))
    assert "a #7 5 % (refused 3, the last at offset 17: it is not signed)" in text


def test_no_control_characters_from_records() -> None:
    """A reason cannot move the cursor."""
    assert "\x1b[2J" not in text_of(panel(decision(Action.HOLD, "5", 5, "5"), NOTHING))


def test_ladder_shows_where_it_stands() -> None:
    """Climbed rungs, the present one and those to come look different without colour."""
    assert ladder_line(RUNGS, decision(Action.HOLD, "5", 5, "5")).plain == "✓ shadow → ✓ 1 % → ● 5 % → ○ 100 %"
    assert (
        ladder_line(RUNGS, decision(Action.ROLLBACK, "shadow", 0, "5")).plain
        == "✓ shadow → ✓ 1 % → ✗ 5 % → ○ 100 %"
    )


def test_unknown_is_not_zero() -> None:
    """What is missing is shown as such."""
    assert number(None) == UNKNOWN
    assert number(0) == "0"
    assert instant(-1) == "1969-12-31T23:59:59.999Z"
    assert instant(10**18) == UNKNOWN
