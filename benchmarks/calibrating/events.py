"""Event gates (GPU memory exhausted): a pass must have excluded a rate per hour of running time.

Law: between two events nothing but time passes, so the first look that proves the claim follows from the
least running time that proves it with 0, 1, 2, … events, by the product's `PoissonEvidence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import NEVER, Outcome, outcome
from calibrating.rate_gates import TARGET
from paritygate.comparators.evidence.poisson import poisson

#: Looks an hour; a peer looks as often.
LOOKS_AN_HOUR: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events at ``rate_per_hour`` of running time; at most ``maximum`` may be, and a pass must exclude ``excluded``
    per hour.
    """

    rate_per_hour: float
    maximum: int
    excluded: float = 1.0
    hours: int = 24


def simulate(stream: Events, runs: int, random: np.random.Generator) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'; "pairs" are minutes of running time here."""
    looks = stream.hours * LOOKS_AN_HOUR
    happened = random.poisson(stream.rate_per_hour / LOOKS_AN_HOUR, (runs, looks))
    events = np.cumsum(happened, axis=1)
    minutes = np.arange(1, looks + 1)
    evidence = poisson(stream.excluded, "below")
    enough = np.full(stream.maximum + 2, NEVER)
    for count in range(stream.maximum + 1):
        proven = [m for m in minutes if round(evidence.log_e(count, m / LOOKS_AN_HOUR), 6) >= TARGET]
        if proven:
            enough[count] = proven[0]
    failed = events > stream.maximum
    passed = (minutes >= enough[np.minimum(events, stream.maximum + 1)]) & ~failed
    alarm = happened > stream.maximum
    return outcome(failed, passed, minutes), {"window_threshold": peers.alarms(alarm, 1)}
