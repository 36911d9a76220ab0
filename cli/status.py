"""``paritygate status``: where every rollout stands, from the topic that routers obey."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics
from paritygate.cli.options import Bootstrap, Json
from paritygate.schemas.topics import DECISIONS, ROLLOUTS, ROUTER_ACKS


def status(
    rollout: Annotated[
        str | None, typer.Argument(metavar="[ROLLOUT]", help="Only this one, with its gates.")
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show the newest decision of each rollout, or one rollout with its gates and routers."""
    from paritygate.cli.follow import acknowledgements, declared, newest_decisions, unknown_rollout  # noqa: PLC0415

    settings = kafka_settings(bootstrap)
    require_topics(settings, DECISIONS.name, ROLLOUTS.name, ROUTER_ACKS.name)
    newest = newest_decisions(settings)
    if rollout is not None and rollout not in newest:
        raise unknown_rollout(rollout, sorted(newest))
    shown = [newest[rollout]] if rollout is not None else list(newest.values())
    if as_json:
        print_json({"rollouts": [_plain(d, acknowledgements(settings, d.rollout_id)) for d in shown]})
    elif rollout is not None:
        from paritygate.cli.render import panel  # noqa: PLC0415

        console().print(panel(newest[rollout], declared(settings, rollout), acknowledgements(settings, rollout)))
    elif not shown:
        print_line("no rollout has a decision yet; 'paritygate start rollout.yaml' begins one")
    else:
        console().print(_table(shown))


def _plain(decision: Any, acks: list[Any]) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        **decision.model_dump(mode="json"),
        "routers": [a.model_dump(mode="json") for a in acks],
    }


def _table(decisions: list[Any]) -> Any:
    from paritygate.cli.render import instant  # noqa: PLC0415

    table = new_table("rollout", "stage", "weight", "#", "action", "event time", "reason")
    for d in decisions:
        table.add_row(
            d.rollout_id, d.stage, f"{d.weight} %", str(d.sequence), d.action.value, instant(d.at_ms), d.reason
        )
    return table
