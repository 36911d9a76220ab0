"""Lean: what a worker loads before it reads, and what it must not load, though a library would.

Law: nothing is imported once reading has begun; it would hold up the join and the decider, and with them all that
was sent meanwhile. pyarrow looks for pandas at its first conversion to numpy, which is the first batch of events:
where pandas is installed that takes a second or several, and memory, for nothing that a worker uses.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import Any, Final

#: What pyarrow and numpy load when it is first needed.
_NEEDED: Final = ("numpy.ma", "pyarrow.compute")
_FORGONE: Final = "pandas"


class _Nowhere(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Nothing: what is not forgone is for others to find."""
        if name == _FORGONE:
            raise ModuleNotFoundError(f"a worker does without {name}", name=name)


def load_all() -> None:
    """Load what decoding will need, and make this process one without pandas unless it has loaded it already."""
    if not any(isinstance(finder, _Nowhere) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Nowhere())
    for name in _NEEDED:
        import_module(name)
