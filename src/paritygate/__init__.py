"""paritygate: model releases made boring.

This package is the address book: each room of the repository (``schemas/``, ``comparators/``, …) is
linked here once, so that code says ``paritygate.schemas`` and never claims a generic top-level name.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # Looked up when asked for: importlib.metadata costs every start of the command line 40 ms.
    if name != "__version__":
        raise AttributeError(f"module 'paritygate' has no attribute {name!r}")
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("paritygate")
    except metadata.PackageNotFoundError:  # a checkout on sys.path, not installed
        return "0+unknown"
