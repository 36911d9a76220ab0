"""How a decision looks in the terminal: the sentence, the ladder, the gates. Pure: data in, renderables out.

Law: colours only repeat what words say, so that nothing is lost in a log file. What is unknown is shown as
``n/a``, never as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from paritygate.cli.console import clean, new_table
from paritygate.gates.reasons import UNKNOWN as UNKNOWN  # noqa: PLC0414  (other verbs take it from here)
from paritygate.gates.reasons import instant as instant  # noqa: PLC0414
from paritygate.schemas.ack import APPLIED, LEFT
from paritygate.schemas.decision import Action, GateDecision

if TYPE_CHECKING:
    from rich.table import Table

    from paritygate.cli.follow import Rung
    from paritygate.schemas.ack import RouterAck

_VERDICT_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "error": "magenta"}
_RANK = {"fail": 0, "error": 1, "inconclusive": 2, "pass": 3}
_ACTION_STYLES = {Action.PROMOTE: "green", Action.HOLD: "yellow", Action.ROLLBACK: "bold red"}
#: Numbers of a verdict that a reader looks for first; the rest is in ``--json``.
_FIRST_NUMBERS = ("observed", "estimate", "limit", "samples", "pairs", "bad", "more_needed")


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
    live = f"{decision.weight} % of live traffic" if decision.weight else "no live traffic"
    text.append(f" at {decision.stage} ({live}): {clean(decision.reason)}")
    return text


def ladder_line(rungs: Sequence[Rung], decision: GateDecision) -> Text:
    """The rungs, those climbed and the one that is stood on; a rollback shows where it fell from."""
    names = [r.name for r in rungs]
    back = decision.action is Action.ROLLBACK
    here = names.index(decision.stage) if decision.stage in names else -1
    text = Text()
    for i, rung in enumerate(rungs):
        if i:
            text.append(" → ", style="dim")
        if back and rung.name == decision.from_stage:
            text.append(f"✗ {rung.name}", style="bold red")
        elif i == here:
            text.append(f"● {rung.name}", style="bold red" if back else "bold green")
        else:
            text.append(
                f"{'✓' if i < here and not back else '○'} {rung.name}", style="green" if i < here else "dim"
            )
    return text


def gate_table(decision: GateDecision) -> Table:
    """One row per verdict, the worst first."""
    table = new_table("gate", "segment", "verdict", "reason", "numbers")
    for v in sorted(decision.verdicts, key=lambda v: (_RANK.get(v.verdict, 4), not v.required)):
        numbers = [n for n in _FIRST_NUMBERS if n in v.numbers] or list(v.numbers)[:4]
        table.add_row(
            clean(v.gate) + ("" if v.required else " (advisory)"),
            clean(v.segment),
            Text(v.verdict, style=_VERDICT_STYLES.get(v.verdict, "")),
            clean(v.reason),
            ", ".join(f"{n} {number(v.numbers[n])}" for n in numbers),
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


def panel(decision: GateDecision, rungs: Sequence[Rung], acks: Sequence[RouterAck] | None = None) -> RenderableType:
    """All of it, one below the other."""
    parts: list[RenderableType] = [sentence(decision)]
    if rungs:
        parts.append(ladder_line(rungs, decision))
    parts.append(facts(decision))
    if acks is not None:
        parts.append(routers_line(decision, acks))
    if decision.verdicts:
        parts.append(gate_table(decision))
    return Group(*parts)
