"""Last known good: the decision in force, kept on disk so that a router can start without Kafka.

Law: the file holds either a whole decision or nothing. It is written to a temporary file, synced, renamed
and the folder synced, with a SHA-256 over the content; a torn, foreign or edited file reads as absent with
a reason, never as an exception and never as a weight.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from paritygate.schemas.decision import GateDecision
from paritygate.schemas.errors import DecodeError

_MAGIC = b"paritygate-lkg-1"
#: A decision with all its verdicts is a few kilobytes; more is not ours and is not read into memory.
MAX_FILE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was on disk: a decision, or none. ``warning`` says what is wrong with a file that is there."""

    decision: GateDecision | None
    warning: str = ""


class LastKnownGood:
    """The file of one rollout in ``folder``. Not for use from two processes at once."""

    def __init__(self, folder: Path, rollout_id: str) -> None:
        self._rollout_id = rollout_id
        # The id comes from a setting: only its hash may become a path.
        name = hashlib.sha256(rollout_id.encode()).hexdigest()[:16]
        self.path = folder / f"lkg-{name}.json"

    def save(self, decision: GateDecision) -> None:
        """Replace the file. Blocks for two syncs (milliseconds).

        :raises OSError: the disk is full or the folder cannot be written; the old file still stands.
        """
        body = decision.to_bytes()
        head = b"%s %s\n" % (_MAGIC, hashlib.sha256(body).hexdigest().encode())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(head + body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without it a power cut may undo the rename
        finally:
            os.close(folder)

    def load(self) -> Loaded:
        """Read the file; never raises."""
        try:
            return Loaded(self._read())
        except FileNotFoundError:
            return Loaded(None)
        except OSError as e:
            what = f"cannot be read: {e.strerror or type(e).__name__}"
        except DecodeError as e:
            what = str(e)
        return Loaded(None, f"{self.path}: {what}; treated as absent")

    def _read(self) -> GateDecision:
        with self.path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DecodeError("larger than any decision")
        head, _, body = data.partition(b"\n")
        magic, _, checksum = head.partition(b" ")
        if magic != _MAGIC:
            raise DecodeError("no last-known-good file")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            raise DecodeError("torn or changed, its checksum differs")
        decision = GateDecision.from_bytes(body)
        if decision.rollout_id != self._rollout_id:
            raise DecodeError("belongs to another rollout")
        return decision
