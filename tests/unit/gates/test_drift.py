"""How far the candidate's confidence may move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from paritygate.comparators.confidence import BUCKETS, pair_histograms
from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind

First = Callable[..., Verdict]
GATE = "confidence_shift: {maximum: 0.1}"
NOBODY = float("nan")


def _sure(pairs: int, moved: float = 0.0, without: float = 0.0) -> Tally:
    """Pairs that are 0.2 or 0.8 sure; of the baseline's unsure ones a part is surer with the candidate."""
    steps = np.arange(pairs)
    ours = np.where(steps % 2, 0.8, 0.2)
    theirs = np.where((steps % 2 == 0) & (steps < 2 * moved * pairs), 0.8, ours)
    theirs = np.where(steps >= pairs - without * pairs, NOBODY, theirs)
    return Tally((), histograms=dict(pair_histograms(ours, theirs)))


def test_a_confidence_that_stays_is_proven(first: First) -> None:
    """From about 3,000 equal pairs on."""
    found = first(GATE, _sure(3000))

    assert (found.kind, found.reason_code) == (VerdictKind.PASS, "proven")
    assert found.reason == "confidence apart by 0 % (surely 0 % to 10 %) on 3,000 pairs: proven below 10 %"


def test_a_confidence_that_moves_too_far_fails(first: First) -> None:
    """A fifth of the answers has become surer."""
    found = first(GATE, _sure(10_000, moved=0.2))

    assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
    assert found.numbers["value"] == pytest.approx(0.2)
    assert "more than the 10 % allowed" in found.reason


def test_a_candidate_that_gives_none_has_moved(first: First) -> None:
    """What is missing is a difference, not fewer observations."""
    found = first(GATE, _sure(10_000, without=0.3))

    assert found.kind is VerdictKind.FAIL
    assert found.numbers["candidate_without"] == 3000


@pytest.mark.parametrize(("pairs", "moved"), [(60, 0.0), (60, 0.5), (2000, 0.0), (100_000, 0.1)])
def test_what_is_not_certain_holds(first: First, pairs: int, moved: float) -> None:
    """Too few pairs, or a gap at the limit itself."""
    found = first(GATE, _sure(pairs, moved))

    assert (found.kind, found.reason_code) == (VerdictKind.INCONCLUSIVE, "more_data")


def test_it_says_how_many_more_it_needs(first: First) -> None:
    """With those the same shares are a pass."""
    found = first(GATE, _sure(2000, moved=0.02))
    more = found.numbers["more_needed"]

    assert more is not None
    assert first(GATE, _sure(2000 + int(more) + 100, moved=0.02)).kind is VerdictKind.PASS


def test_without_any_there_is_no_data(first: First) -> None:
    """Nothing measured holds, in the rollout or in the stage."""
    assert first(GATE, Tally(())).reason_code == "no_data"
    assert first(GATE, _sure(5000), Tally(())).reason_code == "no_data"


def test_a_pass_rests_on_the_stage_and_a_fail_on_the_rollout(first: First) -> None:
    """A good stage does not wash off what the rollout has shown."""
    assert first(GATE, _sure(10_000, moved=0.3), _sure(5000)).kind is VerdictKind.FAIL
    assert first(GATE, _sure(5000), _sure(200)).kind is VerdictKind.INCONCLUSIVE


def test_the_order_of_merging_is_of_no_matter(first: First) -> None:
    """The verdict of a sum is that of the whole."""
    parts: Sequence[Tally] = (_sure(3000), _sure(4000, moved=0.1), _sure(1000, without=0.1))
    ab, ba = Tally(()), Tally(())
    for part in parts:
        ab.add(part)
    for part in reversed(parts):
        ba.add(part)

    assert first(GATE, ab) == first(GATE, ba)
    assert all(len(h) == BUCKETS for h in ab.histograms.values())
