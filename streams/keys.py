"""Read the keys of a worker: the one that it signs with, and those that it believes."""

from __future__ import annotations

from pathlib import Path

from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import Signer, TrustedKeys
from paritygate.streams.settings import PREFIX, WorkerSettings


def read_signer(settings: WorkerSettings) -> Signer | None:
    """The key that signs decisions; None where none is set.

    :raises ConfigError: the file cannot be read, or holds no key.
    """
    path, where = settings.signing_key, f"{PREFIX}SIGNING_KEY {settings.signing_key}"
    return Signer(_read(path, where), where) if path else None


def read_command_keys(settings: WorkerSettings) -> TrustedKeys | None:
    """The keys of those whose commands count; None where everybody's do.

    :raises ConfigError: the file cannot be read, or holds no key.
    """
    return _keys("COMMAND_KEYS", settings.command_keys)


def read_decision_keys(settings: WorkerSettings, signer: Signer | None) -> TrustedKeys | None:
    """The keys of the deciders whose record counts; None where everybody's does.

    :raises ConfigError: the file cannot be read, or holds no key, or not the one that this worker signs with.
    """
    keys = _keys("DECISION_KEYS", settings.decision_keys)
    if keys is not None and (signer is None or signer.key_id not in keys.key_ids):
        raise ConfigError(
            f"{PREFIX}DECISION_KEYS {settings.decision_keys} does not hold the key of {PREFIX}SIGNING_KEY: "
            "this worker would not believe itself"
        )
    return keys


def _keys(name: str, path: str) -> TrustedKeys | None:
    where = f"{PREFIX}{name} {path}"
    return TrustedKeys(_read(path, where), where) if path else None


def _read(path: str, where: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise ConfigError(f"{where} cannot be read: {e.strerror or type(e).__name__}") from None
