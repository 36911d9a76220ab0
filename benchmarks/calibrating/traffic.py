"""Traffic: seeded counts per window of paired requests that went wrong in one arm, the other, or both.

Law: given what happens at that time (incidents, bursts), requests are independent. Every request is
mirrored, so both arms answer all of them; the candidate's answer goes to the user for the live part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating.outcome import F64, I64

#: Requests per minute: the pace of the peers, and of incidents and bursts.
MINUTE: Final = 1000
TENANTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Rates of one stream. ``common``: part of the smaller arm's bad requests that are bad in both.

    ``incidents``: part of the minutes in which ``sickness`` times as many requests go wrong in both arms.
    ``bursts_an_hour``: minutes, per instance and hour, with ``burst_rate`` bad ones; the candidate has one
    instance, the baseline likewise. ``weight``: live part of the candidate. ``sticky``: that part is made of whole
    tenants of unequal size; ``unlike``: standard deviation of the logarithm of their rates. ``onset``: looks
    before which the candidate is as good as the baseline.
    """

    baseline: float
    candidate: float
    common: float = 0.3
    looks: int = 400
    window: int = 50
    incidents: float = 0.0
    sickness: float = 20.0
    bursts_an_hour: float = 0.0
    burst_rate: float = 0.3
    weight: float = 0.0
    sticky: bool = False
    unlike: float = 0.0
    onset: int = 0

    @property
    def pairs(self) -> I64:
        """Pairs seen at each look."""
        seen: I64 = (np.arange(self.looks) + 1) * self.window
        return seen

    @property
    def windows_a_minute(self) -> int:
        return MINUTE // self.window


@dataclass(frozen=True, slots=True)
class Windows:
    """Counts per window, ``[runs, looks]`` or ``[runs, looks, segments]``. ``worse``: bad in the candidate only."""

    total: I64
    worse: I64
    better: I64
    both: I64
    live: I64
    live_bad: I64
    live_baseline: I64
    live_baseline_bad: I64

    @property
    def bad(self) -> I64:
        return self.worse + self.both

    @property
    def baseline_bad(self) -> I64:
        return self.better + self.both


def windows(traffic: Traffic, runs: int, random: np.random.Generator) -> Windows:
    """Draw ``runs`` rollouts."""
    shape = (runs, traffic.looks)
    factor = np.where(_minutes(traffic, random, shape, traffic.incidents), traffic.sickness, 1.0)
    extra = [traffic.burst_rate * _minutes(traffic, random, shape, traffic.bursts_an_hour / 60.0) for _ in range(2)]
    part, inside = _tenants(traffic, runs, random)
    live = random.binomial(traffic.window, np.broadcast_to(part[:, None], shape))
    # Overall rates stay as declared, whatever the live tenants' own rates are.
    outside = np.where(part < 1.0, (1.0 - part * inside) / np.maximum(1.0 - part, 1e-9), 1.0)
    counted = [
        _strata(traffic, total, factor * np.maximum(multiple, 0.0)[:, None], extra, random)
        for total, multiple in ((live, inside), (traffic.window - live, outside))
    ]
    (worse_in, better_in, both_in), (worse_out, better_out, both_out) = counted
    return Windows(
        total=np.full(shape, traffic.window),
        worse=worse_in + worse_out,
        better=better_in + better_out,
        both=both_in + both_out,
        live=live,
        live_bad=worse_in + both_in,
        live_baseline=traffic.window - live,
        live_baseline_bad=better_out + both_out,
    )


def _strata(
    traffic: Traffic, total: I64, factor: F64, extra: list[F64], random: np.random.Generator
) -> tuple[I64, I64, I64]:
    """Counts (only the candidate, only the baseline, both) among ``total`` requests."""
    baseline = np.minimum(traffic.baseline * factor, 0.9)
    candidate = np.minimum(traffic.candidate * factor, 0.9)
    candidate = np.where(np.arange(traffic.looks) < traffic.onset, baseline, candidate)
    shared = traffic.common * np.minimum(baseline, candidate)
    own_candidate = np.minimum((candidate - shared) / (1.0 - shared) + extra[0], 0.95)
    own_baseline = np.minimum((baseline - shared) / (1.0 - shared) + extra[1], 0.95)
    common = random.binomial(total, shared)
    rest = total - common
    bad = random.binomial(rest, own_candidate)
    coincide = random.binomial(bad, own_baseline)
    better = random.binomial(rest - bad, own_baseline)
    return bad - coincide, better, common + coincide


def _minutes(traffic: Traffic, random: np.random.Generator, shape: tuple[int, int], part: float) -> F64:
    """1 in the windows of the minutes that are struck, each with chance ``part``, else 0."""
    if not part:
        return np.zeros(shape)
    runs, looks = shape
    struck = random.random((runs, -(-looks // traffic.windows_a_minute))) < part
    found: F64 = np.repeat(struck, traffic.windows_a_minute, axis=1)[:, :looks].astype(np.float64)
    return found


def _tenants(traffic: Traffic, runs: int, random: np.random.Generator) -> tuple[F64, F64]:
    """Per run: the live part, and how many times as sick as all requests the live tenants are."""
    if not traffic.sticky:
        return np.full(runs, traffic.weight), np.ones(runs)
    size = 1.0 / np.arange(1, TENANTS + 1)
    size = size / size.sum()
    chosen = np.argsort(random.random((runs, TENANTS)), axis=1) < traffic.weight * TENANTS
    rate = np.exp(traffic.unlike * random.normal(size=(runs, TENANTS)))
    rate = rate / (rate * size).sum(axis=1, keepdims=True)
    part: F64 = (chosen * size).sum(axis=1)
    inside: F64 = (chosen * size * rate).sum(axis=1) / part
    return part, inside
