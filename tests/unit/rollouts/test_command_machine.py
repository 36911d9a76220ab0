"""Plan, commands and verdicts: in every history of the three the fold obeys a model of it.

:mod:`test_fold_machine` runs the real gates; :mod:`test_command_bugs` shows what this check finds.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.support.command_machine import run

#: Histories in every run, and with ``--hypothesis-profile=faults`` (make faults-commands).
HISTORIES = 150


def test_the_fold_is_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every history of plans, commands and verdicts the decisions are those of the model."""
    faults = settings.get_current_profile_name() == "faults"
    run(monkeypatch, settings().max_examples if faults else HISTORIES)
