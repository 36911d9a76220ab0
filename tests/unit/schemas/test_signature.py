from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paritygate.cli.main import main
from paritygate.router.trusted import read_trusted_keys
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.signature import (
    COMMAND,
    DECISION,
    KEY_ID,
    SIGNATURE,
    CommandLog,
    Signed,
    Signer,
    TrustedKeys,
    signed_bytes,
)

#: RFC 8410, section 10.3: the example's private key, and the public one that belongs to it.
PRIVATE = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
SIGNER, TRUSTED = Signer(PRIVATE, "key"), TrustedKeys(PUBLIC, "pub")
VALUE = b'{"weight":5}'


def test_the_encoding_is_that_of_dsse() -> None:
    """The example of the protocol's page, to the byte."""
    assert signed_bytes("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.binary(max_size=200))
def test_what_was_signed_is_believed(value: bytes) -> None:
    """Any bytes, the same ones each time."""
    headers = SIGNER.headers(DECISION, value)

    assert TRUSTED.refusal(DECISION, value, headers) == ""
    assert headers == SIGNER.headers(DECISION, value)


@given(st.binary(max_size=60), st.integers(0, 59), st.integers(1, 255))
def test_a_changed_byte_is_refused(value: bytes, place: int, change: int) -> None:
    """In the value or in the signature."""
    headers = dict(SIGNER.headers(DECISION, value))
    signature = bytearray(headers[SIGNATURE])
    signature[place] ^= change
    changed = bytes([*value, change])

    assert "not one of its content" in TRUSTED.refusal(DECISION, changed, headers.items())
    assert TRUSTED.refusal(DECISION, value, [(SIGNATURE, bytes(signature)), (KEY_ID, headers[KEY_ID])])


def test_what_is_not_signed_by_a_trusted_key_is_refused(tmp_path: Path) -> None:
    """Nothing, half of it, another's key, another kind of record, junk: each with its reason, none with a crash."""
    assert main(["keys", "new", str(tmp_path / "other")]) == 0
    other = Signer((tmp_path / "other.key").read_bytes(), "other")
    good = dict(SIGNER.headers(DECISION, VALUE))
    borrowed = [(SIGNATURE, other.headers(DECISION, VALUE)[0][1]), (KEY_ID, good[KEY_ID])]

    for headers in (
        None,
        [],
        [(SIGNATURE, good[SIGNATURE])],
        [(KEY_ID, good[KEY_ID])],
        [(SIGNATURE, None), (KEY_ID, b"x")],
    ):
        assert TRUSTED.refusal(DECISION, VALUE, headers) == "it is not signed"
    assert "not trusted here" in TRUSTED.refusal(DECISION, VALUE, other.headers(DECISION, VALUE))
    assert "not trusted here" in TRUSTED.refusal(DECISION, VALUE, [(SIGNATURE, b"x"), (KEY_ID, b"\xff" * 500)])
    assert "not one of its content" in TRUSTED.refusal(DECISION, VALUE, borrowed)
    assert TRUSTED.refusal("application/other", VALUE, good.items())
    assert TRUSTED.refusal(DECISION, VALUE, [(SIGNATURE, b""), (KEY_ID, good[KEY_ID])])


def test_a_new_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The private key is its owner's alone, nothing is written over, and two public keys fit in one file."""
    for name in ("a", "b"):
        assert main(["keys", "new", str(tmp_path / name)]) == 0
    said = capsys.readouterr().out.split("\n")
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "a.key").read_bytes()
    assert main(["keys", "new", str(tmp_path / "a")]) == 2
    assert "never written over" in capsys.readouterr().err
    assert (tmp_path / "a.key").read_bytes() == before

    both = tmp_path / "both.pub"
    both.write_bytes((tmp_path / "a.pub").read_bytes() + (tmp_path / "b.pub").read_bytes())
    assert main(["keys", "show", str(both)]) == 0
    ids = capsys.readouterr().out.split()
    assert [line.split(":")[0].removeprefix("key ") for line in said[:2]] == ids
    for name in ("a", "b"):
        signer = Signer((tmp_path / f"{name}.key").read_bytes(), name)
        assert read_trusted_keys(both).refusal(DECISION, VALUE, signer.headers(DECISION, VALUE)) == ""


@pytest.mark.parametrize("pem", [b"", b"junk", PUBLIC, PRIVATE.replace(b"MC4C", b"MC4D")])
def test_what_is_no_private_key_is_a_config_error(pem: bytes) -> None:
    """Named by its place, without its content."""
    with pytest.raises(ConfigError, match=r"^where: not an Ed25519 private key"):
        Signer(pem, "where")


@pytest.mark.parametrize("pem", [b"", b"junk", PRIVATE, PUBLIC.replace(b"MCow", b"MCox"), PUBLIC[:60]])
def test_what_is_no_public_key_is_a_config_error(pem: bytes) -> None:
    """A file that would trust nobody, or not whom it seems to, ends the process at its start."""
    with pytest.raises(ConfigError, match=r"^where: holds"):
        TrustedKeys(pem, "where")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One line that names it."""
    with pytest.raises(ConfigError, match=r"no\.pub: cannot be read"):
        read_trusted_keys(tmp_path / "no.pub")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install has no signatures, and is told so only where it wants one."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)

    with pytest.raises(ConfigError, match=r'pip install "paritygate\[sign\]"'):
        Signer(PRIVATE, "key")
    with pytest.raises(ConfigError, match=r'pip install "paritygate\[sign\]"'):
        TrustedKeys(PUBLIC, "pub")


def test_commands_are_doubted_for_a_reason() -> None:
    """Unsigned, signed as another kind of record, changed, or written once more by whoever read it."""
    log = CommandLog(TRUSTED)
    signed = SIGNER.headers(COMMAND, VALUE)
    taken = [
        log.take(0, VALUE, ()),
        log.take(1, VALUE, signed),
        log.take(2, b"other", signed),
        log.take(3, b"x", SIGNER.headers(DECISION, b"x")),
        log.take(4, VALUE, signed),
        log.take(5, b"x", SIGNER.headers(COMMAND, b"x")),
    ]

    bad = f"its signature is not one of its content by the key {SIGNER.key_id}"
    assert taken == ["it is not signed", "", bad, bad, "it is the command at offset 1 once more", ""]
    assert log.doubted == {offset: why for offset, why in enumerate(taken) if why}
    assert log.found == {Signed.UNSIGNED: 1, Signed.SIGNED: 3, Signed.BAD: 2}


def test_without_keys_nothing_is_doubted() -> None:
    """But it is seen whether anything is signed."""
    log = CommandLog(None)
    assert log.take(0, VALUE, None) == ""
    assert not log.signs
    assert log.take(1, VALUE, [(SIGNATURE, b"anything")]) == ""

    assert (log.signs, log.doubted) == (True, {})
    assert log.found == {Signed.UNSIGNED: 1, Signed.SIGNED: 1}
    assert CommandLog(TRUSTED).signs
