from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.schemas.errors import DecodeError
from paritygate.schemas.standing import MAX_STANDING_BYTES, Standing
from paritygate.schemas.topics import BULK

COUNTS = st.integers(0, 2**62)
STANDINGS = st.builds(
    Standing,
    worker=st.text(max_size=40),
    generation=COUNTS,
    written_at_ms=COUNTS,
    ranges=st.dictionaries(st.sampled_from([t.name for t in BULK]), st.tuples(COUNTS, COUNTS)),
    bins=st.dictionaries(st.text(max_size=10), COUNTS, max_size=5),
    pending=COUNTS,
    replay_left=COUNTS,
    watermark_ms=st.none() | COUNTS,
    stages=st.dictionaries(st.text(max_size=10), st.floats(0, 1e9), max_size=3),
)


@given(STANDINGS)
def test_standing_comes_back(standing: Standing) -> None:
    """What is left beside an offset is read back equal."""
    assert Standing.from_text(standing.to_text()) == standing


def test_unaccounted_is_offsets_less_bins() -> None:
    """0 where every record is in one bin; its sign tells which way it is wrong."""
    standing = Standing(
        worker="w", generation=1, written_at_ms=0, ranges={"a": (3, 10), "b": (0, 2)}, bins={"paired": 9},
        pending=0, stages={},
    )  # fmt: skip
    assert (standing.offsets, standing.unaccounted) == (9, 0)
    assert replace(standing, bins={"paired": 8, "late": 2}).unaccounted == -1


def test_text_never_exceeds_what_brokers_take() -> None:
    """A longer one is left out whole: the offset itself must be committed."""
    standing = Standing(
        worker="w" * MAX_STANDING_BYTES, generation=1, written_at_ms=0, ranges={}, bins={}, pending=0, stages={}
    )
    assert standing.to_text() == ""


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", "1", '{"worker": "w"}', '{"ranges": [1]}', "\ud800"])
def test_other_texts_are_no_standing(text: str) -> None:
    """Whatever somebody else left there raises DecodeError."""
    with pytest.raises(DecodeError):
        Standing.from_text(text)
