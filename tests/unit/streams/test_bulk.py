"""Fetch requests over a socket of their own, against a broker that says what a test wants."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4
from hypothesis import given, settings
from hypothesis import strategies as st

from paritygate.streams.bulk import Answer, BulkConnection, _answer

REQUEST = FetchRequest(10, 1, 1 << 20, 0, [("t", [(0, 5, 100), (1, 7, 100)]), ("u", [(3, 9, 100)])])
TOPICS: list[Any] = [
    ("t", [(0, 0, 9, 9, [], b"raw"), (1, 6, -1, -1, None, b"")]),
    ("u", [(3, 0, 8, 8, [(1, 2)], b"x" * 70_000)]),
]
Say = Callable[[socket.socket, bytes], None]


def said(correlation: int, topics: Any = TOPICS, throttle_ms: int = 0) -> bytes:
    """An answer as aiokafka writes it."""
    return struct.pack(">i", correlation) + bytes(FetchResponse_v4(throttle_ms, topics).encode())


def framed(frame: bytes) -> bytes:
    return struct.pack(">i", len(frame)) + frame


def plain(answer: Answer) -> list[Any]:
    return [(t, [(p, e, end, bytes(data)) for p, e, end, data in parts]) for t, parts in answer.topics]


class Broker:
    """Takes one request after the other, and hands each with its socket to ``say``."""

    def __init__(self) -> None:
        self.say: Say = lambda at, request: at.sendall(framed(said(int.from_bytes(request[4:8], "big"))))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.connected = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                at, _ = self.listening.accept()
            except OSError:
                return
            self.connected += 1
            threading.Thread(target=self._talk, args=(at,), daemon=True).start()

    def _talk(self, at: socket.socket) -> None:
        with closing(at):
            while size := at.recv(4, socket.MSG_WAITALL):
                self.say(at, at.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))


@pytest.fixture
def peer() -> Iterator[Broker]:
    peer = Broker()
    yield peer
    peer.listening.close()


@pytest.fixture
def connection(peer: Broker) -> Iterator[BulkConnection]:
    connection = BulkConnection("127.0.0.1", peer.listening.getsockname()[1], timeout_s=0.5)
    yield connection
    connection.close()


async def test_an_answer_is_what_the_broker_said(peer: Broker, connection: BulkConnection) -> None:
    """Topics, partitions, error codes, log ends and bytes, over one connection, in whatever pieces they come."""

    def in_pieces(at: socket.socket, request: bytes) -> None:
        frame = framed(said(int.from_bytes(request[4:8], "big"), throttle_ms=40))
        for cut in range(0, len(frame), 9_000):
            at.sendall(frame[cut : cut + 9_000])

    whole = await connection.ask(REQUEST)
    peer.say = in_pieces
    pieces = await connection.ask(REQUEST)

    expected = [(t, [(p, e, end, data) for p, e, end, _, _, data in parts]) for t, parts in TOPICS]
    assert plain(whole) == plain(pieces) == expected
    assert (whole.throttle_time_ms, pieces.throttle_time_ms) == (0, 40)
    assert peer.connected == 1


async def test_a_request_is_one_that_brokers_understand(peer: Broker, connection: BulkConnection) -> None:
    """Version 4 of fetch, with the offsets and sizes asked for."""
    seen: list[bytes] = []
    usual = peer.say

    def note(at: socket.socket, request: bytes) -> None:
        seen.append(request)
        usual(at, request)

    peer.say = note
    await connection.ask(REQUEST)

    assert seen[0][:4] == struct.pack(">hh", 1, 4)
    assert seen[0].endswith(REQUEST.prepare({1: (4, 4)}).encode())


@pytest.mark.parametrize(
    "say",
    [
        lambda at, _: at.shutdown(socket.SHUT_RDWR),
        lambda at, _: at.sendall(framed(said(1))[:50]),
        lambda at, _: at.sendall(framed(said(99))),
        lambda at, _: at.sendall(framed(said(1)[:-1])),
        lambda at, _: at.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda *_: None,
    ],
    ids=["hangs up", "stops", "answers another", "is cut", "is no broker", "is silent"],
)
async def test_what_is_no_answer_is_an_error_and_the_next_request_is_asked_anew(
    peer: Broker, connection: BulkConnection, say: Say
) -> None:
    """Nothing that is left of a failed request is taken for the answer to the next."""
    usual, peer.say = peer.say, say
    with pytest.raises(OSError, match=r"broker|answer"):
        await connection.ask(REQUEST)

    peer.say = usual
    assert len((await connection.ask(REQUEST)).topics) == 2
    assert peer.connected == 2


async def test_a_request_that_nobody_waits_for_any_more_is_hung_up(
    peer: Broker, connection: BulkConnection
) -> None:
    """The broker may still be silent; the next request does not wait for it."""
    usual, peer.say = peer.say, lambda *_: None
    asked = asyncio.create_task(connection.ask(REQUEST))
    await asyncio.sleep(0.05)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

    peer.say = usual
    assert len((await connection.ask(REQUEST)).topics) == 2


async def test_an_absent_broker_is_an_error() -> None:
    """Nobody listens there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    connection = BulkConnection("127.0.0.1", port, timeout_s=0.5)
    with pytest.raises(OSError, match="refused"):
        await connection.ask(REQUEST)
    connection.close()


@given(st.integers(0, 200), st.binary(max_size=8))
@settings(deadline=None)
def test_damaged_answers_are_errors_and_nothing_else(at: int, damage: bytes) -> None:
    """Whatever bytes come: an answer within its frame, or a connection that is given up."""
    frame = said(1)[:180]
    frame = frame[:at] + damage + frame[at + len(damage) :]
    with suppress(ConnectionError):
        for _, parts in _answer(memoryview(frame), 1).topics:
            assert sum(len(data) for *_, data in parts) <= len(frame)
