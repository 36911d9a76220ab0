"""Power: how much evidence each gate needs until a healthy candidate is proven.

Law: pure arithmetic on the evidence objects that the verdicts use, so a plan is weighed with the very bets
that will judge it. Every request is mirrored at every stage, so pairs come at the full rate of requests at
every weight; evidence from live answers alone would come at weight x rate (:func:`live_needed`). What
``statistics.md`` calls power: chance ``p`` of a proof within so many observations, at the assumed truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from functools import lru_cache
from typing import Final

import numpy as np

from paritygate.comparators import scores
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.distribution import pairs_until
from paritygate.comparators.evidence.mean import bets
from paritygate.comparators.evidence.mixture import F64
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.poisson import excluded_per_hour
from paritygate.comparators.evidence.share import share
from paritygate.gates.findings import bad_limit
from paritygate.gates.latency_power import absolute_latency, relative_latency
from paritygate.gates.measures import LABEL_SHIFT, Kind, Rule
from paritygate.gates.number_power import number_passage
from paritygate.gates.passage import MOST_EVENTS, Passage, exact_below, walk
from paritygate.gates.segment_proof import LOG_WEIGHTS, own_limit
from paritygate.gates.spec import CHANGE_RATES, GateSpec
from paritygate.gates.truth import Truth

HOUR_S: Final = 3600.0
#: Halvings in the search for a limit that can be proven; then it is rounded to two digits.
HALVINGS: Final = 14
#: Median and 9/10 quantile of the gap of two samples of the same distribution, times the root of their size
#: (Kolmogorov 1933, times the root of 2). Pairs that agree lie nearer.
KOLMOGOROV: Final = (1.1704, 1.7308)


@unique
class Sample(StrEnum):
    """What a gate counts until it is proven."""

    PAIRS = "pairs"
    SCORED_PAIRS = "scored pairs"
    HOURS = "running hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Observations until proof with chance 1/2 and 9/10; None = never, at the assumed truth.

    The gate's own ``minimum_samples`` is in both.
    """

    sample: Sample
    p50: float | None
    p90: float | None

    @property
    def provable(self) -> bool:
        """Whether a proof ever comes."""
        return self.p90 is not None


def needed(spec: GateSpec, truth: Truth, alpha_promote: float, segment_ratio: float = 1.0) -> Need:
    """What a gate needs in one stage. The same at every weight: it rests on pairs, or on running time.

    ``alpha_promote`` is the plan's; the gate's own comes first. ``segment_ratio``: a gate on a rate is to be proven
    in a segment that holds this part of the requests too; 1 where no segment is.
    """
    alpha = spec.alpha_promote or alpha_promote
    need = _needed(spec, truth, alpha)
    if spec.kind is not Kind.RATE or segment_ratio >= 1.0:
        return need
    inside = _segment_needed(spec, truth, alpha)
    if inside.p50 is None or inside.p90 is None or need.p50 is None or need.p90 is None:
        return Need(sample=need.sample, p50=None, p90=None)
    p50, p90 = max(need.p50, inside.p50 / segment_ratio), max(need.p90, inside.p90 / segment_ratio)
    return Need(sample=need.sample, p50=p50, p90=p90)


def per_second(sample: Sample, truth: Truth, requests_per_second: float) -> float:
    """How fast a sample grows."""
    pairs = requests_per_second * truth.mirror_ratio
    match sample:
        case Sample.PAIRS:
            return pairs
        case Sample.SCORED_PAIRS:
            return pairs * truth.scored_ratio
        case Sample.HOURS:
            return truth.instances / HOUR_S


def provable_limit(
    spec: GateSpec, truth: Truth, alpha_promote: float, most: float, segment_ratio: float = 1.0
) -> float | None:
    """The tightest limit, looser than the gate's, that is proven within ``most`` observations at 90 %.

    Two significant digits, rounded to the loose side; None where there is none, or where no limit is meant
    (events, limits in ms).
    """
    loosest = _loosest(spec)
    if loosest is None or math.isinf(most):
        return None

    def fits(limit: float) -> bool:
        need = needed(replace(spec, limit=limit, segment_maximum=None), truth, alpha_promote, segment_ratio)
        return need.p90 is not None and need.p90 <= most

    if spec.minimum_samples > most or not fits(loosest):
        return None
    tight, loose = spec.limit, loosest
    for _ in range(HALVINGS):
        middle = (tight + loose) / 2.0
        tight, loose = (tight, middle) if fits(middle) else (middle, loose)
    return _rounded(loose, loosest, up=loosest > spec.limit)


def live_needed(spec: GateSpec, truth: Truth, weight: int, alpha_promote: float) -> Need | None:
    """Requests of both arms until proof *without* mirroring, for gates on failures and outputs; else None.

    An absolute limit is then proven on the candidate's answers alone, a regression by its share of the bad
    events. This is what the shadow saves.
    """
    part, alpha = weight / 100.0, spec.alpha_promote or alpha_promote
    if spec.measure not in ("error_rate", "schema_validation_pass_rate") or not 0.0 < part < 1.0:
        return None
    if spec.rule is not Rule.MAXIMUM_REGRESSION_PERCENT:
        answers = _of(
            _below(bad_limit(spec), _rate(spec.measure, truth), alpha), Sample.PAIRS, spec.minimum_samples
        )
        p50, p90 = (None if n is None else n / part for n in (answers.p50, answers.p90))
        return Need(sample=Sample.PAIRS, p50=p50, p90=p90)
    events = share_events(1.0 + spec.limit / 100.0, part, truth.error_ratio, alpha)
    rate = truth.error_rate * (part * truth.error_ratio + 1.0 - part)
    if events is None or rate <= 0.0:
        return Need(sample=Sample.PAIRS, p50=None, p90=None)
    return Need(sample=Sample.PAIRS, p50=events.quantile(0.5) / rate, p90=events.quantile(0.9) / rate)


def share_events(ratio: float, part: float, true_ratio: float, alpha: float) -> Passage | None:
    """Bad events of both arms until "at most ``ratio`` times the baseline's rate" is proven from shares."""
    chance = part * true_ratio / (part * true_ratio + 1.0 - part)
    gains = share(ratio, "below").gains(np.array([1.0, 0.0]), np.array([0.0, 1.0]), part)
    return walk(gains, np.array([chance, 1.0 - chance]), alpha)


@lru_cache(maxsize=512)
def _needed(spec: GateSpec, truth: Truth, alpha: float) -> Need:
    match spec.kind:
        case Kind.RATE if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
            base = _base_rate(spec.measure, truth)
            passage: Passage | None = _ratio(1.0 + spec.limit / 100.0, base, truth, alpha)
        case Kind.RATE:
            passage = _below(bad_limit(spec), _rate(spec.measure, truth), alpha)
        case Kind.LATENCY if spec.rule is Rule.MAXIMUM:
            passage = absolute_latency(spec.measure, truth, alpha)
        case Kind.LATENCY:
            passage = relative_latency(spec.measure, spec.limit, truth, alpha)
        case Kind.OUTCOME:
            return _of(_mean(spec.limit, truth, alpha), Sample.SCORED_PAIRS, spec.minimum_samples)
        case Kind.NUMBER:
            passage = number_passage(spec, truth, alpha)
        case Kind.DRIFT if spec.measure == LABEL_SHIFT:
            passage = _label_shift(spec.limit, truth, alpha)
        case Kind.DRIFT:
            p50, p90 = (pairs_until(0.0, spec.limit, alpha, noise) for noise in KOLMOGOROV)
            floor = spec.minimum_samples
            p50, p90 = (None if p is None else max(p, floor) for p in (p50, p90))
            return Need(sample=Sample.PAIRS, p50=p50, p90=p90)
        case Kind.EVENTS:
            rate = spec.max_rate_to_exclude_per_hour
            hours = 0.0 if rate is None else excluded_per_hour(1.0, alpha) / rate
            return Need(sample=Sample.HOURS, p50=hours, p90=hours)
    return _of(passage, Sample.PAIRS, spec.minimum_samples)


@lru_cache(maxsize=512)
def _segment_needed(spec: GateSpec, truth: Truth, alpha: float) -> Need:
    """Observations of a segment that is as healthy as all requests, until it is proven by itself."""
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        base = _base_rate(spec.measure, truth)
        return _of(_ratio(1.0 + spec.limit / 100.0, base, truth, alpha), Sample.PAIRS, 0)
    # An absolute limit shares its stake with the proof against a baseline that is above it.
    own = alpha if spec.measure in CHANGE_RATES else alpha * math.exp(LOG_WEIGHTS[0])
    return _of(_below(own_limit(spec), _rate(spec.measure, truth), own), Sample.PAIRS, 0)


def _of(passage: Passage | None, sample: Sample, floor: int) -> Need:
    if passage is None:
        return Need(sample=sample, p50=None, p90=None)
    p50, p90 = (max(passage.quantile(p), float(floor)) for p in (0.5, 0.9))
    return Need(sample=sample, p50=p50, p90=p90)


def _rate(measure: str, truth: Truth) -> float:
    """The candidate's assumed rate of a rate measure."""
    rates = {
        "error_rate": min(truth.error_rate * truth.error_ratio, 1.0),
        "timeout_rate": truth.timeout_rate * truth.error_ratio,
        "schema_validation_pass_rate": truth.invalid_rate,
        "label_change_rate": truth.label_change_rate,
        "output_change_rate": truth.output_change_rate,
    }
    return rates[measure]


def _below(limit: float, rate: float, alpha: float) -> Passage | None:
    """Absolute limit: exact where few bad events decide, else the walk."""
    gains = bernoulli(limit, "below").wealth(np.array([1, 0]), np.array([1, 1]))
    passage = walk(gains, np.array([rate, 1.0 - rate]), alpha)
    if passage is None:
        return None
    few = passage.quantile(0.5) * rate < MOST_EVENTS
    return (exact_below(limit, rate, alpha) if few else None) or passage


def _base_rate(measure: str, truth: Truth) -> float:
    """The baseline's assumed rate of a measure that is compared with it."""
    return truth.timeout_rate if measure == "timeout_rate" else truth.error_rate


def _ratio(ratio: float, base: float, truth: Truth, alpha: float) -> Passage | None:
    """Paired failures: only the candidate, only the baseline, both, none."""
    candidate = min(base * truth.error_ratio, 1.0)
    both = min(base, candidate) * truth.failed_together_ratio
    worse, better = candidate - both, base - both
    one = np.eye(4, dtype=np.int64)
    gains = paired_ratio(ratio, "below").wealth(one[0], one[1], one[2])
    return walk(gains, np.array([worse, better, both, 1.0 - worse - better - both]), alpha)


def _label_shift(limit: float, truth: Truth, alpha: float) -> Passage | None:
    """The slowest label: half of all changes enter it and half leave it, as where there are only two labels."""
    half = truth.label_change_rate / 2.0
    gains = paired(limit, "below").wealth(np.array([1, 0, 0]), np.array([0, 1, 0]), np.array([1, 1, 1]))
    return walk(gains, np.array([half, half, 1.0 - 2.0 * half]), alpha)


def _mean(limit: float, truth: Truth, alpha: float) -> Passage | None:
    """Scores: differences are normal, rounded to 1/1000 and held to -1..1."""
    deltas = scores.values()
    density: F64 = np.exp(-0.5 * ((deltas - truth.score_delta) / truth.score_delta_sd) ** 2)
    gains = np.log1p(bets(limit, "above")[:, None] * (deltas - limit)).T
    return walk(gains, density / density.sum(), alpha)


def _loosest(spec: GateSpec) -> float | None:
    match spec.rule:
        case Rule.MAXIMUM_REGRESSION_PERCENT:
            return 1000.0
        case Rule.MINIMUM_DELTA:
            return -0.9
        case Rule.MAXIMUM_DELTA:
            return 0.9
        case Rule.MINIMUM:
            return 0.5
        case Rule.MAXIMUM:
            return 0.5 if spec.kind in (Kind.RATE, Kind.DRIFT) else None


def _rounded(limit: float, loosest: float, *, up: bool) -> float:
    """Two significant digits of the limit's distance from what is perfect, to the loose side."""
    perfect = 1.0 if not up and loosest > 0.0 else 0.0
    distance = abs(limit - perfect)
    unit = 10.0 ** (math.floor(math.log10(distance)) - 1)
    distance = math.ceil(distance / unit - 1e-9) * unit
    return round(perfect + distance if up else perfect - distance, 9)
