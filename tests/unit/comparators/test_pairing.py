"""The outer join of one rollout, and its memory of settled events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.comparators.pairing import BASELINE, CANDIDATE, Pairing
from tests.support.rows import ids_of, rows


def waiting(pairing: Pairing, arm: int) -> set[str]:
    pending = pairing.pending[arm]
    return set(pairing.requests.ids(pending.place[pending._live]).decoded())


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
