from __future__ import annotations

import pytest

from paritygate.cli import extras
from paritygate.cli.main import main


def test_missing_faust_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the base install the worker names the extra instead of failing to import."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)

    assert main(["worker", "--bootstrap", "127.0.0.1:1"]) == 2
    assert 'the worker needs faust: pip install "paritygate[stream]"' in capsys.readouterr().err


def test_bad_settings_stop_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that is no number is one line and exit code 2."""
    monkeypatch.setenv("PARITYGATE_WORKER_PARTITIONS", "four")

    assert main(["worker", "--bootstrap", "127.0.0.1:1"]) == 2
    assert "PARITYGATE_WORKER_PARTITIONS is 'four'" in capsys.readouterr().err
