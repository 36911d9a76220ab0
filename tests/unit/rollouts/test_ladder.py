"""A ladder rises from 0 to 100, one rung at a time."""

from __future__ import annotations

import pytest

from paritygate.rollouts.ladder import Ladder, Stage
from tests.unit.rollouts.conftest import plan


def test_next_goes_one_rung_up_and_ends_at_the_top() -> None:
    """From the ground every stage is reached once, in order."""
    ladder = plan().ladder
    seen, stage = [], ladder.first
    while True:
        seen.append(stage)
        above = ladder.next(stage)
        if above is None:
            break
        stage = above

    assert tuple(seen) == ladder.stages
    assert (ladder.first.weight, ladder.last.weight) == (0, 100)
    assert ladder.stage("5") == ladder.stages[1]


@pytest.mark.parametrize("weights", [(), (0,), (0, 50), (5, 100), (0, 50, 50, 100), (0, 50, 5, 100)])
def test_weights_that_do_not_rise_from_0_to_100_make_no_ladder(weights: tuple[int, ...]) -> None:
    """Whoever builds a ladder in code is held to the same law as the file."""
    stages = tuple(Stage(name=str(i), weight=w, minimum_ms=0, minimum_pairs=1) for i, w in enumerate(weights))

    with pytest.raises(ValueError, match="rise from 0 to 100"):
        Ladder(stages)
