"""The signature of a webhook, as Standard Webhooks 1.0 has it. Pure: time is an argument.

Law: HMAC-SHA256 over ``id.timestamp.body``, so that neither the body nor the moment can be changed by who has not
the secret. A receiver refuses timestamps that are more than five minutes away, and ids that it has seen.
Source: github.com/standard-webhooks/standard-webhooks, spec.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from paritygate.cli.notify.message import Message
from paritygate.schemas.errors import ConfigError

PREFIX: Final = "whsec_"
#: What the specification asks for; a shorter secret can be guessed.
LEAST_BYTES: Final = 24


def secret_bytes(text: str, where: str) -> bytes:
    """The key in ``text``: ``whsec_`` and base64, or any text that is long enough.

    :param where: named in the error; the secret never is.

    :raises ConfigError: it is shorter than 24 bytes, or no base64 after ``whsec_``.
    """
    text = text.strip()
    coded = text.startswith(PREFIX)
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True) if coded else text.encode()
    except (binascii.Error, ValueError):
        raise ConfigError(f"{where}: what follows {PREFIX} is not base64") from None
    if len(key) < LEAST_BYTES:
        raise ConfigError(f"{where}: the secret has {len(key)} bytes, at least {LEAST_BYTES} are needed")
    return key


def signed_headers(message: Message, key: bytes | None, at_s: int) -> dict[str, str]:
    """The headers of ``message`` as it is sent at ``at_s`` (epoch seconds), signed where there is a key."""
    headers = {**message.headers, "webhook-id": message.message_id, "webhook-timestamp": str(at_s)}
    if key is not None:
        content = b".".join((message.message_id.encode(), str(at_s).encode(), message.body))
        digest = hmac.new(key, content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
