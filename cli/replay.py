"""``paritygate replay``: derive the decisions of one rollout again, and show each beside the record.

Law: the same derivation as ``audit verify``, decision by decision. Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.options import Bootstrap, Json, RolloutId

if TYPE_CHECKING:
    from paritygate.rollouts.audit import Audit
    from paritygate.schemas.decision import GateDecision


def replay(rollout: RolloutId, *, bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """Derive every decision of a rollout again from windows.v1 and rollouts.v1; 1 where one differs."""
    from paritygate.cli.logs import audit_settings, read_control, read_windows  # noqa: PLC0415
    from paritygate.rollouts.audit import Audit  # noqa: PLC0415

    settings = audit_settings(bootstrap)
    control = read_control(settings)
    control.require(rollout)
    audit = Audit(control.recorded, control.commands, commands_lost=control.commands_lost, only={rollout})
    for offset, report in read_windows(settings, audit.windows_first, audit.windows_end):
        audit.apply_report(offset, report)
    (finding,) = audit.finish()
    rows = compared(audit, rollout)
    if as_json:
        print_json({"holds": finding.holds, "decisions": [{**_head(d), "replay": said} for d, said in rows]})
    else:
        from paritygate.cli.audit import lines_of  # noqa: PLC0415

        table = new_table("#", "action", "stage", "reason", "replay")
        for d, said in rows:
            table.add_row(str(d.sequence), d.action.value, d.stage, d.reason_code, said)
        console().print(table)
        for line in lines_of(finding):
            print_line(line)
    if not finding.holds:
        raise typer.Exit(1)


def compared(audit: Audit, rollout: str) -> list[tuple[GateDecision, str]]:
    """Every decision of the chain with what the logs say of it. Call it after ``finish``."""
    differ = {d.sequence: d for d in audit.differences if d.rollout_id == rollout and d.recorded is not None}
    rows = []
    for decision in audit.chain(rollout):
        difference = differ.get(decision.sequence)
        if difference is None:
            said = "identical"
        elif gone := audit.gone(decision):
            said = f"cannot be known: {', '.join(gone)} are gone"
        else:
            said = f"another {', '.join(difference.fields)}" if difference.fields else "does not follow"
        rows.append((decision, said))
    return rows


def _head(decision: GateDecision) -> dict[str, Any]:
    whole = decision.model_dump(mode="json")
    return {k: whole[k] for k in ("sequence", "action", "stage", "weight", "reason_code", "windows_next")}
