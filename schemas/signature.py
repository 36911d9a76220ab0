"""Signatures of control records: Ed25519 over the bytes as they lie in the log, beside them in two headers. Pure.

Laws:

* What is signed is what is read: the bytes of the value, never the same content written anew. The kind of record is
  signed with them, so that the bytes of one kind cannot be passed off as another (DSSE's encoding).
* A value does not change by being signed: digests, chains and replays are those of unsigned logs.
* Where keys are trusted, what carries no signature of one of them is refused.
* A command counts once: the bytes of one that was signed, written once more by whoever read them, are refused.

Sources: RFC 8032 (Ed25519); DSSE v1 protocol (secure-systems-lab). ``cryptography`` is imported where a key is read
only: the base install does without it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from paritygate.schemas.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE: Final = "paritygate-signature"
KEY_ID: Final = "paritygate-key-id"
#: The kinds of record that a signature speaks of.
DECISION: Final = "application/vnd.paritygate.decision.v1+json"
COMMAND: Final = "application/vnd.paritygate.command.v1+json"
_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"

#: As any client library gives them; where a name stands twice, the last one counts.
Headers = Iterable[tuple[str, Any]] | Mapping[str, Any]


@unique
class Signed(StrEnum):
    """What the keys at hand say of one record."""

    SIGNED = "signed"  # by one of the keys
    UNSIGNED = "unsigned"
    BAD = "bad"  # by another key, or not of this content


def is_signed(headers: Headers | None) -> bool:
    """Whether a record carries a signature at all, good or bad."""
    return SIGNATURE in dict(headers or ())


def signed_bytes(kind: str, value: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of ``value`` as a record of ``kind``."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(value), value)


class Signer:
    """Signs with one private key. ``pem``: PKCS#8, without a password.

    :raises ConfigError: it is no such key, or ``cryptography`` is not installed. The text holds nothing of the key.
    """

    def __init__(self, pem: bytes, where: str) -> None:
        load, private, _ = _library()
        try:
            key = load.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, _library_error()):
            key = None
        if not isinstance(key, private):
            raise ConfigError(f"{where}: not an Ed25519 private key in PEM; 'paritygate keys new' makes one")
        self._key: Ed25519PrivateKey = key
        self.key_id = key_id_of(key.public_key())

    def headers(self, kind: str, value: bytes) -> list[tuple[str, bytes]]:
        """The headers that go with ``value``. The same value always gives the same ones."""
        return [(SIGNATURE, self._key.sign(signed_bytes(kind, value))), (KEY_ID, self.key_id.encode())]


class TrustedKeys:
    """The public keys of those whose word counts. ``pem``: one or several, one after the other.

    :raises ConfigError: a block is no Ed25519 key, there is none, or ``cryptography`` is not installed.
    """

    def __init__(self, pem: bytes, where: str) -> None:
        load, _, public = _library()
        self._keys: dict[str, Ed25519PublicKey] = {}
        for block in pem.split(_BEGIN)[1:]:
            try:
                key = load.load_pem_public_key(_BEGIN + block.partition(_END)[0] + _END + b"\n")
            except (ValueError, _library_error()):
                key = None
            if not isinstance(key, public):
                raise ConfigError(f"{where}: holds a public key that is not Ed25519 in PEM")
            self._keys[key_id_of(key)] = key
        if not self._keys:
            raise ConfigError(f"{where}: holds no public key; 'paritygate keys new' makes a pair")

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys."""
        return tuple(self._keys)

    def refusal(self, kind: str, value: bytes, headers: Headers | None) -> str:
        """Why a record is not to be believed; empty where it is. Takes about 0.2 ms. Never raises."""
        return self.check(kind, value, headers)[1]

    def check(self, kind: str, value: bytes, headers: Headers | None) -> tuple[Signed, str]:
        """How a record is signed, and why it is not to be believed; as :meth:`refusal`."""
        found: Mapping[str, Any] = dict(headers or ())
        signature, key_id = found.get(SIGNATURE), found.get(KEY_ID)
        if not isinstance(signature, bytes) or not isinstance(key_id, bytes):
            return Signed.UNSIGNED, "it is not signed"
        name = key_id.decode("ascii", "replace")[:32]
        key = self._keys.get(name)
        if key is None:
            return Signed.BAD, f"it is signed with the key {name!r}, which is not trusted here"
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        try:
            key.verify(signature, signed_bytes(kind, value))
        except InvalidSignature:
            return Signed.BAD, f"its signature is not one of its content by the key {name}"
        return Signed.SIGNED, ""


class Trust(NamedTuple):
    """Whose word counts on the control topics; None: everybody's."""

    commands: TrustedKeys | None = None
    decisions: TrustedKeys | None = None


EVERYBODY: Final = Trust()


class CommandLog:
    """Which commands of ``rollouts.v1`` are to be doubted. Give it every record once, from the first on, in order.

    ``keys``: those of operators; None doubts nothing. ``found``: records so far by how they are signed; where no
    keys are at hand, by whether they are. ``doubted``: offset and why, of those that no key speaks for. Such a
    command changes nothing unless a recorded decision names it: then the decider of that time had believed it.
    """

    def __init__(self, keys: TrustedKeys | None) -> None:
        self.keys = keys
        self.found: Counter[Signed] = Counter()
        self.doubted: dict[int, str] = {}
        self._first: dict[bytes, int] = {}

    @property
    def signs(self) -> bool:
        """Whether anything in the log is signed, or has to be: then a decider may have refused for a signature."""
        return self.keys is not None or self.found[Signed.SIGNED] > 0

    def take(self, offset: int, value: bytes, headers: Headers | None) -> str:
        """Why the record at ``offset`` is doubted; empty where it is not."""
        if self.keys is None:
            self.found[Signed.SIGNED if is_signed(headers) else Signed.UNSIGNED] += 1
            return ""
        signed, why = self.keys.check(COMMAND, value, headers)
        self.found[signed] += 1
        if signed is Signed.SIGNED:
            first = self._first.setdefault(hashlib.sha256(value).digest(), offset)
            why = f"it is the command at offset {first} once more" if first != offset else ""
        if why:
            self.doubted[offset] = why
        return why


def key_id_of(key: Ed25519PublicKey) -> str:
    """Id of a key: the first 16 hex digits of SHA-256 over its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError('signatures need cryptography: pip install "paritygate[sign]"') from None
    return serialization, ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey


def _library_error() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    return UnsupportedAlgorithm
