"""What is known of request ids: the table they stand in, and how long settled ones are remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.places import Fate
from paritygate.comparators.requests import Requests
from paritygate.schemas.arrays import I32, I64, U8
from paritygate.schemas.ids import hashes
from paritygate.schemas.texts import Texts

BASELINE, CANDIDATE = 0, 1


def times(*at_ms: int) -> I64:
    return np.array(at_ms, np.int64)


def colliding(buffer: U8, at: I64, size: I32) -> I64:
    """A hash of three values, 0 among them: almost all ids fall together."""
    return np.array(
        [buffer[a : a + s].sum() % 3 for a, s in zip(at.tolist(), size.tolist(), strict=True)], np.int64
    )


def settle_pairs(requests: Requests, ids: Sequence[str], baseline_at_ms: I64, candidate_at_ms: I64) -> None:
    places = requests.enter(Texts.of(ids))
    requests.settle(BASELINE, places, baseline_at_ms)
    requests.settle(CANDIDATE, places, candidate_at_ms)


def settled(requests: Requests, arm: int, ids: Sequence[str]) -> set[str]:
    """Which of the ids are remembered as settled."""
    known = requests.is_settled(arm, requests.enter(Texts.of(ids)))
    return {text for text, is_known in zip(ids, known.tolist(), strict=True) if is_known}


@pytest.mark.parametrize("hashed", [hashes, colliding])
def test_equal_ids_share_a_place_and_others_never_do(hashed: object) -> None:
    """Also where every hash falls together, in one batch, across batches, and after the table was made anew."""
    requests = Requests(1_000, hashed=hashed)  # type: ignore[arg-type]
    ids = [f"r{n}" for n in (*range(150), *range(0, 150, 7), *range(149, -1, -3))]
    places = requests.enter(Texts.of(ids))
    place_of = dict(zip(ids, places.tolist(), strict=True))
    assert [place_of[i] for i in ids] == places.tolist()
    assert len(set(place_of.values())) == len(place_of) == 150

    again = [f"r{n}" for n in range(140, 160)]
    assert [place_of.get(i) for i in again[:10]] == requests.enter(Texts.of(again)).tolist()[:10]


def test_equal_ids_of_a_batch_are_one_request() -> None:
    """In the order of the rows: the first waits, the others repeat it, from its slot."""
    requests = Requests(1_000)
    ids = ["a", "b", "a", "c", "b", "a"]
    places, fates, slots = requests.arrive(
        BASELINE, Texts.of(ids), times(*range(6)), late_ms=0, other_at_ms=times(), free=times(5, 4, 3, 2, 1, 0)
    )

    assert places.tolist() == requests.enter(Texts.of(ids)).tolist()
    assert [Fate(f).name for f in fates] == ["WAITS", "WAITS", "REPEAT", "WAITS", "REPEAT", "REPEAT"]
    assert slots.tolist() == [0, 1, 0, 2, 1, 0]


def test_what_is_forgotten_leaves_the_table() -> None:
    """A million ids come and go: places for what is remembered; what waits stays, wherever it is moved."""
    requests = Requests(1_000)
    waits = requests.enter(Texts.of(["waits"]))
    requests.waiting[waits, BASELINE] = 7
    for turn in range(100):
        ids = [f"{turn}-{n}" for n in range(10_000)]
        at_ms = np.full(10_000, turn * 1_000)
        settle_pairs(requests, ids, at_ms, at_ms)
        requests.move(turn * 1_000)
        assert len(requests) <= 20_000
        assert len(settled(requests, BASELINE, ids)) == 10_000
    assert len(requests._places._table) <= 1 << 16
    assert len(requests._places._text) < 1 << 20
    place_of, nothing = np.full(8, -1), np.full(8, -1)
    requests.tell(place_of, nothing)
    assert np.flatnonzero(place_of >= 0).tolist() == [7]
    assert (nothing == -1).all()
    assert requests.ids(place_of[[7]]).decoded() == ["waits"]
    assert requests.waiting[requests.enter(Texts.of(["waits"])), BASELINE].tolist() == [7]


@pytest.mark.parametrize("hashed", [hashes, colliding])
def test_ids_of_every_size_stay_whole_while_others_come_and_go(hashed: object) -> None:
    """Over blocks that are filled, left and used again: no id is read as another, or written over."""
    requests = Requests(1_000, hashed=hashed)  # type: ignore[arg-type]
    count = 3_000 if hashed is hashes else 60
    for turn in range(12):
        ids = [f"{turn}-{n}-".ljust(1 + (n * 7919) % 256, "x") for n in range(count)]
        places = requests.enter(Texts.of(ids))
        at_ms = np.where(np.arange(count) % 50, turn * 1_000, 90_000)  # one of fifty is remembered to the end
        requests.settle(BASELINE, places, at_ms)
        assert requests.ids(places).decoded() == ids
        kept = [f"{t}-{n}-".ljust(1 + (n * 7919) % 256, "x") for t in range(turn) for n in range(0, count, 50)]
        assert settled(requests, BASELINE, kept) == set(kept)
        requests.move(turn * 1_000 + 1_000)
    assert len(requests._places._text) < 3_000_000


def test_a_repeat_is_known_for_dedupe_ms_after_it_could_settle() -> None:
    """Whatever the place in its slice: known at least ``dedupe_ms``, forgotten after twice that."""
    for at_ms in (10_000, 10_500, 10_999):
        requests = Requests(1_000)
        requests.settle(BASELINE, requests.enter(Texts.of(["a"])), times(at_ms))
        requests.move(at_ms + 1_000)
        assert settled(requests, BASELINE, ["a", "b"]) == {"a"}
        assert settled(requests, CANDIDATE, ["a"]) == set()
        requests.move(at_ms + 2_000)
        assert settled(requests, BASELINE, ["a"]) == set()


def test_a_horizon_that_steps_back_forgets_nothing_more() -> None:
    """Ids were once forgotten when the watermark stepped back and on again (two rotations in a row)."""
    requests = Requests(1_000)
    settle_pairs(requests, ["a"], times(10_000), times(10_000))
    for horizon_ms in (10_900, 9_900, 11_000, 9_000, 11_100):
        requests.move(horizon_ms)

    assert settled(requests, BASELINE, ["a"]) == settled(requests, CANDIDATE, ["a"]) == {"a"}


def test_arms_that_disagree_on_time_are_remembered_by_their_own() -> None:
    """The older stamp is forgotten first, the other not with it."""
    requests = Requests(1_000)
    settle_pairs(requests, ["a", "b"], times(1_000, 5_000), times(5_000, 5_000))
    requests.move(4_000)

    assert settled(requests, BASELINE, ["a", "b"]) == {"b"}
    assert settled(requests, CANDIDATE, ["a", "b"]) == {"a", "b"}


def test_events_beyond_memory_are_not_remembered() -> None:
    """What is older than all that is remembered leaves no trace that a replay would not leave."""
    requests = Requests(1_000)
    requests.move(10_000)
    requests.settle(BASELINE, requests.enter(Texts.of(["old", "new"])), times(2_000, 9_500))
    requests.horizon.note(0, times(2_000, 9_500, 9_000), times(3, 4, 9))

    assert settled(requests, BASELINE, ["old", "new"]) == {"new"}
    assert len(requests) == 1
    assert requests.horizon.first_offset(0) == 4
    assert requests.horizon.first_offset(1) is None


@pytest.mark.parametrize("first_ms", [0, 10_000])
def test_an_event_of_another_age_does_not_blind_the_memory(first_ms: int) -> None:
    """A producer whose clock stands at 1970 came first: what comes now is remembered, bounded and forgotten."""
    now_ms = 1_796_000_000_000
    requests = Requests(1_000, max_keys=8)
    requests.settle(BASELINE, requests.enter(Texts.of(["old"])), times(first_ms))
    requests.settle(BASELINE, requests.enter(Texts.of(["a"])), times(now_ms))
    assert settled(requests, BASELINE, ["a"]) == {"a"}
    requests.move(now_ms + 3_000)
    assert settled(requests, BASELINE, ["old", "a"]) == set()
    for n in range(40):
        requests.settle(BASELINE, requests.enter(Texts.of([f"n{n}"])), times(now_ms + 3_000 + 500 * n))
    assert 8 <= len(requests) <= 16


kinds = st.sampled_from(["pairs", "baseline", "candidate", "move"])
keys = st.lists(st.integers(0, 60), min_size=1, max_size=5)


@given(st.lists(st.tuples(kinds, keys, st.integers(0, 9_000)), max_size=80), st.sampled_from([hashes, colliding]))
@settings(max_examples=200, deadline=None)
def test_memory_is_a_dict_with_an_age(acts: list[tuple[str, list[int], int]], hashed: object) -> None:
    """Against a plain dict: a request is known while its slice is remembered, and never more than the bound are."""
    requests = Requests(1_000, max_keys=8, hashed=hashed)  # type: ignore[arg-type]
    known: dict[tuple[int, str], int] = {}
    for act, numbers, at_ms in acts:
        if act == "move":
            requests.move(at_ms)
            continue
        ids = list(dict.fromkeys(map(str, numbers))) if act == "pairs" else list(map(str, numbers))
        at = np.arange(at_ms, at_ms + len(ids))
        places = requests.enter(Texts.of(ids))
        arms = {"pairs": (0, 1), "baseline": (0,), "candidate": (1,)}[act]
        for arm in arms:
            requests.settle(arm, places, at)
            for text, newest in zip(ids, at.tolist(), strict=True):
                known[arm, text] = max(newest, known.get((arm, text), newest))
        assert len(requests) <= 16
        oldest_ms = requests.horizon.from_ms
        remembered = {key for key, t in known.items() if oldest_ms is None or t >= oldest_ms}
        for arm in (BASELINE, CANDIDATE):
            expected = {text for a, text in remembered if a == arm}
            assert settled(requests, arm, [str(k) for k in range(61)]) == expected
        assert len(requests) == len({text for _, text in remembered})
