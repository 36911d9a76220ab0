"""A copy of the project's sources, for tests that build or break them.

Law: the working tree is never touched: a build leaves ``build/`` behind, and a stale one leaks deleted files
into the next wheel.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FILES = ("pyproject.toml", "README.md", "LICENSE")


def rooms() -> dict[str, Path]:
    """Each room's name and its real folder, as the address book ``src/paritygate`` links them."""
    return {
        link.name: link.resolve() for link in sorted((ROOT / "src" / "paritygate").iterdir()) if link.is_symlink()
    }


def copy_tree(into: Path) -> Path:
    """Copy rooms, address book and build settings, links as links."""
    into.mkdir(parents=True)
    for name in _FILES:
        if (ROOT / name).exists():  # one that is missing is the build's to complain of
            shutil.copy2(ROOT / name, into / name)
    for folder in ("src", *rooms()):
        shutil.copytree(
            ROOT / folder,
            into / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    return into
