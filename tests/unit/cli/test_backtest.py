"""What ``backtest`` and ``replay`` say."""

from __future__ import annotations

import pytest

from paritygate.cli.backtest import instant_ms, lines_of, plain, side_by_side
from paritygate.cli.replay import compared
from paritygate.rollouts.audit import Audit
from paritygate.rollouts.backtest import Backtest, Backtested
from paritygate.schemas.errors import ConfigError
from tests.support.story import logs_of, story
from tests.unit.rollouts.conftest import plan

LOGS = logs_of(story())


def answer(maximum: float, *, same: bool = False) -> Backtested:
    policy = plan(promotion_gates={"error_rate": {"maximum": maximum}})
    test = Backtest(policy, "s1", LOGS.decisions, list(enumerate(LOGS.commands)), same=same)
    for offset, report in enumerate(LOGS.reports):
        test.apply_report(offset, report)
    return test.finish()


def test_both_endings_are_told_with_time_and_users() -> None:
    """The recorded rollback with its reason, and that the other policy never decided."""
    text = "\n".join(lines_of(answer(0.99), "s1"))

    assert "recorded: rollback after " in text
    assert "users' requests exposed: error_rate" in text
    assert "this policy: undecided at the end of the record" in text
    assert "not to be known: the record was rolled back at decision" in text


def test_false_alarms_are_told_with_their_gates() -> None:
    """Where both arms are the same."""
    assert "  both arms are the same: 1 false alarms (error_rate)" in lines_of(answer(0.1, same=True), "s1")


def test_the_table_shows_changes_at_their_places() -> None:
    """Holds that repeat are left out; what only one side decided leaves the other cell empty."""
    found = answer(0.99)
    rows = side_by_side(found.recorded, found.decisions)

    back = found.recorded[-1]
    assert rows[-1][0] == f"@{back.windows_next}"
    assert rows[-1][2].startswith(f"#{back.sequence} rollback shadow (0 %) gate_failed")
    assert rows[0][2] == rows[0][3] == "#0 hold shadow (0 %) started"


def test_the_plain_answer_holds_both_logs() -> None:
    """Machines get every decision of both sides."""
    found = answer(0.99)
    data = plain(found)

    assert (len(data["decisions"]), len(data["recorded"])) == (len(found.decisions), len(found.recorded))
    assert data["decided"] is None
    assert data["recorded_decided"]["took_ms"] == found.took_ms(found.recorded_decided)


def test_an_instant_without_a_zone_is_utc() -> None:
    """What is no instant is refused with an example."""
    assert instant_ms("2023-11-14T22:13:20") == instant_ms("2023-11-14T22:13:20Z") == 1_700_000_000_000
    with pytest.raises(ConfigError, match="is no instant such as"):
        instant_ms("yesterday")


def test_replay_tells_identical_different_and_unknowable_apart() -> None:
    """One word for each decision of the chain."""
    chain = LOGS.of("s1")
    changed = [d.model_copy(update={"reason": "x"}) if d is chain[-1] else d for d in LOGS.decisions]
    audit = Audit(list(enumerate(changed)), list(enumerate(LOGS.commands)), only={"s1"})
    hole = chain[1].windows_next - 1
    for offset, report in enumerate(LOGS.reports):
        if offset < hole:
            audit.apply_report(offset, report)
    audit.finish()
    whole = Audit(list(enumerate(changed)), list(enumerate(LOGS.commands)), only={"s1"})
    for offset, report in enumerate(LOGS.reports):
        whole.apply_report(offset, report)
    whole.finish()

    assert [said for _, said in compared(whole, "s1")] == ["identical"] * (len(chain) - 1) + ["another reason"]
    said = [said for _, said in compared(audit, "s1")]
    assert said[0] == "identical"
    assert all(each.startswith("cannot be known: offsets") for each in said[1:])
