"""Say something to the decider, and see what it decides.

Law: a command is written once and waited for; which decision is its answer, and what is refused before it is
written, is said by ``cli.answer``.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from paritygate.cli.answer import is_obeyed, refuse_command, standing, unfit
from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics, write
from paritygate.cli.said import SIGNING_KEY, signature
from paritygate.schemas.topics import DECISIONS, ROLLOUTS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.command import Command
    from paritygate.schemas.decision import GateDecision


class Log(NamedTuple):
    """What the control topics say about one rollout and the others."""

    newest: Mapping[str, GateDecision]
    own: list[GateDecision]
    started: Collection[str]
    waiting: bool  # a command about it is written that no decision has reached yet


def control_settings(bootstrap: str | None) -> KafkaSettings:
    """Where the control topics are.

    :raises ConfigError: no broker is named, none answers, or it lacks the topics.
    """
    settings = kafka_settings(bootstrap)
    require_topics(settings, ROLLOUTS.name, DECISIONS.name)
    return settings


def read_log(settings: KafkaSettings, rollout: str) -> Log:
    """Everything that the control topics say."""
    from paritygate.cli.follow import Newest, commands, decisions  # noqa: PLC0415

    newest, own, reached = Newest(), [], 0
    for decision in decisions(settings):
        newest.take(decision)
        reached = max(reached, decision.commands_next)
        if decision.rollout_id == rollout:
            own.append(decision)
    said = list(commands(settings))
    return Log(
        newest=newest.decisions,
        own=own,
        started={command.rollout_id for _, command in said if command.kind == "start"},
        waiting=any(
            offset >= reached and command.rollout_id == rollout and command.kind != "acknowledge"
            for offset, command in said
        ),
    )


def refuse_early(kind: str, rollout: str, log: Log) -> None:
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


def order(
    kind: str,
    rollout: str,
    *,
    reason: str,
    bootstrap: str | None,
    actor: str,
    wait_s: float,
    as_json: bool,
    place: Callable[[Log], str] | None = None,
) -> None:
    """Read where the rollout stands, refuse what the decider would refuse, then :func:`say` it.

    ``place``: the stage that the command speaks of, where it speaks of one.
    """
    settings = control_settings(bootstrap)
    log = read_log(settings, rollout)
    refuse_early(kind, rollout, log)
    stage = None if place is None else place(log)
    say(settings, kind, rollout, actor=actor, wait_s=wait_s, as_json=as_json, reason=reason, stage=stage)


def say(
    settings: KafkaSettings,
    kind: str,
    rollout: str,
    *,
    actor: str,
    wait_s: float,
    as_json: bool,
    reason: str = "",
    plan: dict[str, Any] | None = None,
    stage: str | None = None,
) -> None:
    """Write one command, wait for the decision that it causes and print it.

    :raises typer.Exit: with 1, it was refused, or no decision came in time.
    """
    from paritygate.cli.follow import decisions, decisions_end  # noqa: PLC0415
    from paritygate.schemas.command import Command, CommandKind  # noqa: PLC0415

    command = Command(
        kind=CommandKind(kind),
        rollout_id=rollout,
        actor=actor or user(),
        reason=reason,
        issued_at_ms=_now_ms(),
        plan=plan,
        stage=stage,
    )
    since = decisions_end(settings)
    offset = write_command(settings, command)
    note(f"{kind} {rollout}: written to {ROLLOUTS.name} at offset {offset}, waiting for the decider")
    for decision in decisions(settings, start=since, follow=True, timeout_s=wait_s):
        obeyed = is_obeyed(kind, rollout, offset, decision)
        if obeyed:
            show(decision, as_json)
            return
        if obeyed is not None and is_obeyed("refused", rollout, offset, decision):
            note(f"refused (decision {decision.sequence}): {decision.reason}")
            raise typer.Exit(1)
        if obeyed is not None:
            own = [d for d in decisions(settings) if d.rollout_id == rollout]
            note(
                f"refused: the decider passed {kind} over: {_place(rollout, own)}; the worker's log says why"
                f"{_unsigned()}"
            )
            raise typer.Exit(1)
    note(
        f"no decision took it into account within {wait_s:g} s; the command stands in the log. "
        f"Does a worker run ('paritygate doctor')? Its log says why it refuses a command.{_unsigned()}"
    )
    raise typer.Exit(1)


def _unsigned() -> str:
    """What may be the matter where no key is set."""
    return "" if os.environ.get(SIGNING_KEY) else f" (it was not signed: {SIGNING_KEY} is not set)"


def acknowledge_decision(settings: KafkaSettings, rollout: str, sequence: int, *, actor: str, reason: str) -> int:
    """Put an acknowledgement into the log; its offset. No decision answers it."""
    from paritygate.schemas.command import Command, CommandKind  # noqa: PLC0415

    command = Command(
        kind=CommandKind.ACKNOWLEDGE,
        rollout_id=rollout,
        actor=actor or user(),
        reason=reason,
        issued_at_ms=_now_ms(),
        sequence=sequence,
    )
    return write_command(settings, command)


def write_command(settings: KafkaSettings, command: Command) -> int:
    """Put a command into the log, signed where a key is set; its offset.

    :raises ConfigError: the key cannot be read.
    :raises BrokerUnavailableError: the broker did not take it.
    """
    topic, headers = settings.topic(ROLLOUTS.name), signature(command)
    return write(settings, topic, command.rollout_id, command.to_bytes(), headers)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def show(decision: GateDecision, as_json: bool) -> None:
    """One decision as a line, or as JSON."""
    if as_json:
        print_json({"decision_id": decision.decision_id, **decision.model_dump(mode="json")})
        return
    print_line(
        f"{decision.rollout_id} #{decision.sequence}: {decision.action.value} at stage {decision.stage}, "
        f"{decision.weight} % of live traffic: {decision.reason}"
    )


def user() -> str:
    """The name of whoever runs this shell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"
