"""Dead letters: records that nothing reads, as they came, with where they came from and why they failed.

Law: key, value and headers of the original are untouched, up to a size that every broker takes; what is
said about them stands in added headers. Header names as in KIP-1191.
"""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.schemas.record_batches import Headers
from paritygate.schemas.topics import Topic, dead_letter_topic

#: Longest key or value that is copied whole; the default limit of brokers and clients for one request is 1 MB.
MAX_COPY_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """One record that can never be read.

    ``kind``: ``decode`` (its bytes are no record we know) or ``invalid`` (a value breaks the contract).
    ``reason``: one sentence without payload. ``value`` may be the rest of a whole batch where the batch
    itself is broken; ``offset`` is then the first that could not be read.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What is to be produced to the dead letter topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(source: Topic, partition: int, group: str, poison: Poison) -> DeadLetter:
    """The record for the dead letter topic of ``source`` (without the prefix of a cluster).

    Headers of an earlier failure stay, the new ones come after them: readers take the last of a name. A key
    or value over ``MAX_COPY_BYTES`` is cut there, with its full length in ``paritygate.error.value_bytes`` or
    ``paritygate.error.key_bytes``; the whole is still at the offset named.

    :param group: consumer group that gave up on the record.
    """
    about = {
        "__dlq.errors.topic": source.name,
        "__dlq.errors.partition": str(partition),
        "__dlq.errors.offset": str(poison.offset),
        "__dlq.errors.group": group,
        "__dlq.errors.message": poison.reason,
        "paritygate.error.kind": poison.kind,
    }
    for part, content in (("key", poison.key), ("value", poison.value)):
        if content is not None and len(content) > MAX_COPY_BYTES:
            about[f"paritygate.error.{part}_bytes"] = str(len(content))
    added = tuple((name, text.encode()) for name, text in about.items())
    return DeadLetter(
        topic=dead_letter_topic(source).name,
        key=poison.key[:MAX_COPY_BYTES] if poison.key is not None else None,
        value=poison.value[:MAX_COPY_BYTES] if poison.value is not None else None,
        headers=poison.headers + added,
    )
