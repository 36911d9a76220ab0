from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from paritygate.cli.notify.message import Message
from paritygate.cli.notify.signature import secret_bytes, signed_headers
from paritygate.schemas.errors import ConfigError

#: The example of the Standard Webhooks libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", {"content-type": "application/json"}, b'{"test": 2432232314}')


def test_the_known_example() -> None:
    """Id, time and body of the specification's own test give its signature."""
    headers = signed_headers(EXAMPLE, secret_bytes(SECRET, "x"), 1614265330)

    assert headers["webhook-id"] == EXAMPLE.message_id
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_any_long_text_is_a_secret() -> None:
    """A secret without the prefix is used as it is; the signature covers id, time and body."""
    key = secret_bytes(" a-secret-that-is-long-enough \n", "x")
    signature = signed_headers(EXAMPLE, key, 7)["webhook-signature"]

    content = EXAMPLE.message_id.encode() + b".7." + EXAMPLE.body
    expected = hmac.new(b"a-secret-that-is-long-enough", content, hashlib.sha256).digest()
    assert signature == f"v1,{base64.b64encode(expected).decode()}"


def test_without_a_key_nothing_is_signed() -> None:
    """No signature is better than one with a key that everybody knows."""
    assert "webhook-signature" not in signed_headers(EXAMPLE, None, 7)


@pytest.mark.parametrize("text", ["short", "whsec_????", "whsec_c2hvcnQ="])
def test_a_weak_secret_is_refused_without_being_shown(text: str) -> None:
    """Too short, or no base64; the error does not hold it."""
    with pytest.raises(ConfigError) as error:
        secret_bytes(text, "target a, secret")

    assert text.removeprefix("whsec_") not in str(error.value)
    assert str(error.value).startswith("target a, secret: ")
