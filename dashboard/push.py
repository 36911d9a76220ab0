"""Push: changes of a page to all who look at it, as server-sent events.

Law: a page is made once for all of its viewers, at most once a second, and only the parts that changed are sent. A
viewer that does not keep up is let go; its browser comes back and gets the whole page.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final

import orjson

from paritygate.dashboard.parts import Part

#: Least time between two makings of a page, how often one is made anew without a change (things go stale by
#: themselves), and how often a quiet stream says that it lives.
EVERY_S: Final = 1.0
ANYWAY_S: Final = 5.0
HEARTBEAT_S: Final = 15.0
#: Messages that wait for one viewer.
QUEUED: Final = 32
_LET_GO: Final = b""

Make = Callable[[], Sequence[Part]]


def digest_of(parts: Sequence[Part]) -> str:
    """Names a state of a page, so that a browser can say which one it has."""
    return hashlib.sha256("\0".join(p.html for p in parts).encode()).hexdigest()[:16]


class Channel:
    """One page and its viewers. ``make`` is called in a thread."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._viewers: set[asyncio.Queue[bytes]] = set()
        self._known: dict[str, str] = {}
        self._version = ""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many look on."""
        return len(self._viewers)

    def wake(self) -> None:
        """Something may have changed. To be called in the event loop."""
        self._changed.set()

    def let_go(self) -> None:
        """End every stream. To be called in the event loop."""
        for queue in tuple(self._viewers):
            self._end(queue)

    async def stream(self, version: str) -> AsyncIterator[bytes]:
        """Events for one viewer, whose page is that of ``version`` (empty: unknown)."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        self._viewers.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield b"retry: 2000\n\n"
            if self._known and version != self._version:
                yield self._message(self._known)
            elif not self._known:
                self._changed.set()
            while True:
                try:
                    message = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    message = b": still here\n\n"
                if message == _LET_GO:
                    return
                yield message
        finally:
            self._viewers.discard(queue)
            if not self._viewers and self._task is not None:
                self._task.cancel()
                self._task, self._known, self._version = None, {}, ""

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), ANYWAY_S)
            self._changed.clear()
            parts = await asyncio.to_thread(self._make)
            now = {p.name: str(p.html) for p in parts}
            changed = {name: html for name, html in now.items() if self._known.get(name) != html}
            self._known, self._version = now, digest_of(parts)
            if changed:
                self._send(self._message(changed))
            await asyncio.sleep(EVERY_S)

    def _message(self, parts: dict[str, str]) -> bytes:
        data = orjson.dumps({"version": self._version, "parts": parts})
        return b"id: " + self._version.encode() + b"\nevent: parts\ndata: " + data + b"\n\n"

    def _send(self, message: bytes) -> None:
        for queue in tuple(self._viewers):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._end(queue)

    def _end(self, queue: asyncio.Queue[bytes]) -> None:
        self._viewers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(_LET_GO)
