"""Streaming: the open streams of all pages, by the page that they show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from paritygate.dashboard.answers import HEADERS
from paritygate.dashboard.parts import Part
from paritygate.dashboard.push import Channel

#: Most open streams.
MAX_STREAMS: Final = 1000


class Streams:
    """One channel a page. ``loop``: where the application runs; None before it does."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._channels: dict[str, Channel] = {}

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(c.viewers for c in self._channels.values())

    def open(self, request: Request, key: str, make: Callable[[], Sequence[Part]]) -> StreamingResponse:
        """A stream of the page ``key``, which ``make`` makes in a thread.

        :raises HTTPException: too many are open.
        """
        if self.viewers >= MAX_STREAMS:
            raise HTTPException(503, "too many streams are open")
        self._channels = {k: c for k, c in self._channels.items() if c.viewers}
        channel = self._channels.setdefault(key, Channel(make))
        version = request.headers.get("last-event-id", request.query_params.get("version", ""))
        headers = HEADERS | {"X-Accel-Buffering": "no"}
        return StreamingResponse(channel.stream(version), media_type="text/event-stream", headers=headers)

    def changed(self) -> None:
        """Something may have changed; from any thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    def let_go(self) -> None:
        """End all streams, from any thread: a server that waits for them would never end."""
        if self.loop is not None and not self.loop.is_closed():
            for channel in tuple(self._channels.values()):
                self.loop.call_soon_threadsafe(channel.let_go)

    def _wake(self) -> None:
        for channel in self._channels.values():
            channel.wake()
