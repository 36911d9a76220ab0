"""Vouched: which records of ``audit.v1`` are to be believed where the keys of deciders are trusted. Pure.

Law: a decision is believed if a trusted key signed it, or if one that is believed continues it: the chain of hashes
speaks for everything before a signature. What lies before the first trusted signature of the log is from the time
before there were keys, or from keys that are retired; nobody can write there any more, so it is believed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from paritygate.schemas.decision import GateDecision

#: Most unsigned decisions that wait for one that is signed and continues them.
MAX_WAITING: Final = 1000


def vouched(decisions: Sequence[GateDecision], is_signed: Callable[[int], bool]) -> list[bool]:
    """For each of the decisions, in log order, whether it is to be believed.

    ``is_signed``: whether a trusted key signed the one at this place. It is asked no more than needed: in a log
    whose chains end in a signature, once for each chain.
    """
    first = next((i for i in range(len(decisions)) if is_signed(i)), len(decisions))
    believed = [i <= first for i in range(len(decisions))]
    continued: set[str] = set()
    for i in range(len(decisions) - 1, first, -1):
        decision = decisions[i]
        if (continued and decision.digest() in continued) or is_signed(i):
            believed[i] = True
            continued.add(decision.previous)
    return believed


class Vouching:
    """The same for a log that is read as it comes: a decision is given out as soon as it is to be believed."""

    def __init__(self) -> None:
        self._signs = False
        self._waiting: dict[str, GateDecision] = {}

    def take(self, decision: GateDecision, *, signed: bool) -> list[GateDecision]:
        """The decisions that are to be believed from now on, in the order of their chain."""
        if not signed and not self._signs:
            return [decision]
        if not signed:
            if len(self._waiting) < MAX_WAITING:
                self._waiting[decision.digest()] = decision
            return []
        self._signs = True
        found = [decision]
        while self._waiting and (before := self._waiting.pop(found[-1].previous, None)) is not None:
            found.append(before)
        return found[::-1]
