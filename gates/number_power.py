"""Number power: pairs until a gate on a number of the events is proven.

Law: the bets that will judge it, on the buckets that they are counted in, at the assumed truth: lognormal numbers
for a regression, normal differences held to -1..1 for a delta. Nothing is assumed missing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence.mean import bets
from paritygate.comparators.evidence.mixture import F64, Claim
from paritygate.comparators.numbers import NumberRule
from paritygate.gates.measures import Rule
from paritygate.gates.passage import InverseGaussian, walk
from paritygate.gates.spec import GateSpec
from paritygate.gates.truth import Truth

#: Points of each arm's normal law, and how many standard deviations they reach.
POINTS: Final = 121
REACH: Final = 5.0


@lru_cache(maxsize=256)
def number_passage(spec: GateSpec, truth: Truth, alpha: float) -> InverseGaussian | None:
    """Pairs until proof; None where the assumed candidate does not keep the limit."""
    rule = spec.number_rule()
    if rule is None:
        raise ValueError(f"gate {spec.name} is on no number of the events")
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        places, chances = _lognormal(rule, truth)
        limit, claim = rule.on_buckets(0.0), _BELOW
    else:
        places = scores.values()
        chances = np.exp(-0.5 * ((places - truth.number_delta) / truth.number_delta_sd) ** 2)
        chances = chances / chances.sum()
        limit, claim = spec.limit, _ABOVE if spec.rule is Rule.MINIMUM_DELTA else _BELOW
    gains = np.log1p(bets(limit, claim)[:, None] * (places - limit)).T
    return walk(gains, chances, alpha)


_BELOW: Final[Claim] = "below"
_ABOVE: Final[Claim] = "above"


def _lognormal(rule: NumberRule, truth: Truth) -> tuple[F64, F64]:
    """Where the differences of a correlated lognormal pair lie on the buckets, and how likely each is."""
    z = np.linspace(-REACH, REACH, POINTS)
    weight = np.exp(-0.5 * z * z)
    weight = weight / weight.sum()
    own = math.sqrt(1.0 - truth.number_correlation**2)
    shared, other = np.meshgrid(z, z, indexing="ij")
    median = truth.number_to_cap_ratio
    base = np.minimum(median * np.exp(truth.number_sigma * shared), 1.0)
    log = truth.number_sigma * (truth.number_correlation * shared + own * other)
    candidate = np.minimum(median * truth.number_ratio * np.exp(log), 1.0)
    places = (2.0 * (candidate - rule.slope * base) + rule.slope - 1.0) / (1.0 + rule.slope)
    return places.ravel(), np.outer(weight, weight).ravel()
