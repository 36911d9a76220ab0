"""Lease: how long a decision may be obeyed without a newer one. Pure: the clocks are arguments.

Laws (``reliability.md`` section 4, row "unsupervised"):

* A candidate below 100 % has traffic only as long as somebody watches: the lease runs from the event time up to
  which the evidence of every partition was seen, so that a dead decider, a dead or slow worker and a lost broker
  all end it.
* It never lasts longer than ``lease_ms`` from the moment at which this process learnt of it, by a clock that nobody
  sets: a wall clock that is behind buys no time, one that is ahead costs some.
* Its end is local and no rollback: a newer decision brings the weight back.
"""

from __future__ import annotations

import math
from typing import Final

from paritygate.schemas.decision import GateDecision

#: Of a decision without a lease: it holds until another one comes.
NEVER: Final = math.inf


def lease_end_s(decision: GateDecision | None, *, wall_ms: int, monotonic_s: float) -> float:
    """Until when, on the monotonic clock, ``decision`` may be obeyed; in the past where its lease is over."""
    if decision is None or not decision.lease_until_ms:
        return NEVER
    left_ms = decision.lease_until_ms - wall_ms
    return monotonic_s + min(left_ms, decision.lease_ms) / 1000
