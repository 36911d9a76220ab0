"""UnderWay: one piece of work that goes on beside its caller, until the next of its kind has to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class UnderWay:
    """At most one piece of work at a time, so that those of one kind end in the order in which they began."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Let the work go on; what was begun before has to have :meth:`ended`."""
        assert self._task is None, "the work before it was not waited for"
        self._task = asyncio.create_task(work)

    async def ended(self) -> None:
        """Wait for what was begun, if anything was; raises what that raised."""
        task, self._task = self._task, None
        if task is not None:
            await task

    def give_up(self) -> None:
        """Nobody will wait for it any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
