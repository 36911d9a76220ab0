"""``approve``, ``promote --force``, ``abandon``, ``acknowledge``: where a person's word stands above the rules.

Law: each of them says why and who, or is not written. An approval and a promotion by force name the stage that the
person saw: should the rollout have moved on by the time they are read, they mean nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.options import Actor, Bootstrap, Json, RolloutId, WaitS, Why
from paritygate.cli.say import Log, acknowledge_decision, control_settings, order, read_log
from paritygate.schemas.errors import ConfigError

StageName = Annotated[
    str, typer.Option("--stage", metavar="NAME", help="Only if it is in this stage; otherwise the one it is in.")
]


def approve(
    rollout: RolloutId,
    *,
    reason: Why,
    stage: StageName = "",
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Approve of leaving the present stage, where its plan says approval: required.

    The promotion still waits for its proof. An approval ends with the stage, and cannot be given before it.
    """
    place = partial(_place, "approve", rollout, stage)
    order(
        "approve", rollout,
        reason=reason, bootstrap=bootstrap, actor=actor, wait_s=wait, as_json=as_json, place=place,
    )  # fmt: skip


def promote(
    rollout: RolloutId,
    *,
    reason: Why,
    force: Annotated[bool, typer.Option("--force", help="Go up without proof; the decision says so.")] = False,
    stage: StageName = "",
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Go one stage up without proof or approval. Never past a failing gate, and not while paused."""
    if not force:
        raise ConfigError(
            "the decider promotes by itself once everything is proven; 'approve' gives an approval that a stage "
            "asks for, and --force goes up without proof"
        )
    place = partial(_place, "promote", rollout, stage)
    order(
        "promote", rollout,
        reason=reason, bootstrap=bootstrap, actor=actor, wait_s=wait, as_json=as_json, place=place,
    )  # fmt: skip


def abandon(
    rollout: RolloutId,
    *,
    reason: Why,
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """End a rollout without judgement: weight 0 at every router. Final for this rollout id."""
    order("abandon", rollout, reason=reason, bootstrap=bootstrap, actor=actor, wait_s=wait, as_json=as_json)


def acknowledge(
    rollout: RolloutId,
    decision: Annotated[
        str, typer.Argument(metavar="[DECISION]", help="Its id or its sequence; otherwise the newest one.")
    ] = "",
    *,
    reason: Why,
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Put on record that a person has seen a decision; it changes nothing else."""
    settings = control_settings(bootstrap)
    seen = _decision(rollout, decision, read_log(settings, rollout))
    offset = acknowledge_decision(settings, rollout, seen, actor=actor, reason=reason)
    if as_json:
        print_json({"rollout_id": rollout, "sequence": seen, "offset": offset})
        return
    print_line(f"{rollout} #{seen}: acknowledged")


def _place(kind: str, rollout: str, stage: str, log: Log) -> str:
    """The stage that the command speaks of: the one that its rollout is in."""
    if not log.own:
        raise ConfigError(f"rollout {rollout!r} has no decision yet: nothing to {kind}")
    there = log.newest[rollout].stage
    if stage and stage != there:
        note(f"refused: {rollout} is in stage {there}, not {stage}; nothing was written")
        raise typer.Exit(1)
    return there


def _decision(rollout: str, named: str, log: Log) -> int:
    """The sequence of the decision that is meant.

    :raises ConfigError: the rollout has no such decision.
    """
    from paritygate.cli.follow import unknown_rollout  # noqa: PLC0415

    if rollout not in log.newest:
        raise unknown_rollout(rollout, sorted(log.newest))
    if not named:
        return log.newest[rollout].sequence
    for decision in log.own:
        if named in (decision.decision_id, str(decision.sequence)):
            return decision.sequence
    raise ConfigError(f"rollout {rollout!r} has no decision {named!r}; the newest is {log.own[-1].sequence}")
