"""Bulk: fetch requests over a socket of their own, whose answers a thread takes in while the join is at work.

Law: an answer is received whole, in one call that does not hold the interpreter's lock, into the memory from which
it is decoded. So the broker's sending goes on at the speed of the network, whatever the join does meanwhile, and
costs it nothing. Only brokers in the clear are asked this way: what is encrypted has to be decrypted in small
pieces, under the lock, which aiokafka's connections do as well. Source: Kafka protocol, "Fetch" version 4, which
all brokers since 0.11 understand.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from mmap import mmap
from typing import Any, Final

from aiokafka.protocol.fetch import FetchRequest

from paritygate.schemas.apart import room

_CLIENT_ID: Final = "paritygate"
_FETCH, _VERSION = 1, 4
#: Larger than any answer: more than the bytes asked for, and one record batch.
_MOST_BYTES: Final = 1 << 30
_ABORTED_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """By topic, of each partition asked for: its number, error code, log end, and record batches, maybe cut."""

    throttle_time_ms: int
    topics: list[tuple[str, list[tuple[int, int, int, memoryview]]]]


class BulkConnection:
    """A connection to one broker, with one request at a time; connects when it is first asked and after a failure.

    ``timeout_s``: how long a broker may say nothing while it is waited for.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._address = host, port
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._asked = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"fetch-{host}-{port}")

    async def ask(self, request: FetchRequest) -> Answer:
        """The broker's answer.

        :raises OSError: it is away, has gone away, says nothing, or something else than an answer.
        """
        self._asked += 1
        prepared = request.prepare({_FETCH: (_VERSION, _VERSION)})
        header = prepared.build_request_header(correlation_id=self._asked, client_id=_CLIENT_ID)
        message = header.encode() + prepared.encode()
        try:
            frame = await asyncio.get_running_loop().run_in_executor(self._thread, self._exchange, message)
            return _answer(frame, self._asked)
        except BaseException:  # what is cancelled leaves an answer in the socket that nobody asked for
            self._hang_up()
            raise

    def close(self) -> None:
        """Hang up; whoever waits for an answer gets an error."""
        self._hang_up()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hang_up(self) -> None:
        connected, self._socket = self._socket, None
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads of it
            connected.close()

    def _exchange(self, message: bytes) -> memoryview:
        connected = self._socket or self._connect()
        connected.sendall(struct.pack(">i", len(message)) + message)
        (size,) = struct.unpack(">i", _receive(connected, bytearray(4)))
        if not 0 < size <= _MOST_BYTES:
            raise ConnectionError("no answer of a Kafka broker")
        return _receive(connected, room(size))

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(self._address, self._timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Blocking, or the kernel would not wait for all that is asked for; the timeout is the kernel's.
        connected.settimeout(None)
        whole = int(self._timeout_s)
        limit = struct.pack("@ll", whole, int((self._timeout_s - whole) * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, option, limit)
        self._socket = connected
        return connected


def _receive(connected: socket.socket, memory: bytearray | mmap) -> memoryview:
    """As many bytes as there is memory.

    :raises OSError: they did not come.
    """
    data, done = memoryview(memory), 0
    while done < len(data):
        try:
            count = connected.recv_into(data[done:], 0, socket.MSG_WAITALL)
        except BlockingIOError:
            raise TimeoutError("the broker says nothing") from None
        if not count:
            raise ConnectionError("the broker hung up")
        done += count
    return data


def _answer(frame: memoryview, asked: int) -> Answer:
    """Read an answer; the record batches stay where they are.

    :raises ConnectionError: it is none, or one to another request.
    """
    try:
        return _read(frame, asked)
    except (struct.error, UnicodeDecodeError):
        raise ConnectionError("no answer of a Kafka broker") from None


def _read(frame: memoryview, asked: int) -> Answer:
    at = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal at
        found = struct.unpack_from(layout, frame, at)
        at += struct.calcsize(layout)
        return found

    correlation, throttle_ms, topics = take(">iii")
    if correlation != asked:
        raise ConnectionError("an answer to another request")
    found = []
    for _ in range(topics):
        (size,) = take(">h")
        name, at = bytes(frame[at : at + size]).decode(), at + size
        parts = []
        for _ in range(*take(">i")):
            partition, error, log_end, _stable, aborted = take(">ihqqi")
            at += _ABORTED_BYTES * max(0, aborted)
            (length,) = take(">i")
            end = at + max(0, length)
            if end > len(frame):
                raise ConnectionError("no answer of a Kafka broker")
            parts.append((partition, error, log_end, frame[at:end]))
            at = end
        found.append((name, parts))
    return Answer(throttle_ms, found)
