from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

from paritygate.cli.notify.address import DeliveryError, Url
from paritygate.cli.notify.post import post
from tests.unit.cli.notify.conftest import Receiver


def url(receiver: Receiver, path: str = "/hook") -> Url:
    return Url("hook.test", receiver.port, path, tls=False)


def here(*_: object) -> list[str]:
    return ["127.0.0.1"]


def test_a_message_arrives(receiver: Receiver) -> None:
    """Path, headers and body arrive as they are; the name of the host stands in the request."""
    post(url(receiver, "/hook?a=b"), {"x-a": "b"}, b"body", private=True, resolve=here)

    ((path, headers, body),) = receiver.got
    assert (path, body) == ("/hook?a=b", b"body")
    assert headers["x-a"] == "b"
    assert headers["host"] == f"hook.test:{receiver.port}"


def test_a_private_address_is_not_even_connected_to(receiver: Receiver) -> None:
    """The check comes before the connection, and the name is asked once: it cannot answer differently later."""
    asked = []

    def rebinding(*_: object) -> list[str]:
        asked.append(1)
        return ["127.0.0.1"]

    with pytest.raises(DeliveryError, match="loopback"):
        post(url(receiver), {}, b"", private=False, resolve=rebinding)
    assert receiver.got == []
    post(url(receiver), {}, b"", private=True, resolve=rebinding)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "says"), [(301, "redirects are not followed"), (404, "answered 404"), (500, "answered 500")]
)
def test_other_answers_are_no_delivery(receiver: Receiver, status: int, says: str) -> None:
    """Only 2xx is taken; a redirect is not followed."""
    receiver.answers.append((status, {"Location": f"http://127.0.0.1:{receiver.port}/other"}))
    with pytest.raises(DeliveryError, match=says):
        post(url(receiver), {}, b"", private=True, resolve=here)

    assert len(receiver.got) == 1


def test_the_receiver_may_ask_for_time(receiver: Receiver) -> None:
    """Retry-After in seconds is passed on, within a bound; a date or nonsense is not."""
    receiver.answers += [
        (429, {"Retry-After": "7"}),
        (503, {"Retry-After": "99999"}),
        (503, {"Retry-After": "soon"}),
    ]
    asked = []
    for _ in range(3):
        with pytest.raises(DeliveryError) as error:
            post(url(receiver), {}, b"", private=True, resolve=here)
        asked.append(error.value.retry_after_s)

    assert asked == [7.0, 300.0, None]


def test_nobody_there() -> None:
    """A closed port is worth another try."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DeliveryError, match="cannot connect"):
        post(Url("hook.test", port, "/", tls=False), {}, b"", private=True, resolve=here)


@pytest.mark.parametrize("tls", [False, True])
def test_a_slow_receiver_is_cut_off(tls: bool) -> None:
    """One that sends a byte now and then holds nobody for longer than the timeout, before TLS or after."""
    done = threading.Event()

    def drip(server: socket.socket) -> None:
        taken, _ = server.accept()
        with taken:
            while not done.wait(0.02):
                try:
                    taken.sendall(b"\x16" if tls else b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        target = Url("hook.test", server.getsockname()[1], "/", tls)
        began = time.monotonic()
        with pytest.raises(DeliveryError):
            post(target, {}, b"", private=True, timeout_s=0.3, resolve=here)
        took = time.monotonic() - began
        done.set()
        thread.join()

    assert took < 10  # it would drip for ever


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    """TLS to something that does not speak it, or whose certificate is not trusted, delivers nothing."""
    with pytest.raises(DeliveryError):
        post(
            Url("hook.test", receiver.port, "/", tls=True),
            {},
            b"x",
            private=True,
            resolve=here,
            tls=ssl.create_default_context(),
        )

    assert receiver.got == []
