"""Viewers: open streams that read what is pushed and throw it away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Heard:
    """What all viewers were sent: pushes and bytes; ``closed``: streams that ended before their time."""

    pushes: int = 0
    sent_bytes: int = 0
    closed: int = 0


async def look_on(port: int, path: str, viewers: int, ready: asyncio.Event, heard: Heard) -> None:
    """Open ``viewers`` streams, say so, and read until cancelled."""
    open_streams = [await _open(port, path) for _ in range(viewers)]
    ready.set()
    try:
        await asyncio.gather(*(_read(reader, heard) for reader, _ in open_streams))
    finally:
        for _, writer in open_streams:
            writer.close()


async def _open(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
    await writer.drain()
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"no stream: {status!r}")
    return reader, writer


async def _read(reader: asyncio.StreamReader, heard: Heard) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            heard.pushes += data.count(b"event: parts")
            heard.sent_bytes += len(data)
    heard.closed += 1
