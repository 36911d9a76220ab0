"""How far the candidate may move the share of a label."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paritygate.comparators.labels import live_histogram, pair_histograms
from paritygate.comparators.tally import Tally
from paritygate.gates.verdict import Verdict, VerdictKind
from tests.support.codes import codes_of

First = Callable[..., Verdict]
GATE = "label_shift: {maximum: 0.05}"


def _labelled(pairs: int, moved: float = 0.0, without: float = 0.0) -> Tally:
    """Half late, half on time; ``moved`` of all pairs turn from late to on time, of ``without`` none is given."""
    ours = ["late", "on_time"] * (pairs // 2)
    changed, given = int(moved * pairs), pairs - int(without * pairs)
    theirs = [*["on_time"] * 2 * changed, *ours[2 * changed : given], *[None] * (pairs - given)]
    return Tally((), histograms=dict(pair_histograms(codes_of(ours), codes_of(theirs))))


def _live(tally: Tally, candidate: dict[str, int], baseline: dict[str, int]) -> Tally:
    for arm, counts in (("candidate", candidate), ("baseline", baseline)):
        seen = [label for label, count in counts.items() for _ in range(count)]
        tally.histograms |= live_histogram(arm, codes_of(seen))
    return tally


def test_labels_that_stay_are_proven(first: First) -> None:
    """A few changed ones are no matter while their shares stay."""
    found = first(GATE, _labelled(2000, moved=0.01))

    assert (found.kind, found.reason_code) == (VerdictKind.PASS, "proven")
    assert "every share proven to have moved by less than 5 %" in found.reason


def test_a_label_that_moves_too_far_fails(first: First) -> None:
    """A tenth of all answers has changed sides."""
    found = first(GATE, _labelled(4000, moved=0.1))

    assert (found.kind, found.reason_code) == (VerdictKind.FAIL, "breached")
    assert found.numbers["value"] == pytest.approx(0.1)
    assert "more than the 5 % allowed" in found.reason


def test_changes_that_cancel_are_no_shift(first: First) -> None:
    """As many go one way as the other: that is what label_change_rate is for."""
    both = _labelled(2000, moved=0.1)
    back = _labelled(2000, moved=0.1)
    names = {"up": "down", "down": "up", "baseline": "candidate", "candidate": "baseline"}
    back.histograms = {f"labels.{names[n.partition('.')[2]]}": h for n, h in back.histograms.items()}
    both.add(back)

    assert first(GATE, both).numbers["value"] == 0.0
    assert first(GATE, both).kind is not VerdictKind.FAIL


def test_a_candidate_that_gives_no_label_has_moved(first: First) -> None:
    """What is missing is a label of its own, never good."""
    found = first(GATE, _labelled(4000, without=0.2))

    assert found.kind is VerdictKind.FAIL
    assert found.numbers["candidate_without"] == 800
    assert "the share of no label" in found.reason


@pytest.mark.parametrize(("pairs", "moved"), [(60, 0.0), (60, 0.2), (20_000, 0.05)])
def test_what_is_not_certain_holds(first: First, pairs: int, moved: float) -> None:
    """Too few pairs, or a change at the limit itself."""
    assert first(GATE, _labelled(pairs, moved)).reason_code == "more_data"


def test_it_says_how_many_more_it_needs(first: First) -> None:
    """With those, and the same shares, it is a pass."""
    found = first(GATE, _labelled(200, moved=0.01))
    more = found.numbers["more_needed"]

    assert more is not None
    assert first(GATE, _labelled(200 + int(more) // 2 * 2 + 100, moved=0.01)).kind is VerdictKind.PASS


def test_a_pass_rests_on_the_stage_and_a_fail_on_the_rollout(first: First) -> None:
    """A good stage does not wash off what the rollout has shown; an empty one proves nothing."""
    assert first(GATE, _labelled(4000, moved=0.1), _labelled(2000)).kind is VerdictKind.FAIL
    assert first(GATE, _labelled(4000), Tally(())).reason_code == "no_data"
    assert first(GATE, Tally(())).reason_code == "no_data"


def test_counts_that_contradict_each_other_are_an_error(first: First) -> None:
    """Changes that the labels do not show come from no join of ours."""
    broken = _labelled(2000)
    broken.histograms["labels.up"] = broken.histograms["labels.up"] + 1

    assert first(GATE, broken).kind is VerdictKind.ERROR


def test_what_users_saw_is_shown_and_decides_nothing(first: First) -> None:
    """Unpaired labels tell that there is a change, not how large, so they neither fail nor hold."""
    tally = _live(_labelled(2000), {"late": 300, "on_time": 200}, {"late": 4000, "on_time": 6000})
    found = first(GATE, tally, weight=5)

    assert found.kind is VerdictKind.PASS
    assert found.reason.endswith("depend on the version (only shown: it says nothing of the size)")
    assert (found.numbers["log_e_live"] or 0.0) > 3.0
    assert "log_e_live" not in first(GATE, tally).numbers
