"""``start``, ``pause`` (or ``hold``), ``resume``, ``rollback``: what is said in the course of a rollout.

Law: every verb reads where the rollout stands before it writes, except ``rollback --now``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paritygate.cli.answer import refuse_start, standing
from paritygate.cli.console import note
from paritygate.cli.options import Actor, Bootstrap, Json, Reason, RolloutId, WaitS, Why
from paritygate.cli.say import control_settings, order, read_log, refuse_early, say, show


def start(
    plan_file: Annotated[Path, typer.Argument(metavar="ROLLOUT.YAML", help="The plan.", show_default=False)],
    *,
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 30.0,
    as_json: Json = False,
) -> None:
    """Start a rollout: check its plan, hand it to the decider and wait for decision 0 (shadow)."""
    from paritygate.cli.follow import commands, newest_decisions  # noqa: PLC0415
    from paritygate.cli.validate import read_to_begin  # noqa: PLC0415

    plan = read_to_begin(plan_file)
    settings = control_settings(bootstrap)
    services = {c.rollout_id: str(c.plan.get("service")) for _, c in commands(settings) if c.plan is not None}
    refuse_start(plan.rollout, plan.service, newest_decisions(settings), services)
    say(settings, "start", plan.rollout, actor=actor, wait_s=wait, as_json=as_json, plan=plan.to_plain())


def pause(
    rollout: RolloutId,
    *,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Pause a rollout: nothing is promoted until it is resumed; a failing gate still rolls back."""
    order("pause", rollout, reason=reason, bootstrap=bootstrap, actor=actor, wait_s=wait, as_json=as_json)


def resume(
    rollout: RolloutId,
    *,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Resume a paused rollout."""
    order("resume", rollout, reason=reason, bootstrap=bootstrap, actor=actor, wait_s=wait, as_json=as_json)


def rollback(
    rollout: RolloutId,
    *,
    reason: Why,
    now: Annotated[
        bool, typer.Option("--now", help="Write it without looking up the rollout or where it stands.")
    ] = False,
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Roll back: weight 0 at every router. Final for this rollout id."""
    settings = control_settings(bootstrap)
    if now:
        say(settings, "rollback", rollout, actor=actor, wait_s=wait, as_json=as_json, reason=reason)
        return
    log = read_log(settings, rollout)
    before = log.newest.get(rollout)
    if before is not None and before.action.value == "rollback":
        note(f"{rollout} was {standing(log.own)} before; nothing was written")
        show(before, as_json)
        return
    refuse_early("rollback", rollout, log)
    say(settings, "rollback", rollout, actor=actor, wait_s=wait, as_json=as_json, reason=reason)
