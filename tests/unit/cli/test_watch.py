from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from paritygate.cli import follow, watch
from paritygate.cli.follow import Declared, Rung
from paritygate.cli.main import main
from paritygate.schemas.decision import Action, GateDecision

PLAN = Declared((Rung("shadow", 0), Rung("5", 5), Rung("100", 100)))


def decision(sequence: int, weight: int, action: Action = Action.PROMOTE, rollout_id: str = "r1") -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=str(weight) if weight else "shadow",
        weight=weight,
        from_stage="5",
        reason_code="test",
        reason=f"reason {sequence}",
        at_ms=1_700_000_000_000,
        baseline_version="1",
        candidate_version="2",
        policy_digest="p",
        evidence_digest="e",
    )


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> list[GateDecision | BaseException]:
    """What comes after the start; an exception in it is raised at its place."""
    coming: list[GateDecision | BaseException] = []

    def decisions(*_: Any, **__: Any) -> Iterator[GateDecision]:
        for item in coming:
            if isinstance(item, BaseException):
                raise item
            yield item

    monkeypatch.setattr(watch, "require_topics", lambda *_: None)
    monkeypatch.setattr(follow, "decisions", decisions)
    monkeypatch.setattr(follow, "decisions_end", lambda _: {0: 1})
    monkeypatch.setattr(follow, "declared", lambda *_: PLAN)
    monkeypatch.setattr(follow, "newest_decisions", lambda _: {"r1": decision(3, 5)})
    return coming


WATCH = ["watch", "r1", "--bootstrap", "b:1", "--until-done"]


def test_pipe_gets_one_line_a_decision(
    stream: list[GateDecision | BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in force comes first, then each newer decision of this rollout, and the end ends it."""
    stream += [decision(3, 5), decision(9, 5, rollout_id="r2"), decision(4, 100), decision(5, 100)]

    assert main(WATCH) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("reason ")[1] for line in lines] == ["3", "4"]


def test_rollback_ends_with_1(
    stream: list[GateDecision | BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """A rollback ends the watch with exit code 1; --json gives one document a line."""
    stream += [decision(4, 0, Action.ROLLBACK)]

    assert main([*WATCH, "--json"]) == 1
    out, err = capsys.readouterr()
    assert [orjson.loads(line)["action"] for line in out.splitlines()] == ["promote", "rollback"]
    assert err == ""


def test_terminal_gets_one_picture(
    stream: list[GateDecision | BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a terminal the last picture stays: sentence and ladder."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    stream += [decision(4, 100)]

    assert main(WATCH) == 0
    out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert "r1 #4 promote at 100" in out
    assert "✓ shadow → ✓ 5 % → ● 100 %" in out


def test_ctrl_c_is_clean(stream: list[GateDecision | BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and no word on stderr."""
    stream += [KeyboardInterrupt()]

    assert main(WATCH) == 130
    assert capsys.readouterr().err == ""
