from __future__ import annotations

import pytest

from paritygate.cli.notify.address import DeliveryError, checked_addresses, parse_url, refusal
from paritygate.schemas.errors import ConfigError

HOOK = parse_url("https://hooks.example.com/a?b=c", "x")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0",
        "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:0001::", "2002:a00:1::",
    ],
)  # fmt: skip
def test_nothing_is_sent_where_the_public_does_not_reach(address: str) -> None:
    """Loopback, private, shared, link-local, multicast, reserved, and the IPv6 addresses that stand for them."""
    assert refusal(address, private=False)
    with pytest.raises(DeliveryError, match="nothing was sent"):
        checked_addresses(HOOK, private=False, resolve=lambda *_: ["93.184.216.34", address])


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_fine(address: str) -> None:
    """What the public reaches may be told."""
    assert checked_addresses(HOOK, private=False, resolve=lambda *_: [address, address]) == [address]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "100.64.0.1"])
def test_a_host_may_be_named_as_private(address: str) -> None:
    """With the operator's word a private address is fine."""
    assert refusal(address, private=True) == ""


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"]
)
def test_metadata_is_never_fine(address: str) -> None:
    """Link-local addresses, where clouds keep their credentials, are refused with any word."""
    assert refusal(address, private=True)


def test_unknown_hosts() -> None:
    """A name that leads nowhere is worth another try, and is no crash."""

    def fails(*_: object) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(DeliveryError, match=r"hooks\.example\.com is not found"):
        checked_addresses(HOOK, private=False, resolve=fails)
    with pytest.raises(DeliveryError, match="no address"):
        checked_addresses(HOOK, private=False, resolve=lambda *_: [])
    with pytest.raises(DeliveryError, match="no IP address"):
        checked_addresses(HOOK, private=False, resolve=lambda *_: ["what"])


def test_url_parts() -> None:
    """Host, port, path and query; shown without the path, which may be a secret."""
    assert (HOOK.host, HOOK.port, HOOK.path, HOOK.tls) == ("hooks.example.com", 443, "/a?b=c", True)
    assert str(HOOK) == "https://hooks.example.com:443"
    assert parse_url("http://h.example:8080", "x", plain_http=True).path == "/"


@pytest.mark.parametrize(
    "url",
    [
        "http://h.example/", "ftp://h.example/", "https:///path", "h.example/path", "https://user:pw@h.example/",
        "https://h.example/#part", "https://h.example/a b", "https://h.example/\r\nx", "https://h.example:99999/",
        "https://h.example\\@evil.example/", "https://hö.example/",
    ],
)  # fmt: skip
def test_odd_urls_are_refused_without_being_shown(url: str) -> None:
    """Anything but plain https to a host is refused, and the error does not hold the path."""
    with pytest.raises(ConfigError) as error:
        parse_url(url, "target a")

    assert str(error.value).startswith("target a: ")
    assert "pw" not in str(error.value)
