"""Which optional packages are there, without importing them."""

from __future__ import annotations

from importlib.util import find_spec


def first_missing(*names: str) -> str | None:
    """The first of the packages that is not installed; None when all are."""
    return next((name for name in names if not _is_there(name)), None)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        # Imported already, and without a spec: faust replaces its module object.
        return True
