"""Gates on rates that tolerate bursts, over many rollouts of fleets at once: `gates/bursts.py` on arrays.

Law: the e-values are those of the product's own evidence classes, at every window; only what combines them is
written anew for arrays, and a test compares it with `assess_gates` on the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import F64, I64, Mask, Outcome, outcome
from calibrating.rate_gates import TARGET, distinct, over_starts
from calibrating.traffic import MINUTE
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.minutes import by_minute_limit, by_minute_ratio, started
from paritygate.comparators.evidence.mixture import log_mixture, uniform
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.poisson import poisson
from paritygate.comparators.evidence.share import share
from paritygate.comparators.evidence.two_channel import failing, log_e_bursts, rate_channels
from paritygate.gates.bursts import FLEET_INSTANCES, FLEET_LEANS, LARGEST_BURST, WEIGHTS
from paritygate.gates.evidence import STAGE_LOG_WEIGHT, WHOLE_LOG_WEIGHT
from paritygate.gates.measures import Rule
from paritygate.gates.segments import ALL_LOG_WEIGHT
from paritygate.gates.spec import GateSpec

WINDOW: Final = 50
A_MINUTE: Final = MINUTE // WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Requests that both arms answer, spread evenly over each arm's instances.

    ``instances``: of baseline and candidate. ``bursts_an_hour``: per instance, each of one to ``longest`` minutes
    with ``burst_rate`` more bad ones. ``incidents``: part of the minutes 20 times as sick in both arms. ``onset``:
    looks before which the candidate is as good as the baseline.
    """

    baseline: float = 0.003
    candidate: float = 0.003
    instances: tuple[int, int] = (1, 1)
    looks: int = 1200
    bursts_an_hour: float = 0.0
    burst_rate: float = 0.3
    longest: int = 1
    incidents: float = 0.0
    onset: int = 0

    @property
    def pairs(self) -> I64:
        """Pairs seen at each look."""
        seen: I64 = (np.arange(self.looks) + 1) * WINDOW
        return seen


@dataclass(frozen=True, slots=True)
class Drawn:
    """``bad``, ``total``: ``[runs, looks, arms, instances]``; ``both``: pairs bad in both, ``[runs, looks]``."""

    bad: I64
    total: I64
    both: I64


def simulate(
    gate: GateSpec, stream: Fleet, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'."""
    drawn = draw(stream, runs, random)
    failed, passed, _ = assess(gate, drawn)
    return outcome(failed, passed, stream.pairs), _peers(gate, drawn)


def draw(stream: Fleet, runs: int, random: np.random.Generator) -> Drawn:
    """Draw ``runs`` rollouts."""
    minutes, most = -(-stream.looks // A_MINUTE), max(stream.instances)
    incident = random.random((runs, minutes, 1)) < stream.incidents
    bad, total = (np.zeros((runs, stream.looks, 2, most), np.int64) for _ in range(2))
    for arm, (count, rate) in enumerate(zip(stream.instances, (stream.baseline, stream.candidate), strict=True)):
        burst = _bursts(stream, (runs, minutes, count), random)
        by_look = np.repeat(np.where(incident, 20.0, 1.0), A_MINUTE, axis=1)[:, : stream.looks]
        well = np.arange(stream.looks)[:, None] < stream.onset
        own = np.where(well, stream.baseline, rate) * by_look
        own = np.minimum(own + stream.burst_rate * np.repeat(burst, A_MINUTE, axis=1)[:, : stream.looks], 0.95)
        total[:, :, arm, :count] = random.multinomial(WINDOW, np.full(count, 1.0 / count), (runs, stream.looks))
        bad[:, :, arm, :count] = random.binomial(total[:, :, arm, :count], own)
    sums = bad.sum(axis=3)
    both = random.hypergeometric(sums[:, :, 0], WINDOW - sums[:, :, 0], sums[:, :, 1])
    return Drawn(bad, total, both)


def _bursts(stream: Fleet, shape: tuple[int, int, int], random: np.random.Generator) -> Mask:
    begun = random.random(shape) < stream.bursts_an_hour / 60.0
    length = random.integers(1, stream.longest + 1, shape)
    struck = begun.copy()
    for more in range(1, stream.longest):
        struck[:, more:] |= (begun & (length > more))[:, :-more]
    return struck


def assess(spec: GateSpec, drawn: Drawn) -> tuple[Mask, Mask, F64]:
    """Which looks fail and which pass, and log E_bad, ``[runs, looks]``."""
    sums, totals = (np.cumsum(part.sum(axis=3), axis=1) for part in (drawn.bad, drawn.total))
    bad, base_bad, total, both = sums[:, :, 1], sums[:, :, 0], totals[:, :, 1], np.cumsum(drawn.both, axis=1)
    looks = bad.shape[1]
    ratio = 1.0 + spec.limit / 100.0 if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT else None
    closed = _closed(spec, drawn, ratio)
    parts = [_opening(spec, drawn, ratio), *(closed[name] for name in ("fleet", "calm", "bursts"))]
    log_e = log_mixture(np.log(list(WEIGHTS.values())), np.stack(parts, axis=-1))
    ended = (np.arange(looks) + 1) // A_MINUTE * A_MINUTE
    enough = (
        np.where(ended > 0, bad[:, np.maximum(ended - 1, 0)], 0)
        + bad[:, np.minimum(np.arange(looks), A_MINUTE - 1)]
    )
    # One more test (of live answers' share, or of them since any onset) that has seen nothing, and no segments.
    other = 0.0 if ratio is not None else float(np.logaddexp(WHOLE_LOG_WEIGHT, STAGE_LOG_WEIGHT))
    log_e_bad = np.logaddexp(_floored(spec, log_e, enough), other) - np.log(2.0) + ALL_LOG_WEIGHT
    reached: Mask = np.round(log_e_bad, 6) >= TARGET
    failed = reached
    if ratio is None:
        told = np.flatnonzero(reached.any(axis=1))
        failed = reached.copy()
        if len(told):
            failed[told] &= ~_environment(spec, Drawn(drawn.bad[told], drawn.total[told], drawn.both[told]))
        log_e_ok = distinct(bernoulli(spec.limit, "below").log_e, bad, total)
    else:
        log_e_ok = distinct(paired_ratio(ratio, "below").log_e, bad - both, base_bad - both, both)
    passed: Mask = (np.round(log_e_ok, 6) >= TARGET) & (total >= spec.minimum_samples) & ~reached
    if spec.max_bursts_to_exclude_per_hour is not None:
        passed &= _excluded(spec, drawn)
    return failed, passed, log_e_bad


def _floored(spec: GateSpec, log_e: F64, bad: I64) -> F64:
    return np.where(bad >= spec.minimum_bad_events, log_e, np.minimum(log_e, 0.0))


def _by_minute(counts: I64) -> I64:
    """Sums of the minutes that close, ``[runs, minutes, arms, instances]``."""
    minutes = counts.shape[1] // A_MINUTE
    found: I64 = (
        counts[:, : minutes * A_MINUTE].reshape(len(counts), minutes, A_MINUTE, *counts.shape[2:]).sum(axis=2)
    )
    return found


def _closed(spec: GateSpec, drawn: Drawn, ratio: float | None) -> dict[str, F64]:
    """log E of the parts that closed minutes speak in, each held until the next minute closes."""
    bad, total = _by_minute(drawn.bad), _by_minute(drawn.total)
    runs, looks = drawn.both.shape
    found = {name: np.zeros((runs, looks)) for name in ("fleet", "calm", "bursts")}
    for count in range(1, bad.shape[1] + 1):
        b, n = bad[:, :count], total[:, :count]
        fleet_bad, fleet_base, fleet = b[:, :, 1].sum(axis=2), b[:, :, 0].sum(axis=2), n[:, :, 1].sum(axis=2)
        calm, bursts = rate_channels(b, n, limit=spec.limit if ratio is None else None, ratio=ratio or 1.0)
        said = {"calm": calm, "bursts": bursts}
        if ratio is None:
            by_fleet = started(by_minute_limit(fleet_bad, fleet, spec.limit))
            leans = started(log_e_bursts(failing(b, n, spec.limit), n > 0)) >= FLEET_LEANS
            few = (n[:, :, 1] > 0).any(axis=1).sum(axis=1) <= FLEET_INSTANCES
            said["fleet"] = np.where(few & leans, by_fleet, np.minimum(by_fleet, 0.0))
        else:
            said["fleet"] = started(by_minute_ratio(fleet_bad, fleet_base, np.zeros_like(fleet), fleet, ratio))
        for name, log_e in said.items():
            found[name][:, count * A_MINUTE - 1 : (count + 1) * A_MINUTE - 1] = log_e[:, None]
    return found


def _environment(spec: GateSpec, drawn: Drawn) -> Mask:
    """Whether the baseline is above the limit itself since the loudest onset, and the candidate not worse."""
    counts = (drawn.bad[:, :, 1], drawn.bad[:, :, 0], drawn.total[:, :, 1])
    bad, base_bad, total = (np.cumsum(c.sum(axis=2), axis=1) for c in counts)
    above = bernoulli(spec.limit, "above").log_e
    _, onset = over_starts(lambda b, n: _floored(spec, distinct(above, b, n), b), bad, total)
    before = np.maximum(onset - 1, 0)
    sick, of = (c - np.where(onset > 0, np.take_along_axis(c, before, axis=1), 0) for c in (base_bad, total))
    unlike = np.zeros(bad.shape)
    by_minute, totals = _by_minute(drawn.bad), _by_minute(drawn.total)
    for count in range(1, by_minute.shape[1] + 1):
        log_e = log_mixture(uniform(2), np.stack(rate_channels(by_minute[:, :count], totals[:, :count]), axis=-1))
        unlike[:, count * A_MINUTE - 1 : (count + 1) * A_MINUTE - 1] = log_e[:, None]
    found: Mask = (sick > spec.limit * of) & ~(np.round(unlike, 6) >= TARGET)
    return found


def _opening(spec: GateSpec, drawn: Drawn, ratio: float | None) -> F64:
    """log E of the rollout's first minute at each look."""
    place = np.minimum(np.arange(drawn.both.shape[1]), A_MINUTE - 1)
    bad, total = (np.cumsum(part[:, :A_MINUTE], axis=1) for part in (drawn.bad, drawn.total))
    both = np.cumsum(drawn.both[:, :A_MINUTE], axis=1)
    ours, theirs, requests = bad[:, :, 1].sum(axis=2), bad[:, :, 0].sum(axis=2), total[:, :, 1].sum(axis=2)
    if ratio is None:
        unlike = paired(0.0, "above").log_e(ours - both, theirs - both, 0)
    else:
        unlike = paired_ratio(ratio, "above").log_e(ours - both, theirs - both, both)
    largest = max(LARGEST_BURST, spec.limit if ratio is None else 0.0)
    whole = np.minimum(bernoulli(largest, "above").log_e(ours, requests), unlike)
    rest_bad, rest = ours[:, :, None] - bad[:, :, 1], requests[:, :, None] - total[:, :, 1]
    base = total[:, :, 0].sum(axis=2)[:, :, None]
    part = rest / np.maximum(rest + base, 1)
    log_e = share(ratio or 1.0).log_e_at(rest_bad, np.broadcast_to(theirs[:, :, None], rest.shape), part)
    if ratio is None:
        log_e = np.minimum(log_e, bernoulli(spec.limit, "above").log_e(rest_bad, rest))
    active = total[:, :, 1] > 0
    least = np.where(active, log_e, np.inf).min(axis=2)
    without = np.where(active.sum(axis=2) >= 2, least, 0.0)
    found: F64 = log_mixture(uniform(2), np.stack([whole, without], axis=-1))[:, place]
    return found


def _excluded(spec: GateSpec, drawn: Drawn) -> Mask:
    """Whether a pass has excluded the rate of bursts of the candidate's instances."""
    assert spec.max_bursts_to_exclude_per_hour is not None
    limit = 0.0 if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT else spec.limit
    bad, total = _by_minute(drawn.bad), _by_minute(drawn.total)
    struck = failing(bad, total, limit)[:, :, 1]
    before = np.concatenate([np.zeros_like(struck[:, :1]), struck[:, :-1]], axis=1)
    may_begin = (total[:, :, 1] > 0) & ~before
    bursts, exposed = (np.cumsum(m.sum(axis=2), axis=1) for m in (struck & may_begin, may_begin))
    evidence = poisson(spec.max_bursts_to_exclude_per_hour, "below")
    found = np.zeros(drawn.both.shape, np.bool_)
    for count, minutes in {*zip(bursts.ravel().tolist(), exposed.ravel().tolist(), strict=True)}:
        if round(evidence.log_e(count, minutes / 60.0), 6) < TARGET:
            continue
        for run, minute in np.argwhere((bursts == count) & (exposed == minutes)).tolist():
            found[run, (minute + 1) * A_MINUTE - 1 : (minute + 2) * A_MINUTE - 1] = True
    return found


def _peers(spec: GateSpec, drawn: Drawn) -> dict[str, Outcome]:
    """Per minute, on all requests of each arm."""
    bad, total = _by_minute(drawn.bad).sum(axis=3), _by_minute(drawn.total).sum(axis=3)
    base, ours, requests = bad[:, :, 0], bad[:, :, 1], total[:, :, 1]
    most = (
        (1.0 + spec.limit / 100.0) * base if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT else spec.limit * requests
    )
    return {
        "window_threshold": peers.alarms(ours > most, MINUTE),
        "z_test": peers.alarms(peers.two_proportions(ours, base, requests, requests), MINUTE),
        "mann_whitney": peers.alarms(peers.mann_whitney(base / requests, ours / requests), MINUTE),
    }
