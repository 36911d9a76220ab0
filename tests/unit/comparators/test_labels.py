"""Labels of pairs and of what users saw, by a stable hash."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.buckets import BUCKET_COUNTS
from paritygate.comparators.labels import BUCKETS, NONE, bucket_of, live_histogram, pair_histograms
from tests.support.codes import codes_of

LABEL = st.one_of(st.none(), st.sampled_from(["late", "on_time", "", "Ünïcode"]))
NAMES = ("baseline", "candidate", "up", "down")


def test_the_hash_is_the_same_everywhere() -> None:
    """CRC-32 of UTF-8, not Python's salted hash; the empty label is a label, none is not."""
    assert bucket_of("late") == zlib.crc32(b"late") % 64
    assert bucket_of("") == 0
    assert bucket_of(None) == NONE == BUCKETS - 1
    assert bucket_of("\ud800") < NONE
    assert BUCKET_COUNTS["labels"] == BUCKETS


def test_a_change_leaves_one_label_and_enters_another() -> None:
    """What did not change moves nothing; a label that one arm did not give is a change."""
    found = pair_histograms(codes_of(["late", "late", None, None]), codes_of(["late", "on_time", "late", None]))
    late, on_time = bucket_of("late"), bucket_of("on_time")

    assert found["labels.up"].nonzero()[0].tolist() == sorted([on_time, late])
    assert (found["labels.down"][late], found["labels.down"][NONE]) == (1, 1)
    assert found["labels.baseline"].sum() == found["labels.candidate"].sum() == 3
    assert pair_histograms(codes_of([None]), codes_of([None])) == {}


def test_what_users_saw_without_a_label_is_left_out() -> None:
    """It is for looking at only."""
    found = live_histogram("candidate", codes_of([None, "late", "late"]))

    assert found["labels.live_candidate"][bucket_of("late")] == found["labels.live_candidate"].sum() == 2
    assert live_histogram("baseline", codes_of([None])) == {}


@settings(derandomize=True, max_examples=60)
@given(st.lists(st.tuples(LABEL, LABEL), max_size=30), st.integers(0, 30))
def test_parts_in_any_order_add_up(pairs: list[tuple[str | None, str | None]], cut: int) -> None:
    """A whole is the sum of its parts; up less down is candidate less baseline; swapped arms swap up and down."""
    shuffled = sorted(pairs, key=repr)
    whole, swapped = _of(pairs), _of([(b, a) for a, b in pairs])

    assert np.array_equal(whole, _of(shuffled[:cut]) + _of(shuffled[cut:]))
    assert np.array_equal(whole[2] - whole[3], whole[1] - whole[0])
    assert np.array_equal(whole, swapped[[1, 0, 3, 2]])


def _of(pairs: list[tuple[str | None, str | None]]) -> Any:
    found = pair_histograms(codes_of([a for a, _ in pairs]), codes_of([b for _, b in pairs]))
    return np.vstack([found.get(f"labels.{name}", np.zeros(BUCKETS, np.int64)) for name in NAMES])
