"""Stops: what takes the candidate's traffic away at this router whatever is decided, and gives it back.

Law: each stop is local, no rollback, and has a name; where several apply the one that a person must undo is told.
Reading it does no I/O, so that a request can.
"""

from __future__ import annotations

import time
from enum import StrEnum, unique

from paritygate.router.breaker import Breaker
from paritygate.router.kill_switch import KillSwitch
from paritygate.router.lease import NEVER
from paritygate.schemas.decision import GateDecision


@unique
class Stop(StrEnum):
    """Why the weight is 0; the ``state`` of an acknowledgement, where that is not ``applied``."""

    KILLED = "killed"
    LAPSED = "lapsed"
    BREAKER = "breaker"


class Stops:
    """Kill switch, lease and breaker of one router. ``lease_end_s``: on the monotonic clock."""

    def __init__(self, switch: KillSwitch, breaker: Breaker, lease_end_s: float) -> None:
        self.switch, self.breaker, self.lease_end_s = switch, breaker, lease_end_s

    def now(self, weight: int) -> Stop | None:
        """What stops a candidate that is to have ``weight`` percent; None where nothing does."""
        if self.switch.on:
            return Stop.KILLED
        if self.lease_end_s != NEVER and time.monotonic() >= self.lease_end_s:
            return Stop.LAPSED
        return Stop.BREAKER if self.breaker.acts_at(weight) else None

    def why(self, stop: Stop | None, decision: GateDecision | None) -> str:
        """The same in a sentence for a person, and how it ends; empty without a stop. May read a file."""
        if stop is Stop.KILLED:
            reason = self.switch.reason()
            told = f" ({reason})" if reason else ""
            return f"the kill switch is on{told}: the candidate gets no traffic here; to undo, {self.switch.mend}"
        if stop is Stop.LAPSED and decision is not None:
            return (
                f"decision {decision.sequence} is too old to be obeyed: no newer one has come in time, or the "
                "clock here is ahead; the candidate gets no traffic until one does"
            )
        if stop is Stop.BREAKER:
            return "the candidate fails here: the breaker is open until its mirrored answers are good again"
        return ""
