"""More time: by how much the low stages of a rollout last longer than written, and why.

Law: every circumstance that a plan names adds the written ``minimum_seconds`` of a low stage once more, and moves
its ``maximum_seconds`` by as much, so that the time to find proof in stays what it was. Nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from paritygate.rollouts.ladder import Stage

#: Why a rollout is to stay longer where few users see the candidate.
Circumstance = Literal["traffic_variable", "resource_heavy", "trust_or_money"]

CIRCUMSTANCES: Final[dict[Circumstance, str]] = {
    "traffic_variable": "traffic is highly variable",
    "resource_heavy": "the new model is resource-heavy",
    "trust_or_money": "the model affects customer trust or money movement",
}
#: Stages with at most so much of the live traffic, the shadow among them, are low; in percent.
LOW_PERCENT: Final = 10


def times(weight: int, circumstances: Sequence[Circumstance]) -> int:
    """How many times its written ``minimum_seconds`` a stage lasts. ``weight``: percent of live traffic."""
    return 1 + len(circumstances) if weight <= LOW_PERCENT else 1


def lengthened(stage: Stage, circumstances: Sequence[Circumstance]) -> Stage:
    """The stage as it is obeyed, made from the stage as it is written."""
    more_ms = (times(stage.weight, circumstances) - 1) * stage.minimum_ms
    return Stage(
        name=stage.name,
        weight=stage.weight,
        minimum_ms=stage.minimum_ms + more_ms,
        minimum_pairs=stage.minimum_pairs,
        maximum_ms=None if stage.maximum_ms is None else stage.maximum_ms + more_ms,
        approval=stage.approval,
    )


def sentence(stages: Sequence[Stage], circumstances: Sequence[Circumstance]) -> str:
    """What the circumstances do to a ladder, for people; empty without one."""
    if not circumstances:
        return ""
    low = ", ".join(s.name for s in stages if s.weight <= LOW_PERCENT)
    why = " and ".join(CIRCUMSTANCES[c] for c in circumstances)
    return f"{why}: {low} last {1 + len(circumstances)} times their minimum_seconds"
