"""Machine code: that of compiled functions, kept for later processes.

Law: what is kept is used only while every source that it was compiled of is as it was then. It lies where numba's
own rules put it: in ``NUMBA_CACHE_DIR``, beside the source, or in the user's cache; where none of them can be
written, as in a read-only container, what lies beside the source is used all the same, and nothing is kept.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator
from numba.core.dispatcher import Dispatcher

#: What all compiled functions are made with.
_BASE: Final = "paritygate.schemas.compiled"


class _AsItLies(InTreeCacheLocator):
    """Beside the source, in a folder that need not be writable."""

    def ensure_cache_path(self) -> None:
        """:raises OSError: there is no folder."""
        if not Path(self.get_cache_path()).is_dir():  # type: ignore[no-untyped-call]
            raise OSError("no machine code lies beside the source")


class _Files(CompileResultCacheImpl):
    _locator_classes = [*CompileResultCacheImpl._locator_classes, _AsItLies]  # noqa: RUF012


class Kept(FunctionCache):
    """The kept machine code of one function, by the sources of its parts too.

    numba looks only at the file of a function to tell whether kept machine code is of it, and would go on with what
    older versions of its parts were compiled into. They lie in ``compiled``, and in the rooms that its file takes
    them of.
    """

    _impl_class = _Files

    def __init__(self, function: Callable[..., Any]) -> None:
        """:raises RuntimeError: there is no file of it."""
        super().__init__(function)  # type: ignore[no-untyped-call]
        parts = (part for part in function.__globals__.values() if isinstance(part, Dispatcher))
        rooms = sorted({_BASE, *(part.py_func.__module__ for part in parts)})
        self._sources = tuple(map(_source, rooms))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where that can be."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), *self._sources)  # type: ignore[no-untyped-call]


@cache
def _source(room: str) -> str:
    return hashlib.sha256(inspect.getsource(sys.modules[room]).encode()).hexdigest()
