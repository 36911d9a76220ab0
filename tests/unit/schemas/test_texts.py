"""Texts that stay bytes."""

from __future__ import annotations

from heapq import nsmallest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paritygate.schemas.texts import Texts

texts = st.lists(st.text(max_size=12) | st.sampled_from(["", "a", "a\0", "request-1", "request-2"]), max_size=20)

optional = st.lists(st.none() | st.sampled_from(["", "a", "a\0", "request-1", "request-2"]), max_size=20)


@given(texts, st.data())
def test_ids_are_the_texts_that_were_given(values: list[str], data: st.DataObject) -> None:
    """Whole, one by one, in part, and one after the other."""
    ids = Texts.of(values)
    rows = np.array(
        data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9) if values else st.just([])), int
    )

    assert ids.decoded() == [ids.text(i) for i in range(len(ids))] == values
    assert ids.take(rows).decoded() == [values[i] for i in rows]
    assert Texts.concat([ids, ids.take(rows), ids]).decoded() == [*values, *(values[i] for i in rows), *values]


@given(st.lists(st.none() | st.text(max_size=12), max_size=20), st.binary(max_size=9))
def test_copies_and_what_is_not_there(values: list[str | None], behind: bytes) -> None:
    """None stays none, and is no empty text; a copy has its own bytes, behind others or not."""
    ids = Texts.of(values)
    own = ids.copied(behind)

    assert ids.optional() == own.optional() == values
    assert ids.there.tolist() == [value is not None for value in values]
    assert own.buffer[: len(behind)].tobytes() == behind
    assert Texts.concat([ids, own]).optional() == [*values, *values]
    assert Texts.same(values[0] if values else None, 3).optional() == [values[0] if values else None] * 3


@given(optional, optional)
def test_equal_is_equal_bytes(left: list[str | None], right: list[str | None]) -> None:
    """Row by row, the length included; none is like none."""
    count = min(len(left), len(right))
    found = Texts.of(left[:count]).equal(Texts.of(right[:count]))

    assert found.tolist() == [a == b for a, b in zip(left, right, strict=False)]


@given(texts, st.integers(-1, 8))
def test_the_smallest_are_among_those_told(values: list[str], count: int) -> None:
    """By code points, as Python sorts; ties of the first eight bytes are all told."""
    rows = np.arange(len(values))
    told = [values[i] for i in Texts.of(values).smallest(rows, count)]

    assert nsmallest(count, told) == nsmallest(count, values)
