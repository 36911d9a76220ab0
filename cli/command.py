"""``start``, ``pause``, ``resume``, ``rollback``: say something to the decider, and see what it decides.

Law: a command is written once and waited for, and only the decision that it caused is a success: the one that
ends its commands at the command's offset and gives the command's own reason code. Any other decision beyond the
offset, of whichever rollout, proves that the decider passed the command over. A misspelt rollout id is refused,
since a rollback of nothing would look like a success.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics, write
from paritygate.cli.options import Actor, Bootstrap, Json, RolloutId, WaitS
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.topics import DECISIONS, ROLLOUTS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.decision import GateDecision

Reason = Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.", show_default=False)]

#: The reason code of the decision that each command causes: ``COMMANDED`` of ``rollouts.replay``, as text. That
#: room needs more than the base install has, and a rollback must work from a machine that has no more.
CAUSES: Mapping[str, str] = {
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "rollback": "operator_rollback",
}


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
    from paritygate.cli.validate import read_plan  # noqa: PLC0415

    plan = read_plan(plan_file)
    settings = _settings(bootstrap)
    services = {c.rollout_id: str(c.plan.get("service")) for _, c in commands(settings) if c.plan is not None}
    refuse_start(plan.rollout, plan.service, newest_decisions(settings), services)
    _say(settings, "start", plan.rollout, actor=actor, wait_s=wait, as_json=as_json, plan=plan.to_plain())


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
    settings = _settings(bootstrap)
    _refuse_early("pause", rollout, _read_log(settings, rollout))
    _say(settings, "pause", rollout, actor=actor, wait_s=wait, as_json=as_json, reason=reason)


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
    settings = _settings(bootstrap)
    _refuse_early("resume", rollout, _read_log(settings, rollout))
    _say(settings, "resume", rollout, actor=actor, wait_s=wait, as_json=as_json, reason=reason)


def rollback(
    rollout: RolloutId,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.", show_default=False)],
    bootstrap: Bootstrap = None,
    actor: Actor = "",
    wait: WaitS = 10.0,
    as_json: Json = False,
) -> None:
    """Roll back: weight 0 at every router. Final for this rollout id."""
    settings = _settings(bootstrap)
    log = _read_log(settings, rollout)
    before = log.newest.get(rollout)
    if before is not None and before.action.value == "rollback":
        note(f"{rollout} was rolled back before; nothing was written")
        _print(before, as_json)
        return
    _refuse_early("rollback", rollout, log)
    _say(settings, "rollback", rollout, actor=actor, wait_s=wait, as_json=as_json, reason=reason)


def refuse_start(
    rollout: str, service: str, newest: Mapping[str, GateDecision], services: Mapping[str, str]
) -> None:
    """Say now what the decider would only tell its log. ``services``: rollout id to service. Pure.

    :raises ConfigError: the id was used before, or another rollout of the service still runs.
    """
    from paritygate.cli.follow import is_over  # noqa: PLC0415

    if rollout in newest:
        raise ConfigError(
            f"rollout {rollout!r} was started before: an id is never used again, give the plan a new one"
        )
    for other, decision in newest.items():
        if not is_over(decision) and services.get(other) == service:
            raise ConfigError(
                f"rollout {other!r} of service {service!r} still runs (stage {decision.stage}): "
                f"wait for its end, or say 'paritygate rollback {other} --reason …'"
            )


def refuse_command(kind: str, rollout: str, newest: Mapping[str, GateDecision], started: Collection[str]) -> None:
    """Refuse a command that means nothing. Pure.

    :raises ConfigError: no such rollout, or it is rolled back, which is final.
    """
    from paritygate.cli.follow import unknown_rollout  # noqa: PLC0415

    known = {*newest, *started}
    if rollout not in known:
        raise unknown_rollout(rollout, sorted(known))
    decision = newest.get(rollout)
    if decision is not None and decision.action.value == "rollback":
        raise ConfigError(
            f"rollout {rollout!r} is rolled back (decision {decision.sequence}), which is final: no {kind}"
        )


def standing(decisions: Iterable[GateDecision]) -> str:
    """What the decisions of one rollout, in log order, make of it; empty without any. Pure.

    ``running``, ``paused``, ``promoted`` or ``rolled back``: the names and the rule of
    :class:`paritygate.rollouts.state.RolloutState`.
    """
    state = ""
    for decision in decisions:
        if decision.action.value == "rollback":
            return "rolled back"
        if decision.reason_code in {"paused", "still_paused"}:
            state = "paused"
        elif decision.reason_code in {"started", "resumed"} or decision.action.value == "promote" or not state:
            state = "running"
        if decision.weight == 100:
            state = "promoted"
    return state


def unfit(kind: str, state: str) -> bool:
    """Whether the decider refuses a command because of the state of its rollout (:func:`standing`). Pure."""
    wanted = {"pause": "running", "resume": "paused"}.get(kind)
    return wanted is not None and state not in {"", wanted}


def is_obeyed(kind: str, rollout: str, offset: int, decision: GateDecision) -> bool | None:
    """Whether ``decision`` says that the command at ``offset`` was obeyed; None where it says nothing of it. Pure.

    A refused command causes no decision, so any other decision beyond its offset proves the refusal: the decider
    writes the decision that a command causes before it reads on.
    """
    if decision.commands_next <= offset:
        return None
    return (
        decision.rollout_id == rollout
        and decision.commands_next == offset + 1
        and decision.reason_code == CAUSES[kind]
    )


class _Log(NamedTuple):
    """What the control topics say about one rollout and the others."""

    newest: Mapping[str, GateDecision]
    own: list[GateDecision]
    started: Collection[str]
    waiting: bool  # a command about it is written that no decision has reached yet


def _settings(bootstrap: str | None) -> KafkaSettings:
    settings = kafka_settings(bootstrap)
    require_topics(settings, ROLLOUTS.name, DECISIONS.name)
    return settings


def _read_log(settings: KafkaSettings, rollout: str) -> _Log:
    from paritygate.cli.follow import Newest, commands, decisions  # noqa: PLC0415

    newest, own, reached = Newest(), [], 0
    for decision in decisions(settings):
        newest.take(decision)
        reached = max(reached, decision.commands_next)
        if decision.rollout_id == rollout:
            own.append(decision)
    said = list(commands(settings))
    return _Log(
        newest=newest.decisions,
        own=own,
        started={command.rollout_id for _, command in said if command.kind == "start"},
        waiting=any(offset >= reached and command.rollout_id == rollout for offset, command in said),
    )


def _refuse_early(kind: str, rollout: str, log: _Log) -> None:
    """Refuse before anything is written what the decider would refuse."""
    refuse_command(kind, rollout, log.newest, log.started)
    state = standing(log.own)
    # With a command on its way the state may be another one by the time that ours is read.
    if not log.waiting and unfit(kind, state):
        note(f"refused: {_place(rollout, log.own)}; nothing was written")
        raise typer.Exit(1)


def _place(rollout: str, own: list[GateDecision]) -> str:
    if not own:
        return f"{rollout} has no decision"
    last = own[-1]
    return f"{rollout} is {standing(own)} (decision {last.sequence}, stage {last.stage})"


def _say(
    settings: KafkaSettings,
    kind: str,
    rollout: str,
    *,
    actor: str,
    wait_s: float,
    as_json: bool,
    reason: str = "",
    plan: dict[str, Any] | None = None,
) -> None:
    from paritygate.cli.follow import decisions, decisions_end  # noqa: PLC0415
    from paritygate.schemas.command import Command, CommandKind  # noqa: PLC0415

    command = Command(
        kind=CommandKind(kind),
        rollout_id=rollout,
        actor=actor or _user(),
        reason=reason,
        issued_at_ms=time.time_ns() // 1_000_000,
        plan=plan,
    )
    since = decisions_end(settings)
    offset = write(settings, settings.topic(ROLLOUTS.name), rollout, command.to_bytes())
    note(f"{kind} {rollout}: written to {ROLLOUTS.name} at offset {offset}, waiting for the decider")
    for decision in decisions(settings, start=since, follow=True, timeout_s=wait_s):
        obeyed = is_obeyed(kind, rollout, offset, decision)
        if obeyed:
            _print(decision, as_json)
            return
        if obeyed is not None:
            own = [d for d in decisions(settings) if d.rollout_id == rollout]
            note(f"refused: the decider passed {kind} over: {_place(rollout, own)}; the worker's log says why")
            raise typer.Exit(1)
    note(
        f"no decision took it into account within {wait_s:g} s; the command stands in the log. "
        "Does a worker run ('paritygate doctor')? Its log says why it refuses a command."
    )
    raise typer.Exit(1)


def _print(decision: GateDecision, as_json: bool) -> None:
    if as_json:
        print_json({"decision_id": decision.decision_id, **decision.model_dump(mode="json")})
        return
    print_line(
        f"{decision.rollout_id} #{decision.sequence}: {decision.action.value} at stage {decision.stage}, "
        f"{decision.weight} % of live traffic: {decision.reason}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"
