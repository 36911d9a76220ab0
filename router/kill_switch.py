"""Kill switch: a person takes the candidate's traffic away at this router, with or without Kafka.

Laws:

* It is on while the file ``KILL`` stands in the router's folder, while ``PARITYGATE_ROUTER_KILL`` says so, or after
  :meth:`KillSwitch.pull`. It stops every rollout that keeps its state in that folder.
* Only a hand turns it off: no decision, no restart and no broker that comes back does.
* What cannot be looked at changes nothing: an unreadable folder neither stops traffic nor gives it back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Name of the file; its first line may say why.
FILE: Final = "KILL"
#: Environment variable, read at the start. Empty, ``0`` and unset are off; anything else is on, and the reason.
VARIABLE: Final = "PARITYGATE_ROUTER_KILL"
_REASON_BYTES = 200


class KillSwitch:
    """The switch of one router. ``folder``: where its file lies; it need not exist."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        said = environ.get(VARIABLE, "").strip()
        self.path = folder / FILE
        self._by_environment = f"{VARIABLE}={said[:_REASON_BYTES]}" if said not in ("", "0") else ""
        self._by_file = self._by_hand = False
        self._lock = threading.Lock()
        self.look()

    @property
    def on(self) -> bool:
        """Whether the candidate is to get nothing. Reads no file; see :meth:`look`."""
        return self._by_file or self._by_hand or bool(self._by_environment)

    @property
    def mend(self) -> str:
        """What a person does to turn it off."""
        return f"take {self._by_environment} away and restart" if self._by_environment else f"remove {self.path}"

    def reason(self) -> str:
        """Why, in the words of whoever pulled it; empty where none were left. Never raises."""
        try:
            with self.path.open("rb") as file:
                first = file.read(_REASON_BYTES).split(b"\n")[0].decode("utf-8", "replace").strip()
        except OSError:
            first = ""
        return first or self._by_environment

    def look(self) -> None:
        """Look whether the file stands there; one system call. Never raises."""
        with self._lock, suppress(OSError):
            try:
                self.path.stat()
            except (FileNotFoundError, NotADirectoryError):
                self._by_file = False
            else:
                self._by_file = True

    def pull(self, reason: str = "") -> str:
        """Turn it on, in this process at once, and in the file for those that come after.

        Blocks for a sync. Gives what is wrong where the file could not be written: then it ends with the process,
        or with :meth:`release`. Never raises.
        """
        self._by_hand = True
        # Locked against a look that began before the file was there and ends after it.
        with self._lock:
            try:
                self._write(reason)
            except OSError as e:
                what = e.strerror or type(e).__name__
                return f"{self.path}: cannot be written: {what}; a restart would forget it"
            # From now on the file says it, so that who removes it turns the switch off.
            self._by_file, self._by_hand = True, False
        return ""

    def release(self) -> None:
        """Turn it off, as far as this process can: what the environment says stays.

        :raises OSError: the file cannot be removed; the switch stays on.
        """
        with self._lock:
            self.path.unlink(missing_ok=True)
            self._by_file = self._by_hand = False

    def _write(self, reason: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", encoding="utf-8", errors="replace") as file:
            file.write(f"{reason}\n")
            file.flush()
            os.fsync(file.fileno())
