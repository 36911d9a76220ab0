"""``paritygate keys``: make a pair of keys for signing, and name the keys of a file.

Law: a private key is written once, to a file that only its owner reads, and is shown nowhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from paritygate.cli.console import print_line
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import Signer, TrustedKeys

keys_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make and name keys for signed decisions.")


@keys_app.command("new")
def new(
    name: Annotated[
        Path, typer.Argument(metavar="NAME", help="NAME.key and NAME.pub are written.", show_default=False)
    ],
) -> None:
    """Make a pair of Ed25519 keys: NAME.key (mode 0600) for who signs, NAME.pub for who checks."""
    private, public = _pair()
    key_file, pub_file = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    for path in (key_file, pub_file):
        if path.exists():
            raise ConfigError(f"{path} is there already, and a key is never written over")
    _write(key_file, private, 0o600)
    _write(pub_file, public, 0o644)
    print_line(f"key {Signer(private, str(key_file)).key_id}: {key_file} signs, {pub_file} checks")


@keys_app.command("show")
def show(
    pub_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Public keys, one after the other.", show_default=False)
    ],
) -> None:
    """Print the ids of the public keys in a file."""
    for key_id in TrustedKeys(pub_file.read_bytes(), str(pub_file)).key_ids:
        print_line(key_id)


def _pair() -> tuple[bytes, bytes]:
    try:
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError('signatures need cryptography: pip install "paritygate[sign]"') from None
    key = Ed25519PrivateKey.generate()
    pem = form.Encoding.PEM
    return (
        key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()),
        key.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo),
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: never through a link that somebody laid, and never over a key.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
