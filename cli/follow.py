"""Follow the control topics: the newest decision of each rollout, its ladder, and what routers applied.

Law: what a person is shown follows the rules that routers obey (newest sequence, rollback absorbing, a trusted
signature where keys are named), so that the page and the traffic cannot disagree. Records that do not decode are
skipped here; ``tail`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from paritygate.cli.kafka import end_offsets, read
from paritygate.schemas.errors import ConfigError, DecodeError
from paritygate.schemas.topics import DECISIONS, ROUTER_ACKS

if TYPE_CHECKING:
    from paritygate.rollouts.view import GateLine
    from paritygate.schemas.ack import RouterAck
    from paritygate.schemas.client import KafkaSettings
    from paritygate.schemas.command import Command
    from paritygate.schemas.decision import GateDecision


class Rung(NamedTuple):
    """One stage of a ladder as people see it: its name and whole percent of live traffic."""

    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class Declared:
    """What the plan of a rollout says of its ladder and of each gate; empty where there is no such plan."""

    rungs: tuple[Rung, ...] = ()
    lines: Mapping[str, GateLine] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Declared:
        """From a plan as it stands in its start command."""
        from paritygate.rollouts.view import lines_of  # noqa: PLC0415  (watch alone needs it)

        stages = plan.get("stages") or []
        told = (Rung(str(s["name"]), int(s["weight"])) for s in stages if "name" in s and "weight" in s)
        return cls(tuple(told), lines_of(plan))


def decisions(
    settings: KafkaSettings,
    *,
    start: dict[int, int] | None = None,
    follow: bool = False,
    timeout_s: float | None = None,
) -> Iterator[GateDecision]:
    """Decisions in log order, from the beginning or from ``start``; see :func:`paritygate.cli.kafka.read`.

    Where keys of deciders are named, those that one of them signed.
    """
    from paritygate.cli.said import decision_keys  # noqa: PLC0415
    from paritygate.schemas.decision import GateDecision  # noqa: PLC0415  (pydantic costs 40 ms)
    from paritygate.schemas.signature import DECISION  # noqa: PLC0415

    keys = decision_keys()
    for record in read(settings, settings.topic(DECISIONS.name), start=start, follow=follow, timeout_s=timeout_s):
        if keys is not None and keys.refusal(DECISION, record.value or b"", record.headers):
            continue
        try:
            yield GateDecision.from_bytes(record.value or b"")
        except DecodeError:
            continue


class Newest:
    """The decision in force per rollout, by the rules that routers obey."""

    def __init__(self) -> None:
        self.decisions: dict[str, GateDecision] = {}

    def take(self, decision: GateDecision) -> bool:
        """Take one decision; True when it is now the one in force."""
        from paritygate.router.state import Result, RoutingState  # noqa: PLC0415

        before = self.decisions.get(decision.rollout_id)
        state = RoutingState(rollout_id=decision.rollout_id)
        if (state.obey(before) if before else state).result_of(decision) is not Result.APPLIED:
            return False
        self.decisions[decision.rollout_id] = decision
        return True


def newest_decisions(settings: KafkaSettings) -> dict[str, GateDecision]:
    """The decision in force per rollout, in the order in which the rollouts first decided."""
    newest = Newest()
    for decision in decisions(settings):
        newest.take(decision)
    return newest.decisions


def commands(settings: KafkaSettings) -> Iterator[tuple[int, Command]]:
    """Offset and command of everything operators said so far; where keys are named, of what is to be believed."""
    from paritygate.cli.said import believed  # noqa: PLC0415  (as above)

    return believed(settings)


def declared(settings: KafkaSettings, rollout_id: str) -> Declared:
    """What the plan that a rollout was started with declares."""
    for _, command in commands(settings):
        if command.rollout_id == rollout_id and command.plan is not None:
            return Declared.of(command.plan)
    return Declared()


def acknowledgements(settings: KafkaSettings, rollout_id: str) -> list[RouterAck]:
    """The last acknowledgement of each router of a rollout, by router id."""
    from paritygate.schemas.ack import RouterAck  # noqa: PLC0415

    last: dict[str, RouterAck] = {}
    for record in read(settings, settings.topic(ROUTER_ACKS.name)):
        try:
            ack = RouterAck.from_bytes(record.value or b"")
        except DecodeError:
            continue
        if ack.rollout_id == rollout_id:
            last[ack.router_id] = ack
    return [last[router_id] for router_id in sorted(last)]


def is_over(decision: GateDecision) -> bool:
    """Did the rollout end with this decision: rolled back, or all of the traffic?"""
    return decision.action.value == "rollback" or decision.weight == 100


def decisions_end(settings: KafkaSettings) -> dict[int, int]:
    """Where the decisions that come from now on will begin."""
    return end_offsets(settings, settings.topic(DECISIONS.name))


def unknown_rollout(rollout_id: str, known: list[str]) -> ConfigError:
    """What to tell somebody who names a rollout that is not there."""
    near = get_close_matches(rollout_id, known, n=1)
    if near:
        return ConfigError(f"no rollout {rollout_id!r}, did you mean {near[0]!r}?")
    there = f"there are {', '.join(sorted(known)[:10])}" if known else "none was ever started"
    return ConfigError(f"no rollout {rollout_id!r}; {there}")
