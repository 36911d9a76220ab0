"""The outer join of one rollout, its memory of settled events, and the slots of what waits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.pairing import BASELINE, CANDIDATE, Pairing, Pending
from paritygate.comparators.rows import I64, Rows
from paritygate.comparators.seen import Seen


def rows(ids: list[str], at_ms: list[int] | int = 0, source: int = 0, offset: int = 0) -> Rows:
    """Rows of nothing but ids and times."""
    made = Rows.empty(len(ids))
    made.request_id[:] = ids
    made.event_at_ms[:] = at_ms
    made.source[:] = source
    made.offset[:] = np.arange(offset, offset + len(ids))
    made.output[:] = [f"answer {i}" for i in ids]
    made.label[:] = None
    return made


def ids_of(found: Rows) -> list[str]:
    ids: list[str] = found.request_id.tolist()
    return ids


def slots(values: list[int]) -> I64:
    return np.array(values, np.int64)


def test_slots_are_used_again_and_grow_with_need() -> None:
    """Ten thousand rows come and go ten times: memory for one time, content kept apart."""
    pending = Pending()
    for turn in range(10):
        ids = [f"{turn}-{i}" for i in range(10_000)]
        pending.add(rows(ids, list(range(10_000))))
        found = pending.release(pending.find(ids[::-1]))

        assert ids_of(found) == ids[::-1]
        assert found.output.tolist() == [f"answer {i}" for i in ids[::-1]]
    assert len(pending) == 0
    assert len(pending._live) < 20_000


def test_released_rows_let_go_of_their_strings() -> None:
    """A free slot holds no id, label or output."""
    pending = Pending()
    pending.add(rows(["a", "b"], [1, 2]))
    pending.expire(2)

    assert pending.peek("a") is None
    assert [o for o in pending._columns.output.tolist() if o] == ["answer b"]


def test_the_oldest_are_evicted_by_time_then_offset() -> None:
    """Order of arrival and place in memory do not matter."""
    pending = Pending()
    pending.add(rows(["late", "c", "b", "a"], [9, 5, 5, 5], offset=10))
    pending.add(rows(["early", "other"], [1, 5], source=1))
    pending.release(pending.find(["b"]))
    pending.add(rows(["d"], [5], offset=11))

    assert sorted(ids_of(pending.evict(3))) == ["c", "d", "early"]
    assert ids_of(pending.evict(0)) == []
    assert sorted(ids_of(pending.evict(99))) == ["a", "late", "other"]


def test_waiting_offsets_are_told_by_source() -> None:
    """Sorted, one source at a time: what a snapshot keeps of them."""
    pending = Pending()
    pending.add(rows(["a", "b", "c"], offset=7))
    pending.add(rows(["d"], source=1, offset=3))
    pending.release(pending.find(["b"]))

    assert pending.offsets(0).tolist() == [7, 9]
    assert pending.offsets(1).tolist() == [3]


def test_the_oldest_waiting_event_is_known() -> None:
    """It holds its window back; where nothing waits there is none."""
    pending = Pending()
    assert pending.oldest_ms() is None
    pending.add(rows(["a", "b"], [-7, 5]))
    assert pending.oldest_ms() == -7
    pending.expire(0)

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
    assert list(pairing.pending[BASELINE].slots) == ["c"]
    assert list(pairing.pending[CANDIDATE].slots) == ["b"]


def test_a_repeat_is_known_for_dedupe_ms_after_it_could_settle() -> None:
    """Whatever the place in its generation: known at least ``dedupe_ms``, forgotten after twice that."""
    for at_ms in (10_000, 10_500, 10_999):
        seen: Seen[str] = Seen(1_000)
        seen.add(BASELINE, ["a"], slots([at_ms]))
        seen.move(at_ms + 1_000)
        assert seen.known(BASELINE, {"a", "b"}) == {"a"}
        assert seen.known(CANDIDATE, {"a"}) == set()
        assert seen.settled_without(CANDIDATE, {"a"}) == {"a"}
        seen.move(at_ms + 2_000)
        assert seen.known(BASELINE, {"a"}) == set()


def test_a_horizon_that_steps_back_forgets_nothing_more() -> None:
    """Ids were once forgotten when the watermark stepped back and on again (two rotations in a row)."""
    seen: Seen[str] = Seen(1_000)
    seen.add_pairs(["a"], slots([10_000]), slots([10_000]))
    for horizon_ms in (10_900, 9_900, 11_000, 9_000, 11_100):
        seen.move(horizon_ms)

    assert seen.known(BASELINE, {"a"}) == seen.known(CANDIDATE, {"a"}) == {"a"}


def test_arms_that_disagree_on_time_are_remembered_by_their_own() -> None:
    """The older stamp is forgotten first, the other not with it."""
    seen: Seen[str] = Seen(1_000)
    seen.add_pairs(["a", "b"], slots([1_000, 5_000]), slots([5_000, 5_000]))
    seen.move(4_000)

    assert seen.known(BASELINE, {"a", "b"}) == {"b"}
    assert seen.known(CANDIDATE, {"a", "b"}) == {"a", "b"}


def test_events_beyond_memory_are_not_filed() -> None:
    """What is older than all that is remembered leaves no trace that a replay would not leave."""
    seen: Seen[str] = Seen(1_000)
    seen.move(10_000)
    seen.add(BASELINE, ["old", "new"], slots([2_000, 9_500]))
    seen.horizon.note(0, slots([2_000, 9_500, 9_000]), slots([3, 4, 9]))

    assert seen.known(BASELINE, {"old", "new"}) == {"new"}
    assert seen.horizon.first_offset(0) == 4
    assert seen.horizon.first_offset(1) is None


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
    waiting: tuple[dict[str, int], dict[str, int]] = ({}, {})
    shown: set[tuple[int, str]] = set()
    want_pairs: list[tuple[str, int, int]] = []
    want_repeats = 0
    for arm, request_id, at_ms in events:
        if (arm, request_id) in shown:
            want_repeats += 1
            continue
        shown.add((arm, request_id))
        other = waiting[1 - arm].pop(request_id, None)
        if other is None:
            waiting[arm][request_id] = at_ms
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
    assert [set(p.slots) for p in pairing.pending] == [set(w) for w in waiting]


@pytest.mark.parametrize("arm", [BASELINE, CANDIDATE])
def test_a_replay_rebuilds_what_waits_and_what_is_known(arm: int) -> None:
    """Rows that waited wait again; the others are remembered, for both arms once."""
    pairing = Pairing(1_000)
    again = rows(["a", "b", "b"], 500)
    pairing.replay(arm, again, np.array([True, False, False]))
    pairing.replay(1 - arm, rows(["b"], 500), np.array([False]))

    assert list(pairing.pending[arm].slots) == ["a"]
    assert pairing.seen.known(arm, {"a", "b"}) == {"b"}
    assert pairing.seen.known(1 - arm, {"a", "b"}) == {"b"}
    assert pairing.seen.settled_without(arm, {"b"}) == set()
