"""``paritygate backtest``: what would another policy have decided on the windows of a past rollout?

Law: the policy runs the whole machine on what was recorded, and nothing is written. What the record cannot answer
is said beside the answer; a policy that needs counts which no window holds is refused with the key that asks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.options import Bootstrap, Json
from paritygate.cli.render import instant
from paritygate.schemas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paritygate.rollouts.backtest import Backtested
    from paritygate.schemas.decision import GateDecision


def backtest(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN.YAML", help="The policy.", show_default=False)],
    *,
    rollout: Annotated[
        str, typer.Option("--rollout", metavar="ROLLOUT", help="On whose recorded windows.", show_default=False)
    ],
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Only windows from here on: ISO 8601, UTC unless it says else."
        ),
    ] = None,
    same: Annotated[
        bool, typer.Option("--same", help="Both arms ran the same version: every rollback is a false alarm.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Say what a policy would have decided on the recorded windows of a rollout; 1 on a false alarm."""
    from paritygate.cli.logs import audit_settings, read_control, read_windows  # noqa: PLC0415
    from paritygate.cli.validate import read_plan  # noqa: PLC0415
    from paritygate.rollouts.backtest import Backtest  # noqa: PLC0415

    policy = read_plan(plan_file)
    since_ms = None if since is None else instant_ms(since)
    settings = audit_settings(bootstrap)
    control = read_control(settings)
    control.require(rollout)
    recorded = [decision for _, decision in control.recorded]
    try:
        test = Backtest(
            policy, rollout, recorded, control.commands, since_ms=since_ms, same=same, doubted=control.said.unheard
        )
    except ConfigError as e:
        raise ConfigError(f"{plan_file}: {e}") from None
    for offset, report in read_windows(settings, test.windows_first, test.windows_end):
        test.apply_report(offset, report)
    found = test.finish()
    if as_json:
        print_json(plain(found))
    else:
        for line in lines_of(found, rollout):
            print_line(line)
        table = new_table("after", "event time", "recorded", "this policy")
        for row in side_by_side(found.recorded, found.decisions):
            table.add_row(*row)
        console().print(table)
    if found.false_alarms:
        raise typer.Exit(1)


def instant_ms(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 instant. Pure.

    :raises ConfigError: it is none.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--since: {text!r} is no instant such as 2026-11-24T13:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def lines_of(found: Backtested, rollout: str) -> list[str]:
    """The answer in sentences. Pure."""
    if found.identical:
        lines = [f"{rollout}: the same {len(found.recorded)} decisions as recorded, byte for byte"]
    else:
        lines = [f"{rollout}: {len(found.decisions)} decisions, {len(found.recorded)} recorded"]
    for name, decision in (("recorded", found.recorded_decided), ("this policy", found.decided)):
        took = found.took_ms(decision)
        if decision is None or took is None:
            lines.append(f"  {name}: undecided at the end of the record")
            continue
        what = decision.action.value if decision.action.value == "rollback" else "promoted to 100 %"
        lines.append(
            f"  {name}: {what} after {took / 1000:,.1f} s, {decision.exposed_requests:,} users' requests exposed: "
            f"{decision.reason}"
        )
    if found.false_alarms is not None:
        gates = f" ({', '.join(found.failed_gates)})" if found.failed_gates else ""
        lines.append(f"  both arms are the same: {found.false_alarms} false alarms{gates}")
    lines += [f"  refused by this policy: {why} (rollouts.v1 offset {offset})" for offset, why in found.refused]
    return lines + [f"  not to be known: {what}" for what in found.unknowable]


def side_by_side(
    recorded: Sequence[GateDecision], derived: Sequence[GateDecision]
) -> list[tuple[str, str, str, str]]:
    """Rows of (windows position, event time, recorded, derived), without holds that only repeat. Pure."""
    places: dict[tuple[int, int], list[str]] = {}
    times: dict[tuple[int, int], int] = {}
    for column, log in enumerate((recorded, derived)):
        before = None
        for decision in log:
            said = (decision.action, decision.stage, decision.reason_code)
            if said != before:
                place = decision.windows_next, decision.commands_next
                places.setdefault(place, ["", ""])[column] = _cell(decision)
                times.setdefault(place, decision.at_ms)
            before = said
    return [(f"@{place[0]}", instant(times[place]), *places[place]) for place in sorted(places)]  # type: ignore[misc]


def _cell(decision: GateDecision) -> str:
    d = decision
    return f"#{d.sequence} {d.action.value} {d.stage} ({d.weight} %) {d.reason_code}"


def plain(found: Backtested) -> dict[str, Any]:
    """The answer as plain data. Pure."""
    return {
        "identical": found.identical,
        "decided": _ending(found, found.decided),
        "recorded_decided": _ending(found, found.recorded_decided),
        "false_alarms": found.false_alarms,
        "failed_gates": list(found.failed_gates),
        "unknowable": list(found.unknowable),
        "refused": [{"offset": offset, "reason": why} for offset, why in found.refused],
        "decisions": [d.model_dump(mode="json") for d in found.decisions],
        "recorded": [d.model_dump(mode="json") for d in found.recorded],
    }


def _ending(found: Backtested, decision: GateDecision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "sequence": decision.sequence, "action": decision.action.value, "reason_code": decision.reason_code,
        "reason": decision.reason, "took_ms": found.took_ms(decision),
        "exposed_requests": decision.exposed_requests,
    }  # fmt: skip
