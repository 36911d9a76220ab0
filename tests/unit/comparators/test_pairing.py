"""The outer join of one rollout, its memory of settled events, and the slots of what waits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.pairing import BASELINE, CANDIDATE, Pairing, Pending
from paritygate.comparators.rows import Rows
from paritygate.schemas.arrays import I64
from paritygate.schemas.ids import Ids


def rows(ids: list[str], at_ms: list[int] | int = 0, source: int = 0, offset: int = 0) -> Rows:
    """Rows of nothing but ids and times."""
    made = Rows.empty(len(ids))
    made.request_id = Ids.of(ids)
    made.event_at_ms[:] = at_ms
    made["source"][:] = source
    made.offset[:] = np.arange(offset, offset + len(ids))
    made.output[:] = [f"answer {i}" for i in ids]
    made.label[:] = None
    return made


def ids_of(found: Rows) -> list[str]:
    return found.request_id.decoded()


def add(pending: Pending, made: Rows) -> I64:
    return pending.add(made, np.zeros(len(made), np.int64))


def release(pending: Pending, slots: I64) -> Rows:
    return pending.release(slots, Ids.of([""] * len(slots)))


def answers_of(found: Rows) -> list[str]:
    return [text.removeprefix("answer ") for text in found.output.tolist()]


def waiting(pairing: Pairing, arm: int) -> set[str]:
    pending = pairing.pending[arm]
    return set(pairing.requests.ids(pending.place[pending._live]).decoded())


def test_slots_are_used_again_and_grow_with_need() -> None:
    """Ten thousand rows come and go ten times: memory for one time, content kept apart."""
    pending = Pending()
    for turn in range(10):
        ids = [f"{turn}-{i}" for i in range(10_000)]
        slots = pending.add(rows(ids, list(range(10_000))), np.arange(10_000))
        found = pending.release(slots[::-1], Ids.of(ids[::-1]))

        assert ids_of(found) == ids[::-1]
        assert found.output.tolist() == [f"answer {i}" for i in ids[::-1]]
    assert len(pending) == 0
    assert len(pending._live) < 20_000


def test_released_rows_let_go_of_their_strings() -> None:
    """A free slot holds no label or output."""
    pending = Pending()
    add(pending, rows(["a", "b"], [1, 2]))
    release(pending, pending.before(2))

    assert [o for o in pending._rows.output.tolist() if o] == ["answer b"]


def test_the_oldest_are_told_by_time_then_offset() -> None:
    """Order of arrival and place in memory do not matter."""
    pending = Pending()
    slots = add(pending, rows(["late", "c", "b", "a"], [9, 5, 5, 5], offset=10))
    add(pending, rows(["early", "other"], [1, 5], source=1))
    release(pending, slots[2:3])
    add(pending, rows(["d"], [5], offset=11))

    assert sorted(answers_of(release(pending, pending.oldest(3)))) == ["c", "d", "early"]
    assert answers_of(pending.peek(pending.oldest(0), Ids.of([]))) == []
    assert sorted(answers_of(pending.peek(pending.oldest(99), Ids.of([])))) == ["a", "late", "other"]


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


def test_an_arrival_is_split_without_remainder() -> None:
    """Each row is a pair, waits, is late, or is a repeat."""
    pairing = Pairing(1_000)
    pairing.arrive(CANDIDATE, rows(["a", "b"], 5_000), None)
    got = pairing.arrive(BASELINE, rows(["a", "c", "old", "c", "a"], [5_000, 5_000, 10, 5_000, 5_000]), 4_000)

    assert ids_of(got.baseline) == ids_of(got.candidate) == ["a"]
    assert ids_of(got.first) == ["a", "c", "old"]
    assert ids_of(got.late) == ["old"]
    assert ids_of(got.repeats) == ["c", "a"]
    assert waiting(pairing, BASELINE) == {"c"}
    assert waiting(pairing, CANDIDATE) == {"b"}


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.sampled_from([BASELINE, CANDIDATE]), st.sampled_from("abcdef"), st.integers(0, 6)),
        max_size=60,
    ),
    sizes=st.lists(st.integers(1, 7), min_size=60, max_size=60),
)  # fmt: skip
def test_pairing_equals_a_plain_dict(events: list[tuple[int, str, int]], sizes: list[int]) -> None:
    """Any events in batches of any size: the pairs, repeats and waiting ids of two dicts and a set."""
    pairing = Pairing(1_000)
    alone: tuple[dict[str, int], dict[str, int]] = ({}, {})
    shown: set[tuple[int, str]] = set()
    want_pairs: list[tuple[str, int, int]] = []
    want_repeats = 0
    for arm, request_id, at_ms in events:
        if (arm, request_id) in shown:
            want_repeats += 1
            continue
        shown.add((arm, request_id))
        other = alone[1 - arm].pop(request_id, None)
        if other is None:
            alone[arm][request_id] = at_ms
        else:
            want_pairs.append((request_id, *((at_ms, other) if arm == BASELINE else (other, at_ms))))
    got_pairs: list[tuple[str, int, int]] = []
    got_repeats, position = 0, 0
    for size in sizes:
        part = events[position : position + size]
        position += size
        # One arm at a time, as a topic has it; runs of one arm keep their order.
        while part:
            run = [e for i, e in enumerate(part) if all(x[0] == part[0][0] for x in part[: i + 1])]
            part = part[len(run) :]
            got = pairing.arrive(run[0][0], rows([e[1] for e in run], [e[2] for e in run]), None)
            got_repeats += len(got.repeats)
            times = (got.baseline.event_at_ms.tolist(), got.candidate.event_at_ms.tolist())
            got_pairs.extend(zip(ids_of(got.baseline), *times, strict=True))

    assert sorted(got_pairs) == sorted(want_pairs)
    assert got_repeats == want_repeats
    assert [waiting(pairing, arm) for arm in (BASELINE, CANDIDATE)] == [set(a) for a in alone]
    assert [len(p) for p in pairing.pending] == [len(a) for a in alone]


@pytest.mark.parametrize("arm", [BASELINE, CANDIDATE])
def test_a_replay_rebuilds_what_waits_and_what_is_known(arm: int) -> None:
    """Rows that waited wait again; the others are remembered, for both arms once."""
    pairing = Pairing(1_000)
    again = rows(["a", "b", "b"], 500)
    pairing.replay(arm, again, np.array([True, False, False]))
    pairing.replay(1 - arm, rows(["b"], 500), np.array([False]))

    assert waiting(pairing, arm) == {"a"}
    at = pairing.requests.enter(again.request_id)
    assert pairing.requests.is_settled(arm, at).tolist() == [False, True, True]
    assert pairing.requests.is_settled(1 - arm, at).tolist() == [False, True, True]
