"""Ladder: the stages of a rollout, from the shadow up to all of the traffic.

Law: weights rise strictly; a promotion goes exactly one rung up; a fall goes to the ground.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One rung.

    ``weight``: whole percent of live traffic that the candidate answers. ``minimum_ms``: event time to stay
    at least; ``minimum_pairs``: paired requests to see at least; both bind a promotion only.
    ``maximum_ms``: event time after which the plan's ``on_timeout`` applies, None = never.
    ``approval``: whether a person must say so, too, before the stage is left upward.
    """

    name: str
    weight: int
    minimum_ms: int
    minimum_pairs: int
    maximum_ms: int | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """Stages in climbing order.

    :raises ValueError: fewer than two stages, or weights that do not rise from 0 to 100.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        weights = [s.weight for s in self.stages]
        if len(weights) < 2 or weights[0] != 0 or weights[-1] != 100 or weights != sorted(set(weights)):
            raise ValueError(f"the weights of a ladder rise from 0 to 100, not {weights}")

    @property
    def first(self) -> Stage:
        """The ground: shadow, weight 0. Where a rollback leads."""
        return self.stages[0]

    @property
    def last(self) -> Stage:
        """All of the traffic."""
        return self.stages[-1]

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        :raises KeyError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {', '.join(s.name for s in self.stages)}")

    def next(self, stage: Stage) -> Stage | None:
        """The rung above ``stage``; None at the top."""
        above = self.stages.index(stage) + 1
        return self.stages[above] if above < len(self.stages) else None
