"""Where a message may go: a URL, and the addresses behind its name that were checked.

Law: nothing is sent into the private network by a name that happens to lead there. Every address of a host is
checked, one that is not public refuses the whole host, and the connection goes to a checked address, not to the
name again (a name may answer differently the second time). ``private_hosts`` names the hosts that may be private;
link-local ones, where clouds keep their metadata, are refused always.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from paritygate.schemas.errors import ConfigError, RecoverableError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
#: Prefix under which IPv6 networks reach IPv4 addresses (RFC 6052).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ODD: Final = re.compile(r"[\x00-\x20\x7f-\xff\\]")


class DeliveryError(RecoverableError):
    """A message was not taken; trying again may help. The text names no path: it may hold a secret.

    ``retry_after_s``: what the receiver asks for, if it does.
    """

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in its parts. ``path`` holds the query."""

    host: str
    port: int
    path: str
    tls: bool

    def __str__(self) -> str:
        """Without the path, which is the secret of some webhooks."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


def parse_url(text: str, where: str, *, plain_http: bool = False) -> Url:
    """Read a URL; ``where`` is named in the error, the URL is not.

    :raises ConfigError: not https, no host, a user or a fragment in it, or odd characters.
    """
    if _ODD.search(text):
        raise ConfigError(f"{where}: the URL has a space, a control character or one beyond ASCII in it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise ConfigError(f"{where}: not a URL: {e}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigError(f"{where}: the URL must be https://host/...")
    if parts.username is not None or parts.fragment:
        raise ConfigError(f"{where}: the URL must hold no user, password or fragment")
    host = parts.hostname.rstrip(".")
    tls = parts.scheme == "https"
    if not tls and not plain_http:
        raise ConfigError(f"{where}: plain http to {host}: use https, or name the host in plain_http_hosts")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(host, port or (443 if tls else 80), path, tls)


def checked_addresses(url: Url, *, private: bool, resolve: Resolve | None = None) -> list[str]:
    """The addresses of the host, all of them allowed. Blocks as long as the system's resolver takes.

    :param private: whether addresses that are not public are allowed.

    :raises DeliveryError: no such host, or one of its addresses is refused.
    """
    try:
        found = list(dict.fromkeys((resolve or _resolve)(url.host, url.port)))
    except (OSError, UnicodeError) as e:
        raise DeliveryError(f"{url.host} is not found: {getattr(e, 'strerror', None) or e}") from None
    if not found:
        raise DeliveryError(f"{url.host} has no address")
    for text in found:
        why = refusal(text, private=private)
        if why:
            raise DeliveryError(f"{url.host} leads to {text}, which is {why}: nothing was sent")
    return found


def refusal(text: str, *, private: bool) -> str:
    """Why nothing may be sent to an address; empty where it may."""
    try:
        address = _inner(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return "no IP address"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return "no address of a host"
    if private or address.is_global:
        return ""
    return "loopback" if address.is_loopback else "private: name the host in private_hosts if it is meant"


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address


def _resolve(host: str, port: int) -> list[str]:
    answers: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]
