from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paritygate.rollouts.replay import chained
from paritygate.rollouts.vouched import Vouching, vouched
from tests.unit.rollouts.test_replay import WHOLE

FORGED = WHOLE[5].model_copy(update={"reason": "by an intruder"})


def test_a_signature_speaks_for_what_it_continues() -> None:
    """The last signed decision of a chain is enough; behind it nothing unsigned counts."""
    mine = [d for d in WHOLE if d.rollout_id == "r1"]
    asked: list[int] = []

    def is_signed(place: int) -> bool:
        asked.append(place)
        return place in {0, len(mine) - 2}

    assert vouched(mine, is_signed) == [True] * (len(mine) - 1) + [False]
    assert sorted(asked) == [0, len(mine) - 2, len(mine) - 1]


def test_what_lies_before_the_first_signature_counts() -> None:
    """A log from before there were keys is believed; one in which nothing is signed, too."""
    assert vouched(WHOLE, lambda i: i == 4) == [i <= 4 for i in range(len(WHOLE))]
    assert all(vouched(WHOLE, lambda _: False))
    assert vouched([], lambda _: True) == []


@given(st.integers(1, len(WHOLE)), st.sets(st.integers(0, len(WHOLE) - 1)))
def test_nothing_forged_is_ever_believed(place: int, unsigned: set[int]) -> None:
    """Wherever it is put behind a signature, and whichever of the genuine ones before the last are unsigned."""
    log = [*WHOLE[:place], FORGED, *WHOLE[place:]]
    last = {d.rollout_id: i for i, d in enumerate(log) if d is not FORGED}
    signed = {i for i in range(len(log)) if i != place and i not in unsigned} | {0} | set(last.values())
    believed = [d for d, counts in zip(log, vouched(log, signed.__contains__), strict=True) if counts]

    assert FORGED not in believed
    assert chained(believed) == WHOLE


@given(st.sets(st.integers(0, len(WHOLE) - 1)))
def test_a_log_that_is_read_as_it_comes_gives_the_same(unsigned: set[int]) -> None:
    """Given out late, where a signature comes late, but the same decisions, each chain in its order."""
    vouching, signed = Vouching(), [i not in unsigned for i in range(len(WHOLE))]
    found = [d for d, s in zip(WHOLE, signed, strict=True) for d in vouching.take(d, signed=s)]
    believed = [d for d, counts in zip(WHOLE, vouched(WHOLE, signed.__getitem__), strict=True) if counts]

    assert sorted(found, key=WHOLE.index) == believed
    for rollout in {d.rollout_id for d in WHOLE}:
        assert [d for d in found if d.rollout_id == rollout] == [d for d in believed if d.rollout_id == rollout]
