"""``paritygate version``: which release this is."""

from __future__ import annotations

from paritygate import __version__
from paritygate.cli.console import print_line


def version() -> None:
    """Print the version."""
    print_line(f"paritygate {__version__}")
