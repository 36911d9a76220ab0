"""How a decision looks in the terminal: the sentence, the ladder, the gates. Pure: data in, renderables out.

Law: colours only repeat what words say, so that nothing is lost in a log file. What is unknown is shown as
``n/a``, never as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from paritygate.cli.console import clean, new_table
from paritygate.dashboard.words import measured
from paritygate.gates.reasons import UNKNOWN as UNKNOWN  # noqa: PLC0414  (other verbs take it from here)
from paritygate.gates.reasons import instant as instant  # noqa: PLC0414
from paritygate.rollouts.view import RungState, rows, where
from paritygate.rollouts.view import rungs as rungs_after
from paritygate.schemas.ack import APPLIED, LEFT
from paritygate.schemas.decision import Action, GateDecision

if TYPE_CHECKING:
    from rich.table import Table

    from paritygate.cli.follow import Declared, Rung
    from paritygate.rollouts.view import GateLine
    from paritygate.schemas.ack import RouterAck

_VERDICT_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "error": "magenta"}
_ACTION_STYLES = {Action.PROMOTE: "green", Action.HOLD: "yellow", Action.ROLLBACK: "bold red"}
_RUNGS = {
    RungState.CLIMBED: ("✓", "green"), RungState.HERE: ("●", "bold green"),
    RungState.FELL: ("✗", "bold red"), RungState.AHEAD: ("○", "dim"),
}  # fmt: skip


def number(value: float | int | None) -> str:
    """A number at a readable precision; ``n/a`` where there is none."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def sentence(decision: GateDecision) -> Text:
    """Who stands where, and why."""
    text = Text()
    text.append(decision.rollout_id, style="bold")
    text.append(f" #{decision.sequence} ")
    text.append(decision.action.value, style=_ACTION_STYLES[decision.action])
    text.append(f" {clean(where(decision))}")
    return text


def ladder_line(rungs: Sequence[Rung], decision: GateDecision) -> Text:
    """The rungs, those climbed and the one that is stood on; a rollback shows where it fell from."""
    text = Text()
    for i, rung in enumerate(rungs_after(rungs, decision)):
        if i:
            text.append(" → ", style="dim")
        sign, style = _RUNGS[rung.state]
        text.append(f"{sign} {clean(rung.label)}", style=style)
    return text


def gate_table(decision: GateDecision, lines: Mapping[str, GateLine]) -> Table:
    """One row per verdict, the worst first: the plan's line, the value and its interval, as on the page."""
    table = new_table("gate", "verdict", "line", "value", "segment", "why")
    for row in rows(decision, lines):
        table.add_row(
            clean(row.line.gate) + ("" if row.required else " (advisory)"),
            Text(row.verdict, style=_VERDICT_STYLES.get(row.verdict, "")),
            row.line.declared,
            measured(row.value, row.low, row.high, row.line.unit),
            clean(row.segment),
            clean(row.reason),
        )
    return table


def facts(decision: GateDecision) -> Text:
    """Versions, event time, exposure."""
    worst = decision.worst_segment
    parts = [
        f"{decision.baseline_version} → {decision.candidate_version}",
        f"event time {instant(decision.at_ms)}",
        f"{decision.exposed_requests:,} exposed requests",
        *([f"worst segment {worst}"] if worst else []),
        f"decision {decision.decision_id}",
    ]
    return Text(clean(" · ".join(parts)), style="dim")


def routers_line(decision: GateDecision, acks: Sequence[RouterAck]) -> Text:
    """What each router really applied; one that is behind is named, and one that stopped says why."""
    if not acks:
        return Text("routers: none has reported", style="dim")
    text = Text("routers: ")
    for i, ack in enumerate(acks):
        current = ack.weight == decision.weight and ack.state == APPLIED
        why = "behind" if ack.state == APPLIED else ack.state
        text.append(", " if i else "")
        text.append(
            f"{clean(ack.router_id)} #{ack.sequence} {ack.weight} %" + ("" if current else f" ({clean(why)})"),
            style="" if current else "dim" if ack.state == LEFT else "bold red",
        )
        if ack.refused is not None:
            text.append(f" (refused {clean(str(ack.refused))})", style="yellow")
    return text


def panel(decision: GateDecision, declared: Declared, acks: Sequence[RouterAck] | None = None) -> RenderableType:
    """All of it, one below the other."""
    parts: list[RenderableType] = [sentence(decision)]
    if declared.rungs:
        parts.append(ladder_line(declared.rungs, decision))
    parts.append(facts(decision))
    if acks is not None:
        parts.append(routers_line(decision, acks))
    if decision.verdicts:
        parts.append(gate_table(decision, declared.lines))
    return Group(*parts)
