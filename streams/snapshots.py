"""Snapshots in the changelog of a Faust Table: claimed by an owner, cut into records, committed by the last one.

Law: a snapshot is either whole or not there. It is written in parts below the broker's message limit, and its
last part names their number, size and checksum; until that one is written the snapshot before it stands,
because the two are in different slots. An owner begins with a *claim*, a record of its own in the changelog, and
the offset that the broker gives it is the owner's generation: of two owners the later one always has the higher
one, whatever the group says. A generation has keys of its own, so that a late write of an earlier owner replaces
nothing; compaction keeps the newest record of each key, and the next owner deletes the keys of those before.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c

from paritygate.schemas.errors import ConfigError
from paritygate.streams.outbox import Outbox, Outgoing

log = logging.getLogger(__name__)

#: Bytes of a part: well below the 1 MB that a broker takes by default, the record's own overhead included.
PART_BYTES: Final = 768 << 10
_CLAIM: Final = "claim"
_LAST: Final = "last"
#: Of a part: the save that it belongs to.
_PART: Final = struct.Struct(">Q")
#: Of the last part: the save, how many parts went before, size and CRC-32C of the whole.
_COMMIT: Final = struct.Struct(">QIII")


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """Where a record belongs: ``part`` is a number, or ``last``, or ``claim``."""

    partition: int
    generation: int
    slot: int
    part: str

    def encode(self) -> bytes:
        return f"{self.partition}.{self.generation}.{self.slot}.{self.part}".encode()

    @classmethod
    def decode(cls, key: bytes) -> _Key:
        partition, generation, slot, part = key.decode().split(".")
        return cls(int(partition), int(generation), int(slot), part)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A committed snapshot."""

    generation: int
    save: int
    data: bytes


@dataclass(slots=True)
class _Mine:
    """What this process wrote at one generation: the newest save, and the slot of the newest whole one."""

    save: int = 0
    slot: int = 1
    has_buried: bool = False


class TableStore:
    """The snapshots of all partitions, as a Faust Table holds them."""

    def __init__(self, table: Any, outbox: Outbox, part_bytes: int = PART_BYTES) -> None:
        self._table = table
        self._outbox = outbox
        self._part_bytes = part_bytes
        self._mine: dict[tuple[int, int], _Mine] = {}

    async def claim(self, partition: int) -> int:
        """Begin to own a partition; returns the generation, above that of every owner before."""
        key, value = _Key(partition, 0, 0, _CLAIM).encode(), b"claim"
        (offset,) = await self._outbox.send([self._outgoing(partition, key, value)])
        self._table.data[key] = value
        self._mine = {mine: saves for mine, saves in self._mine.items() if mine[0] != partition}
        newest = self._newest(partition)
        # Another one than the offset's only where a changelog was copied to another cluster.
        return max(offset + 1, 0 if newest is None else newest.generation + 1)

    def newest(self, partition: int) -> tuple[int, bytes] | None:
        """Generation and bytes of the last whole snapshot of the newest owner that saved one.

        :raises ConfigError: the changelog holds records that this version does not know.
        """
        found = self._newest(partition)
        return None if found is None else (found.generation, found.data)

    async def save(self, partition: int, generation: int, data: bytes) -> None:
        """Write to the changelog, part by part and the last one when the others are safe, then to memory."""
        mine = self._mine.setdefault((partition, generation), _Mine())
        # A number is never used twice: parts of a save that was given up must not fit another one.
        mine.save += 1
        save, slot = mine.save, 1 - mine.slot
        *parts, last = self._cut(data)
        await self._write(
            partition,
            [
                (_Key(partition, generation, slot, str(i)).encode(), _PART.pack(save) + part)
                for i, part in enumerate(parts)
            ],
        )
        header = _COMMIT.pack(save, len(parts), len(data), google_crc32c.value(data))
        await self._write(partition, [(_Key(partition, generation, slot, _LAST).encode(), header + last)])
        mine.slot = slot
        if not mine.has_buried:
            await self._bury(partition, generation)
            mine.has_buried = True

    def _cut(self, data: bytes) -> list[bytes]:
        size = self._part_bytes
        return [data[i : i + size] for i in range(0, len(data), size)] or [b""]

    async def _write(self, partition: int, records: list[tuple[bytes, bytes]]) -> None:
        if records:
            await self._outbox.send([self._outgoing(partition, key, value) for key, value in records])
            self._table.data.update(records)

    async def _bury(self, partition: int, generation: int) -> None:
        """Delete the keys of earlier generations, now that a later one has a whole snapshot."""
        old = [key for key in self._keys(partition) if key.part != _CLAIM and key.generation < generation]
        await self._outbox.send([self._outgoing(partition, key.encode(), None) for key in old])
        for key in old:
            self._table.data.pop(key.encode(), None)

    def _outgoing(self, partition: int, key: bytes, value: bytes | None) -> Outgoing:
        topic = self._table.changelog_topic.get_topic_name()
        return Outgoing(topic=topic, partition=partition, key=key, value=value)

    def _keys(self, partition: int) -> Iterator[_Key]:
        for key in list(self._table.data):
            try:
                known = _Key.decode(bytes(key))
            except (ValueError, UnicodeDecodeError):
                raise ConfigError(
                    f"{self._table.changelog_topic.get_topic_name()} holds snapshots of another version "
                    f"(key {bytes(key)!r}): use another PARITYGATE_WORKER_APP_ID"
                ) from None
            if known.partition == partition:
                yield known

    def _newest(self, partition: int) -> _Whole | None:
        whole = [found for key in self._keys(partition) if key.part == _LAST and (found := self._opened(key))]
        return max(whole, key=lambda c: (c.generation, c.save), default=None)

    def _opened(self, last: _Key) -> _Whole | None:
        """The snapshot that this last part commits; None where a later save has begun to write over it."""
        value = bytes(self._table.data[last.encode()] or b"")
        if len(value) < _COMMIT.size:
            return None
        save, count, size, checksum = _COMMIT.unpack_from(value)
        parts: list[bytes] = []
        for i in range(count):
            key = _Key(last.partition, last.generation, last.slot, str(i)).encode()
            part = bytes(self._table.data.get(key) or b"")
            if len(part) < _PART.size or _PART.unpack_from(part) != (save,):
                return None
            parts.append(part[_PART.size :])
        data = b"".join((*parts, value[_COMMIT.size :]))
        if len(data) != size or google_crc32c.value(data) != checksum:
            log.error("a snapshot of partition %d is damaged; the one before it is taken", last.partition)
            return None
        return _Whole(last.generation, save, data)
