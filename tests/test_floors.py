"""The floors hold, and the tool that keeps them really bites."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT, copy_tree

LINT = Path(sys.executable).parent / "lint-imports"


def _lint(tree: Path) -> tuple[int, str]:
    """Exit code and words of import-linter over the package of a tree."""
    told = subprocess.run(
        [str(LINT), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    return told.returncode, told.stdout + told.stderr


def test_the_floors_hold() -> None:
    """No import of the project points up, sideways between edges, or at a clock from floors 1 to 4."""
    code, told = _lint(ROOT)

    assert code == 0, told


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("gates", "import paritygate.rollouts", "Floors: imports point down only"),
        ("router", "import paritygate.producers", "Floors: imports point down only"),
        ("dashboard", "import paritygate.cli", "Floors: imports point down only"),
        ("comparators", "import time", "Floors 1-4 do no I/O"),
        ("producers", "import numpy", "What services import stays light"),
    ],
)
def test_a_breach_is_caught(tmp_path: Path, room: str, line: str, contract: str) -> None:
    """An import that breaks a contract, planted into a copy of the sources, fails the check by its name."""
    tree = copy_tree(tmp_path / "tree")
    (tree / room / "planted.py").write_text(f'"""A breach."""\n\n{line}\n')

    code, told = _lint(tree)

    assert code == 1
    assert f"{contract}" in told
    assert f"paritygate.{room}.planted" in told
