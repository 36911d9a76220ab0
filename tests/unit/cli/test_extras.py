"""Optional packages are found without being imported."""

from __future__ import annotations

import sys
import types

import pytest

from paritygate.cli.extras import first_missing


def test_the_first_missing_package_is_named() -> None:
    """Installed ones are passed over; None when nothing is missing."""
    assert first_missing("orjson", "no_such_package", "neither_this") == "no_such_package"
    assert first_missing("orjson") is None


def test_a_module_without_a_spec_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """faust puts another object in its place when it is imported (looking for it then raised)."""
    odd = types.ModuleType("odd")
    odd.__spec__ = None
    monkeypatch.setitem(sys.modules, "odd", odd)

    assert first_missing("odd") is None
