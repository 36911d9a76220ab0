"""The slots of what waits, and the bytes of its texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.pending import Pending
from paritygate.comparators.rows import Rows
from paritygate.schemas.arrays import I64
from paritygate.schemas.compiled import SPARE_BYTES
from paritygate.schemas.texts import Texts
from tests.support.rows import ids_of, rows


def add(pending: Pending, made: Rows) -> I64:
    return pending.add(made, np.zeros(len(made), np.int64))


def release(pending: Pending, slots: I64) -> Rows:
    return pending.release(slots, Texts.of([""] * len(slots)))


def answers_of(found: Rows) -> list[str]:
    return [text.removeprefix("answer ") for text in found.output.decoded()]


def test_slots_are_used_again_and_grow_with_need() -> None:
    """Ten thousand rows come and go ten times: memory for one time, content kept apart."""
    pending = Pending()
    for turn in range(10):
        ids = [f"{turn}-{i}" for i in range(10_000)]
        slots = pending.add(rows(ids, list(range(10_000))), np.arange(10_000))
        found = pending.release(slots[::-1], Texts.of(ids[::-1]))

        assert ids_of(found) == ids[::-1]
        assert found.output.decoded() == [f"answer {i}" for i in ids[::-1]]
    assert len(pending) == 0
    assert len(pending._live) < 20_000


@settings(max_examples=120, derandomize=True, deadline=None)
@given(data=st.data())
def test_rows_come_out_as_they_went_in(data: st.DataObject) -> None:
    """Labels, outputs and numbers, in any order of coming and going; what came out before stays as it was."""
    pending, held, told = Pending(), dict[int, tuple[str | None, str, int]](), list[tuple[Rows, Any]]()
    texts = st.sampled_from(["", "a", "ü" * 9, "x" * 1_500])
    for number in range(data.draw(st.integers(1, 8))):
        came = data.draw(st.lists(st.tuples(st.none() | texts, texts), max_size=7))
        slots = add(
            pending,
            rows([""] * len(came), offset=10 * number, labels=[a for a, _ in came], outputs=[b for _, b in came]),
        ).tolist()
        held |= {slot: (*said, 10 * number + i) for i, (slot, said) in enumerate(zip(slots, came, strict=True))}
        go = data.draw(st.permutations(sorted(held))) if held else []
        go = go[: data.draw(st.integers(0, len(go)))]
        told.append((release(pending, np.array(go, np.int64)), [held.pop(slot) for slot in go]))
        for found, want in told:
            said = zip(found.label.optional(), found.output.decoded(), found.offset.tolist(), strict=True)
            assert list(said) == want
    assert len(pending) == len(held)


def test_texts_that_are_gone_make_room() -> None:
    """A thousand times as many bytes come and go as ever wait: memory for what waits and what comes in."""
    pending = Pending()
    stays = add(pending, rows(["stays"], outputs=["s" * 1_000]))
    for _ in range(1_000):
        release(pending, add(pending, rows(["a", "b"], outputs=["x" * 2_000, "y" * 2_000])))

    assert len(pending._text) <= 2 * 5_000 + SPARE_BYTES
    assert pending.peek(stays, Texts.of([""])).output.decoded() == ["s" * 1_000]


def test_the_oldest_are_told_by_time_then_offset() -> None:
    """Order of arrival and place in memory do not matter."""
    pending = Pending()
    slots = add(pending, rows(["late", "c", "b", "a"], [9, 5, 5, 5], offset=10))
    add(pending, rows(["early", "other"], [1, 5], source=1))
    release(pending, slots[2:3])
    add(pending, rows(["d"], [5], offset=11))

    assert sorted(answers_of(release(pending, pending.oldest(3)))) == ["c", "d", "early"]
    assert answers_of(pending.peek(pending.oldest(0), Texts.of([]))) == []
    assert sorted(answers_of(pending.peek(pending.oldest(99), Texts.of([])))) == ["a", "late", "other"]


def test_waiting_offsets_are_told_by_source() -> None:
    """Sorted, one source at a time: what a snapshot keeps of them."""
    pending = Pending()
    slots = add(pending, rows(["a", "b", "c"], offset=7))
    add(pending, rows(["d"], source=1, offset=3))
    release(pending, slots[1:2])

    assert pending.offsets(0).tolist() == [7, 9]
    assert pending.offsets(1).tolist() == [3]


def test_the_oldest_waiting_event_is_known() -> None:
    """It holds its window back; where nothing waits there is none."""
    pending = Pending()
    assert pending.oldest_ms() is None
    add(pending, rows(["a", "b"], [-7, 5]))
    assert pending.oldest_ms() == -7
    release(pending, pending.before(0))

    assert pending.oldest_ms() == 5
