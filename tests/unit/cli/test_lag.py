from __future__ import annotations

from paritygate.cli.lag import behind

ENDS = {("t", 0): 100, ("t", 1): 50}


def test_lag_is_what_no_position_covers() -> None:
    """The distance of each partition's position from the end of its log, added up."""
    assert behind(ENDS, {("t", 0): 90, ("t", 1): 40}) == 20


def test_no_position_is_unknown_not_zero() -> None:
    """Without a position nothing is known; a partition that has none is left out."""
    assert behind(ENDS, {}) is None
    assert behind(ENDS, {("t", 0): 100}) == 0


def test_positions_beyond_the_end_are_no_negative_lag() -> None:
    """Positions that were committed after the ends were asked for do not make others look better."""
    assert behind(ENDS, {("t", 0): 120, ("t", 1): 45}) == 5
