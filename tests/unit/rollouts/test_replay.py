"""Whoever folds the logs again arrives at the recorded bytes, or is told where not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from paritygate.rollouts.fold import Fold
from paritygate.rollouts.replay import COMMANDED, Refold, chained, replay, schedule
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import PARTITIONS, command, report, windows

Record = Command | WindowReport

#: Two services, refused commands between accepted ones, a pause, duplicates, rollbacks by hand and by gate.
STORY: tuple[Record, ...] = (
    command("pause"),
    *windows(0, 1),
    command("start"),
    command("start", "r2"),
    *windows(1, 3),
    command("start", "s1", service="search"),
    command("pause"),
    command("pause"),
    *windows(3, 5),
    *windows(3, 5, rollout="s1"),
    command("start", "r2"),
    command("resume"),
    command("resume"),
    report(4, 1),
    *windows(5, 6),
    report(5, 0, rollout="s1", errors=50),
    report(5, 1, rollout="s1"),
    command("rollback", "s1"),
    command("rollback"),
    command("start", "r2"),
    *windows(6, 9, rollout="r2", live=5),
    command("start", "s2", service="search"),
    *windows(7, 8, rollout="s2"),
    report(9, 1, rollout="r2", errors=3),
    command("pause", "s2"),
    report(9, 0, rollout="r2"),
)


def logs(records: Sequence[Record]) -> tuple[list[tuple[int, Command]], list[tuple[int, WindowReport]]]:
    commands = [r for r in records if isinstance(r, Command)]
    reports = [r for r in records if isinstance(r, WindowReport)]
    return list(enumerate(commands)), list(enumerate(reports))


def live(records: Sequence[Record]) -> list[GateDecision]:
    fold, made = Fold(), []
    for r in records:
        if isinstance(r, Command):
            made += fold.apply_command(fold.commands_next, r)
        else:
            made += fold.apply_report(fold.windows_next, r)
    return made


WHOLE = live(STORY)


def body(decisions: Sequence[GateDecision]) -> list[bytes]:
    return [d.to_bytes() for d in decisions]


def restarted(
    records: Sequence[Record], cut: int, audit: Sequence[GateDecision], *, skip_settled: bool
) -> tuple[Refold, list[GateDecision]]:
    """A decider that starts when ``cut`` records are in the logs and lives through the others as they come."""
    commands, reports = logs(records[:cut])
    refold = Refold(audit, commands, skip_settled=skip_settled)
    new: list[GateDecision] = []
    for offset, r in reports[refold.windows_first :]:
        new += refold.apply_report(offset, r)
    new += refold.catch_up()
    windows_next, commands_next = len(reports), len(commands)
    for record in records[cut:]:
        if isinstance(record, Command):
            new += refold.apply_command(commands_next, record)
            commands_next += 1
        else:
            new += refold.apply_report(windows_next, record)
            windows_next += 1
    return refold, new


def test_the_story_has_everything_in_it() -> None:
    """The test is worth something only while all kinds of decisions and refusals occur."""
    assert {d.action.value for d in WHOLE} == {"hold", "promote", "rollback"}
    assert {"started", "paused", "resumed", "operator_rollback", "gate_failed"} <= {d.reason_code for d in WHOLE}
    assert len(logs(STORY)[0]) > sum(d.reason_code in ("started", "paused", "resumed") for d in WHOLE) + 3


@pytest.mark.parametrize("skip_settled", [False, True])
def test_a_restart_at_every_cut_point_writes_the_same_bytes(skip_settled: bool) -> None:
    """Wherever the decider dies, its successor goes on as if nothing had happened."""
    for cut in range(len(STORY) + 1):
        audit = live(STORY[:cut])
        refold, new = restarted(STORY, cut, audit, skip_settled=skip_settled)

        assert refold.differences == [], f"cut {cut}"
        assert body([*audit, *new]) == body(WHOLE), f"cut {cut}"
        assert refold.caught_up
        assert len(refold.derived) <= len(audit)


def test_a_decision_that_was_lost_before_it_was_written_is_made_again() -> None:
    """The decider died between the fold and the audit topic; the report is still in the log."""
    after = [len(live(STORY[:cut])) for cut in range(len(STORY) + 1)]
    lost = [i for i, d in enumerate(WHOLE) if d.reason_code not in COMMANDED]
    for i in lost:
        cut = after.index(i + 1)
        refold, new = restarted(STORY, cut, WHOLE[:i], skip_settled=False)

        assert refold.differences == []
        assert body([*WHOLE[:i], *new]) == body(WHOLE)


def test_the_audit_is_reproduced_from_the_logs() -> None:
    """replay() finds every recorded decision again; what lies behind the last one is not looked at."""
    result = replay(WHOLE, *logs(STORY))
    early = replay(WHOLE[:5], *logs(STORY))

    assert result.identical
    assert result.first_difference is None
    assert body(result.decisions) == body(WHOLE)
    assert early.identical
    assert body(early.decisions) == body(WHOLE[:5])


def test_repetitions_and_a_second_deciders_forks_do_not_count() -> None:
    """First in log order wins; the rest is left out."""
    fork = WHOLE[3].model_copy(update={"reason": "another decider"})
    noisy = [*WHOLE[:4], WHOLE[2], fork, WHOLE[3], *WHOLE[4:], WHOLE[0]]

    assert body(chained(noisy)) == body(WHOLE)
    assert replay(noisy, *logs(STORY)).identical


def test_a_forged_decision_is_named() -> None:
    """A changed field, a decision that nothing caused, and one that was taken out."""
    promote = next(i for i, d in enumerate(WHOLE) if d.action.value == "promote")
    changed = [*WHOLE[:promote], WHOLE[promote].model_copy(update={"exposed_requests": 77})]
    quiet = next(
        i for i, (a, b) in enumerate(pairwise(WHOLE)) if a.windows_next + 1 < b.windows_next and i > promote
    )
    before = WHOLE[quiet]
    invented = before.model_copy(
        update={"sequence": before.sequence + 1, "previous": before.digest(), "reason_code": "floor_time",
                "windows_next": before.windows_next + 1}
    )  # fmt: skip
    last = [d for d in WHOLE if d.rollout_id == WHOLE[-1].rollout_id][-1]

    for_changed = replay(changed, *logs(STORY))
    for_invented = replay([*WHOLE[: quiet + 1], invented], *logs(STORY))
    for_missing = replay([d for d in WHOLE if d is not WHOLE[-2] or d is last], *logs(STORY))

    assert not for_changed.identical
    assert for_changed.first_difference is not None
    assert for_changed.first_difference.endswith("(proven) is recorded with another exposed_requests")
    assert not for_invented.identical
    assert for_invented.first_difference is not None
    assert "does not follow from the logs" in for_invented.first_difference
    assert not for_missing.identical


def test_refused_commands_have_a_place_too() -> None:
    """Every offset below the newest commands_next is scheduled, in rising order."""
    places = schedule(WHOLE)

    assert list(places) == list(range(WHOLE[-1].commands_next))
    assert list(places.values()) == sorted(places.values())
    assert schedule([]) == {}


def test_a_late_command_waits_until_the_record_is_repeated() -> None:
    """An operator's rollback that comes during the restart is applied after the record, before new windows."""
    cut = STORY.index(STORY[-1])
    audit = live(STORY[:cut])
    commands, reports = logs(STORY[:cut])
    refold = Refold(audit, commands)

    assert refold.apply_command(len(commands), command("rollback", "r2")) == []
    new = [d for offset, r in reports for d in refold.apply_report(offset, r)]

    assert [(d.rollout_id, d.reason_code) for d in new] == [("r2", "operator_rollback")]
    assert new[0].windows_next == max(d.windows_next for d in audit)


def test_windows_beyond_their_retention_leave_the_record_in_force() -> None:
    """A decider whose old windows are deleted goes on from the recorded head and says what it could not derive."""
    cut = len(STORY) - 1
    audit = live(STORY[:cut])
    commands, reports = logs(STORY[:cut])
    refold = Refold(audit, commands)
    for offset, r in reports[-3:]:
        assert refold.apply_report(offset, r) == []
    refold.catch_up()
    full = Fold()
    for record in STORY[:cut]:
        if isinstance(record, Command):
            full.apply_command(full.commands_next, record)
        else:
            full.apply_report(full.windows_next, record)

    assert refold.differences
    assert {k: (s.head, s.status, s.stage) for k, s in refold.fold.states().items()} == {
        k: (s.head, s.status, s.stage) for k, s in full.states().items()
    }


def test_a_log_that_was_made_anew_freezes_the_evidence_but_not_the_operator() -> None:
    """windows.v1 is shorter than the record: no report is believed, a rollback still works."""
    story: list[Record] = [*STORY[:-2], *windows(9, 25, rollout="r2")]
    audit = live(story)
    assert audit[-1].reason_code not in COMMANDED
    commands, _ = logs(story)
    refold = Refold(audit, commands)
    refold.catch_up()

    assert refold.apply_report(0, report(30, 0, rollout="r2", errors=60)) == []
    down = refold.apply_command(len(commands), command("rollback", "r2"))
    assert [d.reason_code for d in down] == ["operator_rollback"]
    assert down[0].windows_next == audit[-1].windows_next
    assert down[0].previous == [d for d in audit if d.rollout_id == "r2"][-1].digest()


def test_settled_rollouts_cost_no_reading() -> None:
    """With every rollout over, a restart begins at the end of the windows log."""
    short: list[Record] = [command("start"), *windows(0, 30), command("rollback")]
    audit = live(short)
    refold = Refold(audit, logs(short)[0], skip_settled=True)

    assert refold.windows_first == 30 * PARTITIONS
    assert refold.catch_up() == []
    assert refold.differences == []
    assert refold.fold.states()["r1"].head == audit[-1].digest()
