"""What the decisions answer to a command, and what is refused before it is written. Pure.

Law: a command is written once and waited for, and only the decision that it caused is a success: the one that
ends its commands at the command's offset and gives the command's own reason code. Any other decision beyond the
offset, of whichever rollout, proves that the decider passed the command over. A misspelt rollout id is refused,
since a rollback of nothing would look like a success.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from paritygate.schemas.errors import ConfigError

if TYPE_CHECKING:
    from paritygate.schemas.decision import GateDecision

#: The reason code of the decision that each obeyed command causes: ``COMMANDED`` of ``rollouts.replay``, as text.
#: That room needs more than the base install has, and a rollback must work from a machine that has no more.
CAUSES: Mapping[str, str] = {
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "approve": "approved",
    "promote": "forced",
    "rollback": "operator_rollback",
    "abandon": "abandoned",
    "refused": "force_refused",  # what a promotion by force causes instead
}


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

    :raises ConfigError: no such rollout, or it is rolled back or abandoned, which is final.
    """
    from paritygate.cli.follow import unknown_rollout  # noqa: PLC0415

    known = {*newest, *started}
    if rollout not in known:
        raise unknown_rollout(rollout, sorted(known))
    decision = newest.get(rollout)
    if decision is not None and decision.action.value == "rollback":
        raise ConfigError(
            f"rollout {rollout!r} is {_end(decision)} (decision {decision.sequence}), which is final: no {kind}"
        )


def standing(decisions: Iterable[GateDecision]) -> str:
    """What the decisions of one rollout, in log order, make of it; empty without any. Pure.

    ``running``, ``paused``, ``promoted``, ``rolled back`` or ``abandoned``: the names and the rule of
    :class:`paritygate.rollouts.state.RolloutState`.
    """
    state = ""
    for decision in decisions:
        if decision.action.value == "rollback":
            return _end(decision)
        if decision.reason_code in {"paused", "still_paused"}:
            state = "paused"
        elif decision.reason_code in {"started", "resumed"} or decision.action.value == "promote" or not state:
            state = "running"
        if decision.weight == 100:
            state = "promoted"
    return state


def unfit(kind: str, state: str) -> bool:
    """Whether the decider refuses a command because of the state of its rollout (:func:`standing`). Pure."""
    wanted = {
        "pause": {"running"},
        "resume": {"paused"},
        "promote": {"running"},
        "approve": {"running", "paused"},
        "abandon": {"running", "paused"},
    }.get(kind)
    return wanted is not None and state not in {"", *wanted}


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


def _end(decision: GateDecision) -> str:
    return "abandoned" if decision.reason_code == "abandoned" else "rolled back"
