from __future__ import annotations

from paritygate.schemas.dead_letter import MAX_COPY_BYTES, Poison, dead_letter
from paritygate.schemas.topics import BY_NAME, PREDICTIONS_SHADOW

POISON = Poison(
    offset=41, timestamp_ms=5, key=b"\xff", value=b"\x00\x01", headers=(("trace", b"t"), ("empty", None)),
    kind="decode", reason="PredictionEvent value is empty",
)  # fmt: skip


def test_the_original_is_untouched_and_its_place_is_added() -> None:
    """Key, value and headers are as they came; five KIP-1191 headers and the kind come after them."""
    letter = dead_letter(PREDICTIONS_SHADOW, 3, "paritygate", POISON)

    assert (letter.key, letter.value) == (b"\xff", b"\x00\x01")
    assert letter.headers == (
        ("trace", b"t"),
        ("empty", None),
        ("__dlq.errors.topic", b"predictions.shadow.v1"),
        ("__dlq.errors.partition", b"3"),
        ("__dlq.errors.offset", b"41"),
        ("__dlq.errors.group", b"paritygate"),
        ("__dlq.errors.message", b"PredictionEvent value is empty"),
        ("paritygate.error.kind", b"decode"),
    )
    assert letter.topic in BY_NAME


def test_null_key_and_value_stay_null() -> None:
    """A record without key or value is dead-lettered without them."""
    poison = Poison(offset=0, timestamp_ms=0, key=None, value=None, headers=(), kind="invalid", reason="r")

    letter = dead_letter(PREDICTIONS_SHADOW, 0, "g", poison)

    assert letter.key is letter.value is None


def test_what_no_broker_takes_is_cut_and_says_so() -> None:
    """A huge key or value is cut to a size that can be sent, with its full length in a header."""
    poison = Poison(
        offset=0, timestamp_ms=0, key=b"k" * (MAX_COPY_BYTES + 1), value=b"v" * (MAX_COPY_BYTES * 3), headers=(),
        kind="invalid", reason="r",
    )  # fmt: skip

    letter = dead_letter(PREDICTIONS_SHADOW, 0, "g", poison)

    assert letter.value == b"v" * MAX_COPY_BYTES
    assert letter.key == b"k" * MAX_COPY_BYTES
    assert dict(letter.headers)["paritygate.error.value_bytes"] == str(MAX_COPY_BYTES * 3).encode()
    assert dict(letter.headers)["paritygate.error.key_bytes"] == str(MAX_COPY_BYTES + 1).encode()
