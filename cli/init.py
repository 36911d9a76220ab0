"""``paritygate init``: a commented rollout.yaml and a small service to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from paritygate.cli.console import print_line
from paritygate.schemas.errors import ConfigError

FILES = ("rollout.yaml", "service.py")


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write rollout.yaml (the plan) and service.py (a FastAPI service with both versions) into DIR."""
    there = [name for name in FILES if (folder / name).exists()]
    if there and not force:
        raise ConfigError(f"{folder / there[0]} is there already; nothing was written (--force replaces it)")
    templates = files("paritygate.cli") / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).write_bytes((templates / name).read_bytes())
    except OSError as e:
        raise ConfigError(f"{folder} cannot be written: {e.strerror or type(e).__name__}") from None
    for name in FILES:
        print_line(f"wrote {folder / name}")
    print_line("next: put your models into service.py, edit rollout.yaml, then 'paritygate start rollout.yaml'")
