"""paritygate: model releases made boring.

This package is the address book: each room of the repository (``schemas/``, ``comparators/``, …) is
linked here once, so that code says ``paritygate.schemas`` and never claims a generic top-level name.
"""

from importlib import metadata

try:
    __version__ = metadata.version("paritygate")
except metadata.PackageNotFoundError:  # a checkout on sys.path, not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
