"""What ``explain`` and ``audit verify`` say, for people and for machines."""

from __future__ import annotations

import pytest

from paritygate.cli.audit import lines_of as audit_lines
from paritygate.cli.audit import plain_finding
from paritygate.cli.explain import chosen, lines_of, plan_of
from paritygate.rollouts.audit import Audit, links
from paritygate.rollouts.explanation import explain
from paritygate.schemas.decision import Action
from paritygate.schemas.errors import ConfigError
from tests.support.story import Logs, logs_of, story

LOGS = logs_of(story())
COMMANDS = list(enumerate(LOGS.commands))
S1 = LOGS.of("s1")


def test_the_lines_hold_everything_that_a_decision_rests_on() -> None:
    """Rule, plan lines, verdict with value, interval, limit and counts, positions, sources, the one before."""
    back = S1[-1]
    plan = plan_of(COMMANDS, "s1", back.policy_digest)
    text = "\n".join(lines_of(explain(back, S1, plan), plan))
    failed = next(v for v in back.verdicts if v.verdict == "fail")

    assert back.action is Action.ROLLBACK
    assert f"s1 #{back.sequence} ({back.decision_id}): rollback at shadow, no live traffic" in text
    assert "rule 3 of judge(): a required gate, or the segments together, say fail" in text
    assert "promotion_gates.error_rate: {'measure': 'error_rate', 'maximum': 0.1" in text
    assert f"error_rate: fail: {failed.reason}" in text
    assert f"value {failed.numbers['value']:.4g}, interval " in text
    assert "limit 0.1" in text
    assert f"bad {failed.numbers['bad']}" in text
    assert f"windows.v1 before offset {back.windows_next}" in text
    assert f"rollouts.v1 before offset {back.commands_next}" in text
    assert "predictions.primary.v1[0] offsets 0 to" in text
    assert f"#{S1[-2].sequence} hold at shadow" in text
    assert "waits for" not in text


def test_a_command_is_told_by_its_offset() -> None:
    """No gate was asked, and the reader is sent to the command."""
    text = "\n".join(lines_of(explain(S1[0], S1), None))

    assert f"a command: started, rollouts.v1 offset {S1[0].commands_next - 1}" in text
    assert "none was asked" in text
    assert "its start command is not in rollouts.v1" in text
    assert "none: it is the first" in text


def test_a_decision_is_found_by_sequence_by_id_or_as_the_newest() -> None:
    """A fork can be looked at by its id; what is not there is refused with the newest."""
    fork = S1[1].model_copy(update={"evidence_digest": "another"})
    found = links(enumerate([*S1, fork]))

    assert chosen(found, "s1", None).decision == S1[-1]
    assert chosen(found, "s1", "2").decision == S1[2]
    assert chosen(found, "s1", S1[1].decision_id[:8]).decision == S1[1]
    assert chosen(found, "s1", fork.decision_id).place == "forked"
    with pytest.raises(ConfigError, match=f"has no decision '99'; the newest is {S1[-1].sequence}"):
        chosen(found, "s1", "99")


def test_the_plan_is_the_one_that_the_decisions_name() -> None:
    """A second start with another plan, which was refused, is not taken for it."""
    assert plan_of(COMMANDS, "s1", S1[0].policy_digest) is not None
    assert plan_of(COMMANDS, "s1", "of another plan") is None


def _audit(logs: Logs, first: int = 0) -> list[list[str]]:
    audit = Audit(list(enumerate(logs.decisions)), list(enumerate(logs.commands)))
    for offset, report in enumerate(logs.reports):
        if offset >= first:
            audit.apply_report(offset, report)
    findings = audit.finish()
    assert [plain_finding(f)["holds"] for f in findings] == [f.holds for f in findings]
    return [audit_lines(f) for f in findings]


def test_a_whole_record_is_one_line_a_rollout() -> None:
    """``N decisions, chain whole, re-derived N of N``."""
    count = len(S1)

    assert _audit(LOGS)[1] == [f"s1: {count} decisions, chain whole, re-derived {count} of {count}"]


def test_what_cannot_be_known_is_said_with_its_offsets() -> None:
    """Retention is no failure, and no silence."""
    lines = _audit(LOGS, first=6)[0]

    assert "they rest on offsets 0 to 5 of windows.v1, and those records are gone" in lines[1]


def test_a_difference_shows_both_values() -> None:
    """Sequence, field, what is recorded and what the logs give; and the break in the chain."""
    place = LOGS.decisions.index(S1[1])
    changed = [*LOGS.decisions]
    changed[place] = S1[1].model_copy(update={"weight": 1})
    text = "\n".join(_audit(Logs(LOGS.commands, LOGS.reports, changed))[1])

    assert "chain BROKEN" in text
    assert "names a decision 1 that is not there" in text
    assert f"decision 1 ({S1[1].reason_code}) is recorded with another weight" in text
    assert "weight: recorded 1, derived 0" in text
