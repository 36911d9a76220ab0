"""Source: where one topic of a partition was read to, and what must be read again after a restart.

Law: offsets below ``applied`` are in the counts; they are never counted again. After a restart, reading
begins at ``Replay.start`` and offsets below ``applied`` only rebuild what waits and what is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paritygate.schemas.arrays import B1, I64


@dataclass(slots=True)
class Replay:
    """Re-reading ``[start, until)``. ``pending``: sorted offsets of the events that waited at the snapshot."""

    start: int
    until: int
    pending: I64
    cursor: int
    found: int = 0

    @property
    def done(self) -> bool:
        """Whether all has been read again."""
        return self.cursor >= self.until

    def waited(self, offsets: I64) -> B1:
        """Which of the offsets waited at the snapshot; they count as found."""
        if not len(self.pending):
            return np.zeros(len(offsets), np.bool_)
        place = np.minimum(np.searchsorted(self.pending, offsets), len(self.pending) - 1)
        waited: B1 = self.pending[place] == offsets
        self.found += int(waited.sum())
        return waited


@dataclass(slots=True)
class Source:
    """One topic of the partition.

    ``first``: first offset ever read. ``applied``: next offset to apply. ``fetched``: next offset to fetch,
    ahead of ``applied`` while batches are held back. ``newest_ms``: newest event time. ``poison_next``: no
    dead letter below it is counted again. ``at_end``: read to the end of the log.
    """

    topic: str
    first: int = 0
    applied: int = 0
    fetched: int = 0
    newest_ms: int | None = None
    poison_next: int = 0
    at_end: bool = False
    replay: Replay | None = None

    @property
    def replaying(self) -> bool:
        """Whether offsets that were counted before are still being read again."""
        return self.replay is not None and not self.replay.done

    @property
    def position(self) -> int:
        """Next offset to fetch."""
        return self.replay.cursor if self.replay is not None and not self.replay.done else self.fetched

    def saw(self, event_at_ms: int) -> None:
        """The newest event time of some events."""
        self.newest_ms = event_at_ms if self.newest_ms is None else max(self.newest_ms, event_at_ms)

    def to_plain(self, start: int, pending: I64) -> dict[str, Any]:
        """The source for a snapshot: where to read again from, and a bitmap of the offsets that wait."""
        origin, bits = (int(pending[0]), int(pending[-1] - pending[0]) + 1) if len(pending) else (start, 0)
        mask = np.zeros(bits, np.bool_)
        mask[pending - origin] = True
        return {
            "topic": self.topic, "first": self.first, "applied": self.applied, "newest_ms": self.newest_ms,
            "poison_next": self.poison_next, "start": start, "origin": origin, "bits": bits,
            "pending": np.packbits(mask).tobytes(),
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], topic: str) -> Source:
        """Read :meth:`to_plain` back, as a source that replays."""
        applied, bits = plain["applied"], plain["bits"]
        mask = np.unpackbits(np.frombuffer(plain["pending"], np.uint8))[:bits]
        pending = (np.flatnonzero(mask) + plain["origin"]).astype(np.int64)
        source = cls(topic, plain["first"], applied, applied, plain["newest_ms"], plain["poison_next"])
        source.replay = Replay(plain["start"], applied, pending, plain["start"])
        return source


def frontier(sources: Sequence[Source], now_ms: int | None) -> int | None:
    """Event time that all of the sources have reached; None while that is not known.

    The slowest source that is still being read decides. Sources at their log ends do not hold time back: a
    silent arm *is* the incident. Where all are there, the newest event decides, or ``now_ms`` if later.
    """
    reading = [source.newest_ms for source in sources if not source.at_end]
    if reading:
        known = [ms for ms in reading if ms is not None]
        return min(known) if len(known) == len(reading) else None
    return max((ms for ms in (*(s.newest_ms for s in sources), now_ms) if ms is not None), default=None)
