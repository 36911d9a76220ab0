"""Standing: how one partition of the join stands, left with its position in the consumer group.

Law: it is written after the snapshot of the same moment, so it never tells of more than a restart would keep.
Kafka keeps a text with each committed offset (4,096 bytes by default); this one is JSON and stays below it,
so that ``paritygate doctor`` sees every worker of a group without reaching any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from paritygate.schemas.errors import DecodeError

#: What brokers take by default (``offset.metadata.max.bytes``).
MAX_STANDING_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One partition at its last checkpoint.

    ``ranges``: first offset ever read and next offset to count, by topic of the table. ``bins``: where the
    records between them ended. ``replay_left``: offsets still to be read again after a restart. ``stages``:
    seconds of the worker's process in each stage since it began, the same for all partitions of ``worker``.
    """

    worker: str
    generation: int
    written_at_ms: int
    ranges: Mapping[str, tuple[int, int]]
    bins: Mapping[str, int]
    pending: int
    replay_left: int = 0
    watermark_ms: int | None = None
    stages: Mapping[str, float]

    @property
    def offsets(self) -> int:
        """Offsets counted."""
        return sum(after - first for first, after in self.ranges.values())

    @property
    def unaccounted(self) -> int:
        """Offsets counted that ended in no bin, negative where one ended in two; 0 unless the join has a fault."""
        return self.offsets - sum(self.bins.values())

    def to_text(self) -> str:
        """JSON of at most ``MAX_STANDING_BYTES``, empty where it would be longer; ends with a NUL.

        librdkafka copies the text without an end of its own, and confluent-kafka reads on until it meets one.
        """
        text = orjson.dumps(asdict(self)).decode() + "\0"
        return text if len(text.encode()) <= MAX_STANDING_BYTES else ""

    @classmethod
    def from_text(cls, text: str) -> Standing:
        """Read :meth:`to_text` back; what it does not know it passes over.

        :raises DecodeError: the text is no standing.
        """
        try:
            plain: dict[str, Any] = orjson.loads(text.rstrip("\0"))
            ranges = {str(t): (int(first), int(after)) for t, (first, after) in plain["ranges"].items()}
            watermark_ms = plain["watermark_ms"]
            return cls(
                worker=str(plain["worker"]),
                generation=int(plain["generation"]),
                written_at_ms=int(plain["written_at_ms"]),
                ranges=ranges,
                bins={str(name): int(count) for name, count in plain["bins"].items()},
                pending=int(plain["pending"]),
                replay_left=int(plain["replay_left"]),
                watermark_ms=None if watermark_ms is None else int(watermark_ms),
                stages={str(name): float(took_s) for name, took_s in plain["stages"].items()},
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise DecodeError("the text beside a committed offset is none that a worker left") from None
