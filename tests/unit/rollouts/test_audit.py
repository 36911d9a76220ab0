"""An audit says what holds, what does not, and what nobody can know any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from paritygate.rollouts.audit import Audit, Finding, Place, links
from paritygate.schemas.decision import GateDecision
from tests.support.story import logs_of, story

LOGS = logs_of(story())


def audited(
    decisions: Sequence[GateDecision] = LOGS.decisions, *, without: range | None = None, **more: Any
) -> dict[str, Finding]:
    """The findings by rollout; reports at the offsets ``without`` are gone."""
    audit = Audit(list(enumerate(decisions)), list(enumerate(LOGS.commands)), **more)
    for offset, report in enumerate(LOGS.reports):
        if without is None or offset not in without:
            audit.apply_report(offset, report)
    return {f.rollout_id: f for f in audit.finish()}


def test_a_whole_record_holds() -> None:
    """Every rollout: chain whole, every decision derived again, nothing unknowable."""
    found = audited()

    assert list(found) == ["r1", "s1", "r2"]
    assert all(f.holds and f.rederived == f.decisions and f.unknowable == 0 for f in found.values())
    assert {r: f.decisions for r, f in found.items()} == {r: len(LOGS.of(r)) for r in found}


@pytest.mark.parametrize("rollout", ["r1", "s1", "r2"])
def test_one_rollout_alone_gives_the_same(rollout: str) -> None:
    """Deriving one rollout only is a shorter way to the same finding."""
    assert audited(only={rollout}) == {rollout: audited()[rollout]}


def test_a_changed_decision_breaks_the_chain_and_is_named() -> None:
    """A weight that was changed afterwards: the next decision names what is not there, and the fields differ."""
    place = next(i for i, d in enumerate(LOGS.decisions) if d.action.value == "promote")
    before = LOGS.decisions[place]
    changed = [*LOGS.decisions]
    changed[place] = before.model_copy(update={"exposed_requests": 77})

    finding = audited(changed)[before.rollout_id]
    assert not finding.holds
    assert finding.broken is not None
    assert finding.broken.decision.sequence == before.sequence + 1
    assert finding.difference is not None
    assert finding.difference.fields == {"exposed_requests": (77, before.exposed_requests)}
    assert audited(changed)["s1"].holds


def test_a_decision_that_was_taken_out_breaks_the_chain() -> None:
    """The one after it names a decision that is not there."""
    chain = LOGS.of("r1")
    finding = audited([d for d in LOGS.decisions if d is not chain[2]])["r1"]

    assert finding.broken is not None
    assert finding.broken.decision == chain[3]
    assert finding.decisions == 2


def test_repetitions_and_forks_are_counted_and_break_nothing() -> None:
    """What a crash repeated, and what a second decider wrote for a moment, two decisions long."""
    chain = LOGS.of("s1")
    fork = chain[1].model_copy(update={"reason": "another decider"})
    further = chain[2].model_copy(update={"previous": fork.digest()})
    noisy = [*LOGS.decisions, chain[0], fork, further]

    assert [link.place for link in links(enumerate(noisy))][-3:] == [Place.REPEATED, Place.FORKED, Place.FORKED]
    finding = audited(noisy)["s1"]
    assert finding.holds
    assert (finding.repeated, finding.forked, finding.rederived) == (1, 2, len(chain))


def test_windows_that_are_gone_make_the_rest_unknowable_not_wrong() -> None:
    """Retention took the first windows: what rests on them is told by offset; what does not is still derived."""
    found = audited(without=range(6))
    r1 = found["r1"]

    assert r1.holds
    assert r1.unknowable > 0
    assert r1.rederived + r1.unknowable == r1.decisions
    assert r1.gone == ("offsets 0 to 5 of windows.v1",)
    assert (found["r2"].unknowable, found["r2"].rederived) == (0, found["r2"].decisions)


def test_a_compacted_hole_spares_what_was_decided_before_it() -> None:
    """A revision that compaction took in the middle: earlier decisions are still held against the record."""
    chain = LOGS.of("r1")
    hole = chain[-3].windows_next - 1
    finding = audited(without=range(hole, hole + 1))["r1"]
    assert finding.holds
    assert finding.gone == (f"offset {hole} of windows.v1",)
    early = [d for d in chain if d.windows_next <= hole]

    changed = [d.model_copy(update={"reason": "changed"}) if d is early[-1] else d for d in LOGS.decisions]
    difference = audited(changed, without=range(hole, hole + 1))["r1"].difference
    assert difference is not None
    assert difference.sequence == early[-1].sequence


def test_lost_commands_are_unknowable_too() -> None:
    """Without its start command a rollout cannot be derived, and that is no difference."""
    start = LOGS.of("r2")[0].commands_next - 1
    audit = Audit(
        list(enumerate(LOGS.decisions)),
        [c for c in enumerate(LOGS.commands) if c[0] != start],
        commands_lost=[range(start, start + 1)],
    )
    for offset, report in enumerate(LOGS.reports):
        audit.apply_report(offset, report)
    finding = next(f for f in audit.finish() if f.rollout_id == "r2")

    assert finding.holds
    assert (finding.rederived, finding.unknowable) == (0, finding.decisions)
    assert finding.gone == (f"offset {start} of rollouts.v1",)


def test_an_unreadable_report_is_passed_over_as_the_decider_did() -> None:
    """A record that is no report counts as read, not as gone."""
    audit = Audit(list(enumerate(LOGS.decisions[:1])), list(enumerate(LOGS.commands)))
    for offset in range(audit.windows_end):
        audit.apply_report(offset, None)

    assert [f.unknowable for f in audit.finish()] == [0]
