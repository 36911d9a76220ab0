"""Roll: the routers of each rollout and what they really do, folded over ``router.acks.v1``. Pure.

Laws:

* The roll at an offset depends on the acknowledgements before it alone; whether a router lives is told by the
  broker's times of the acknowledgements, never by a clock. A worker puts it into its window reports, so that the
  decider, which reads no acknowledgement, folds it from the log like everything else.
* A router is known to be live while it has spoken within :data:`LIVE_MS` of the newest word about its rollout, and
  has not said that it leaves. One that fell silent is waited for so long and no longer: a default lease is over
  then, and it sends nothing to the candidate any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from paritygate.rollouts.ladder import Stage
from paritygate.schemas.ack import APPLIED, LEFT, RouterAck
from paritygate.schemas.report import RouterGroup

#: How long after the newest acknowledgement of its rollout a router counts as live; the default lease.
LIVE_MS: Final = 300_000
#: So many groups are told at most, those that are furthest behind first.
MAX_GROUPS: Final = 64
#: So many routers of a group are named.
NAMED: Final = 3


class Roll:
    """Newest acknowledgement of every live router. ``next``: the offset up to which it was folded."""

    def __init__(self) -> None:
        self.next = 0
        self._said: dict[str, dict[str, tuple[int, RouterAck]]] = {}

    def take(self, offset: int, heard_at_ms: int, ack: RouterAck | None) -> None:
        """One record of ``router.acks.v1`` and the broker's time; None where it is no acknowledgement."""
        self.next = offset + 1
        if ack is None:
            return
        said = self._said.setdefault(ack.rollout_id, {})
        said[ack.router_id] = heard_at_ms, ack
        newest = max(at_ms for at_ms, _ in said.values())
        for router in [r for r, (at_ms, a) in said.items() if at_ms < newest - LIVE_MS or a.state == LEFT]:
            del said[router]
        if not said:
            del self._said[ack.rollout_id]

    def of(self, rollout_id: str) -> tuple[RouterGroup, ...]:
        """The routers of a rollout, those with the same word as one group; furthest behind first."""
        groups: dict[tuple[int, int, str], list[str]] = {}
        for router, (_, ack) in self._said.get(rollout_id, {}).items():
            groups.setdefault((ack.sequence, ack.weight, ack.state), []).append(router)
        return tuple(
            RouterGroup(
                sequence=sequence,
                weight=weight,
                state=state,
                count=len(routers),
                named=tuple(sorted(routers)[:NAMED]),
            )
            for (sequence, weight, state), routers in sorted(groups.items())[:MAX_GROUPS]
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """Routers that have not applied a stage: how many of how many, and a sentence part that names some."""

    count: int
    known: int
    named: str


def missing(groups: Iterable[RouterGroup], stage: Stage, entered: int) -> Missing:
    """Who of the routers has not applied ``stage``, which decision number ``entered`` led into."""
    known, late = 0, []
    for group in groups:
        known += group.count
        if group.state != APPLIED or group.weight != stage.weight or group.sequence < entered:
            late.append(group)
    return Missing(sum(g.count for g in late), known, _named(late))


def _named(late: Sequence[RouterGroup]) -> str:
    said = [f"{name} ({_standing(group)})" for group in late for name in group.named][:NAMED]
    more = sum(g.count for g in late) - len(said)
    return ", ".join(said) + (f" and {more:,} more" if more else "")


def _standing(group: RouterGroup) -> str:
    return group.state if group.state != APPLIED else f"decision {group.sequence}, {group.weight} %"
