"""Send one message over HTTP, to an address that was checked.

Law: no redirect is followed, no proxy is asked, TLS certificates are checked against the name, and the whole
exchange ends after ``timeout_s``, also with a receiver that sends a byte now and then. Of the answer only the
status counts; of its body nothing is read.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from paritygate.cli.notify.address import DeliveryError, Resolve, Url, checked_addresses

TIMEOUT_S: Final = 3.0
#: The longest pause that a receiver may ask for.
MAX_RETRY_AFTER_S: Final = 300.0


def post(
    url: Url,
    headers: Mapping[str, str],
    body: bytes,
    *,
    private: bool,
    timeout_s: float = TIMEOUT_S,
    resolve: Resolve | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Deliver, or raise. Blocks for ``timeout_s`` at most, after the host was resolved.

    :raises DeliveryError: anything but an answer of 200 to 299.
    """
    addresses = checked_addresses(url, private=private, resolve=resolve)
    until_s = time.monotonic() + timeout_s
    sock = _connect(url, addresses, until_s)
    # A timeout of a socket is for one read; this ends the whole exchange.
    # It holds the connection by a second name, for TLS takes the first one away.
    held = sock.dup()
    guard = threading.Timer(max(0.0, until_s - time.monotonic()), _cut, [held])
    guard.daemon = True
    guard.start()
    try:
        status, retry_after = _exchange(url, sock, headers, body, tls)
    except (OSError, http.client.HTTPException) as e:
        late = time.monotonic() >= until_s
        why = f"no answer within {timeout_s:g} s" if late else getattr(e, "strerror", None) or type(e).__name__
        raise DeliveryError(f"{url}: {why}") from None
    finally:
        guard.cancel()
        held.close()
        sock.close()
    if not 200 <= status < 300:
        redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
        raise DeliveryError(f"{url}: answered {status}{redirect}", _seconds(retry_after))


def _connect(url: Url, addresses: list[str], until_s: float) -> socket.socket:
    why = "no answer"
    for address in addresses:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            break
        try:
            return socket.create_connection((address, url.port), timeout=left_s)
        except OSError as e:
            why = e.strerror or str(e)
    raise DeliveryError(f"{url}: cannot connect: {why}")


def _exchange(
    url: Url, sock: socket.socket, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext | None
) -> tuple[int, str | None]:
    """Status and ``Retry-After`` of the answer."""
    connection = http.client.HTTPConnection(url.host, url.port)
    if url.tls:
        sock = (tls or ssl.create_default_context()).wrap_socket(sock, server_hostname=url.host)
    connection.sock = sock
    try:
        own = {"user-agent": "paritygate-notify", "connection": "close"}
        connection.request("POST", url.path, body, {**headers, **own})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _seconds(text: str | None) -> float | None:
    return min(float(text), MAX_RETRY_AFTER_S) if text and text.strip().isdecimal() else None
