"""Commands that no key speaks for change nothing, and every replay agrees, with whatever keys it is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from paritygate.rollouts.audit import Audit
from paritygate.rollouts.backtest import Backtest
from paritygate.rollouts.replay import Refold, named, replay
from paritygate.rollouts.review import deeds_of
from paritygate.schemas.command import Command
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import WindowReport
from tests.unit.rollouts.conftest import command, plan
from tests.unit.rollouts.test_replay import STORY, WHOLE, Record, body

#: What an intruder writes after every record: commands that would be obeyed wherever they fit.
FORGED = (
    command("rollback"), command("pause"), command("resume"), command("start", "x1", service="else"),
    command("start", "r2", owner="mallory"),
)  # fmt: skip


def mixed() -> tuple[list[Record], set[int]]:
    """The story with a forged command behind every record, and the offsets of those."""
    records: list[Record] = []
    forged, offset = set(), 0
    for i, record in enumerate(STORY):
        records.append(record)
        offset += isinstance(record, Command)
        records.append(FORGED[i % len(FORGED)])
        forged.add(offset)
        offset += 1
    return records, forged


RECORDS, INTRUDED = mixed()
COMMANDS = list(enumerate(r for r in RECORDS if isinstance(r, Command)))
REPORTS = list(enumerate(r for r in RECORDS if isinstance(r, WindowReport)))


def lived(records: Sequence[Record], refold: Refold, places: tuple[int, int] = (0, 0)) -> list[GateDecision]:
    """A decider with keys at work, from these positions of the two logs on."""
    made = []
    windows_next, commands_next = places
    for record in records:
        if isinstance(record, Command):
            made += refold.apply_command(commands_next, record, doubted=commands_next in INTRUDED)
            commands_next += 1
        else:
            made += refold.apply_report(windows_next, record)
            windows_next += 1
    return made


RECORDED = lived(RECORDS, Refold([]))


def said(decision: GateDecision) -> tuple[object, ...]:
    """A decision without its positions, and so without its place in the chain."""
    return decision.rollout_id, decision.sequence, decision.action, decision.stage, decision.reason, decision.counts


def test_a_doubted_command_changes_nothing() -> None:
    """The decisions are those of the story without it; a decider that doubts nothing is led astray."""
    astray = Refold([])
    for offset, forged in COMMANDS[:4]:
        astray.apply_command(offset, forged)

    assert [said(d) for d in RECORDED] == [said(d) for d in WHOLE]
    assert named(RECORDED).isdisjoint(INTRUDED)
    assert not replay(RECORDED, COMMANDS, REPORTS).identical
    assert "x1" not in {d.rollout_id for d in RECORDED}


@pytest.mark.parametrize(
    "doubted",
    [INTRUDED, range(len(COMMANDS))],
    ids=["what the keys of that time refused", "every command, as without keys"],
)
def test_every_replay_gives_the_recorded_bytes(doubted: Collection[int]) -> None:
    """What a recorded decision names is believed, so no key is needed to derive the record again."""
    found = replay(RECORDED, COMMANDS, REPORTS, doubted=doubted)
    audit = Audit(enumerate(RECORDED), COMMANDS, doubted=doubted)
    for offset, report in REPORTS:
        audit.apply_report(offset, report)

    assert found.first_difference is None
    assert body(found.decisions) == body(RECORDED)
    assert all(f.holds and f.rederived == f.decisions for f in audit.finish())


def test_the_policy_of_the_record_gives_the_record() -> None:
    """A backtest passes over what was forged, too."""
    test = Backtest(plan(), "r1", RECORDED, COMMANDS, doubted=range(len(COMMANDS)))
    for offset, report in REPORTS:
        test.apply_report(offset, report)

    assert test.finish().identical


@pytest.mark.parametrize("skip_settled", [False, True])
def test_a_restart_at_every_place_goes_on_with_the_same_bytes(skip_settled: bool) -> None:
    """Wherever a decider dies, with forged commands that it read and such that it did not."""
    for cut in range(0, len(RECORDS) + 1, 3):
        before = RECORDS[:cut]
        audit = lived(before, Refold([]))
        commands = [c for c in before if isinstance(c, Command)]
        reports = [r for r in before if isinstance(r, WindowReport)]
        refold = Refold(audit, enumerate(commands), skip_settled=skip_settled, doubted=INTRUDED)
        new = []
        for offset, report in enumerate(reports):
            if offset >= refold.windows_first:
                new += refold.apply_report(offset, report)
        new += refold.catch_up()
        new += lived(RECORDS[cut:], refold, (len(reports), len(commands)))

        assert refold.differences == [], f"cut {cut}"
        assert body([*audit, *new]) == body(RECORDED), f"cut {cut}"


def test_a_refused_start_with_a_used_id_settles_nothing() -> None:
    """A second start of a running rollout, with another service, does not make it one that was followed."""
    records = [command("start"), command("start", "r1", service="search"), command("start", "s1", service="search")]
    refold = Refold([])
    made = [d for offset, c in enumerate(records) for d in refold.apply_command(offset, c)]

    again = Refold(made, enumerate(records), skip_settled=True)
    assert {d.rollout_id for d in made} == {"r1", "s1"}
    assert again.windows_first == 0
    assert again._settled == frozenset()


def test_nobody_is_said_to_have_said_what_was_forged() -> None:
    """A review tells a forged command as such, and asks nothing about it; what a decision names was said."""
    why = dict.fromkeys(INTRUDED, "it is not signed")
    mine = [d for d in RECORDED if d.rollout_id == "r1"]
    deeds = {d.offset: d for d in deeds_of("r1", mine, COMMANDS, why | {4: "an old key"})}

    forged = [d for offset, d in deeds.items() if offset in INTRUDED and offset < mine[-1].commands_next]
    assert {d.came_of_it for d in forged} == {"no decision: it is not signed"}
    assert not any(d.believed for d in forged)
    assert all(d.believed for offset, d in deeds.items() if offset in named(mine))
