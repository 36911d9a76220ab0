"""Read the public keys of the deciders that a router obeys."""

from __future__ import annotations

from pathlib import Path

from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import TrustedKeys


def read_trusted_keys(path: Path | str) -> TrustedKeys:
    """The keys in a file of ``paritygate keys new``, several one after the other (for a change of keys).

    :raises ConfigError: the file cannot be read or holds no key, or ``cryptography`` is not installed.
    """
    try:
        pem = Path(path).read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror or type(e).__name__}") from None
    return TrustedKeys(pem, str(path))
