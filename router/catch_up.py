"""From boot to following: which state a router shows while it reads the control log. Pure.

Law: history is never lived through. Until the end of the log was reached once, the state of the boot (last
known good, or weight 0) stays in force; the decisions are folded beside it. Otherwise a restarted router
would send users to a candidate that was rolled back an hour ago. Only a rollback takes effect at once.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from paritygate.router.state import Result, RoutingState
from paritygate.schemas.decision import GateDecision


class CatchUp:
    """The state in force, and the one being read. Not thread-safe: one thread writes."""

    def __init__(self, boot: RoutingState, decision: GateDecision | None = None) -> None:
        self.state = boot
        #: The decision that :attr:`state` rests on; None before the first.
        self.decision = decision
        self.ready = False
        self._boot_sequence = boot.sequence
        self._read_sequence = -1
        self._folded, self._newest = boot, decision

    @property
    def behind(self) -> bool:
        """True when the whole log was read and is older than what was known at boot.

        The topic was re-created, truncated or restored: the router stays where it is until the sequence
        passes what it knows.
        """
        return self.ready and self._read_sequence < self._boot_sequence

    @property
    def newest(self) -> GateDecision | None:
        """The decision that is in force once the end of the log is reached."""
        return self._newest

    def read(self, decision: GateDecision) -> Result:
        """Take one decision; afterwards :attr:`state` is what is in force."""
        result = self._folded.result_of(decision)
        self._folded = self._folded.obey(decision)
        if result is Result.APPLIED:
            self._newest = decision
        if result is not Result.OTHER_ROLLOUT:
            self._read_sequence = max(self._read_sequence, decision.sequence)
        if self.ready or self._folded.rolled_back:
            self.state, self.decision = self._folded, self._newest
        return result

    def reach_end(self) -> None:
        """The end of the log was reached: what was read is now in force. Counts start from here."""
        if not self.ready:
            self.ready = True
            self._folded = replace(self._folded, ignored=MappingProxyType({}))
            self.state, self.decision = self._folded, self._newest
