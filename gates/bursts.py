"""Bursts: what a gate that tolerates them asks of closed minutes, by instance where instances are known.

Law: which parts are weighed, and how much, depends on the plan and the measure alone, never on what failed. A part
that has not begun keeps E = 1. A candidate that fails from its first request on need not wait for minutes: the
first one of the rollout is judged by its requests too, but never by what one instance did there, unless more
than half of all requests failed: a burst is less than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.minutes import (
    by_minute_limit,
    by_minute_ratio,
    log_e_absolute,
    log_e_ratio,
    started,
)
from paritygate.comparators.evidence.mixture import log_mixture, uniform
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.poisson import excluded_per_hour, poisson
from paritygate.comparators.evidence.share import share
from paritygate.comparators.evidence.two_channel import BASELINE, CANDIDATE, failing, log_e_bursts, rate_channels
from paritygate.comparators.instances import PLACE
from paritygate.gates.columns import COLUMNS
from paritygate.gates.evidence import Alphas, Sums, floored, reached
from paritygate.gates.findings import bad_limit
from paritygate.gates.measures import Rule
from paritygate.gates.reasons import many
from paritygate.gates.spec import RATES_BY_INSTANCE, GateSpec
from paritygate.schemas.prediction import ARMS

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: By instance: the rollout's first minute, minutes of the whole fleet, calm instance-minutes, bursts.
WEIGHTS: Final = {"opening": 1 / 8, "fleet": 1 / 8, "calm": 1 / 4, "bursts": 1 / 2}
#: Without counts by instance: the rollout's first minute, all closed minutes.
FLEET_WEIGHTS: Final = {"opening": 1 / 4, "fleet": 3 / 4}
#: What a burst of one instance stays below, of the requests of its minute.
LARGEST_BURST: Final = 0.5
#: Above an absolute limit, minutes of the whole fleet count where the candidate is struck more than the baseline by
#: this log E, and has this many instances at most: with more, bursts themselves tell soon enough.
FLEET_LEANS: Final = float(np.log(5.0))
FLEET_INSTANCES: Final = 2
#: Columns of ``comparators.instances`` of the measures that are counted by instance: (bad, total).
BY_INSTANCE: Final = dict(zip(RATES_BY_INSTANCE, (("errors", "requests"), ("invalid", "checked")), strict=True))


@dataclass(frozen=True, slots=True)
class Instances:
    """Bad and total counts of closed minutes, ``[minutes, arms, instances]``, and of the opening."""

    bad: I64
    total: I64
    opening_bad: I64
    opening_total: I64


def instances_of(spec: GateSpec, sums: Sums) -> Instances | None:
    """What is known by instance of a gate's measure; None where the join does not count it."""
    found, names = sums.evidence.instances, BY_INSTANCE.get(spec.measure)
    if found is None or names is None:
        return None
    bad, total = (PLACE[name] for name in names)
    return Instances(
        found.minutes[:, :, bad], found.minutes[:, :, total], found.opening[:, bad], found.opening[:, total]
    )


def burst_parts(spec: GateSpec, sums: Sums) -> dict[str, float]:
    """log E of each part of "all requests", by the names of the weights."""
    known = instances_of(spec, sums)
    if known is None:
        return _without_instances(spec, sums)
    limit = None if _ratio(spec) is not None else bad_limit(spec)
    ratio = _ratio(spec) or 1.0
    calm, bursts = (float(part) for part in rate_channels(known.bad, known.total, limit=limit, ratio=ratio))
    fleet = float(started(_fleet(spec, sums)))
    if limit is not None:
        leans = started(log_e_bursts(failing(known.bad, known.total, limit), known.total > 0))
        few = int((known.total[:, CANDIDATE] > 0).any(axis=0).sum()) <= FLEET_INSTANCES
        fleet = fleet if few and leans >= FLEET_LEANS else min(fleet, 0.0)
    opening = log_mixture(uniform(2), np.array([_opening_whole(spec, sums), _opening_rest(known, limit, ratio)]))
    return {"opening": float(opening), "fleet": fleet, "calm": calm, "bursts": bursts}


def log_e_all(spec: GateSpec, sums: Sums, parts: dict[str, float]) -> float:
    """log E of the weighted mean of the parts."""
    columns = COLUMNS[spec.measure]
    weights = WEIGHTS if "calm" in parts else FLEET_WEIGHTS
    log_e = log_mixture(np.log([weights[name] for name in parts]), np.array(list(parts.values())))
    bad = int(sums.by_minute(columns.bad).sum()) + sums.in_opening(columns.bad)
    return float(floored(log_e, np.asarray(bad), spec.minimum_bad_events))


def worse_than_baseline(spec: GateSpec, sums: Sums, alphas: Alphas) -> bool | None:
    """Whether calm minutes and bursts prove the candidate worse than the baseline; None without instances."""
    known = instances_of(spec, sums)
    if known is None:
        return None
    channels = np.array([float(part) for part in rate_channels(known.bad, known.total)])
    return reached(float(log_mixture(uniform(2), channels)), alphas.rollback)


@dataclass(frozen=True, slots=True)
class StageBursts:
    """How often an instance of the candidate was struck in the stage: ``bursts`` begun in ``hours`` of running."""

    bursts: int
    hours: float


def exclusion(spec: GateSpec, seen: StageBursts, alpha: float) -> tuple[bool, str, float | None]:
    """Whether a pass may come as far as bursts go, what to say of them, and how many instance-hours are missing.

    The hours are None where none are missing or where there has been a burst: then nobody knows.
    """
    limit = spec.max_bursts_to_exclude_per_hour
    if limit is None:
        return True, "bursts are not excluded", None
    counted = many(seen.bursts, "burst") if seen.bursts else "no burst"
    words = f"{counted} in {seen.hours:.2g} instance-hours"
    if reached(poisson(limit, "below").log_e(seen.bursts, seen.hours), alpha):
        return True, f"{words}: more than {limit:g}/h per instance are excluded", None
    words = f"{words}; more than {limit:g}/h per instance must be excluded"
    if seen.bursts:
        return False, words, None
    more = excluded_per_hour(1.0, alpha) / limit - seen.hours
    return False, f"{words}: {more:.2g} more without one", more


def bursts_in_stage(struck: Mask, active: Mask, sums: Sums) -> StageBursts:
    """Bursts of the stage; ``struck``, ``active``: ``[minutes, arms, instances]`` of all closed minutes.

    A burst is counted in the minute in which it begins, and while it lasts no other can begin.
    """
    found = sums.evidence.instances
    if found is None:
        return StageBursts(0, 0.0)
    ours = struck[:, CANDIDATE]
    before = np.concatenate([np.zeros_like(ours[:1]), ours[:-1]])
    may_begin = active[:, CANDIDATE] & ~before & found.in_stage[:, None]
    return StageBursts(int((ours & may_begin).sum()), int(may_begin.sum()) * found.minute_ms / 3_600_000.0)


def struck_numbers(spec: GateSpec, sums: Sums) -> dict[str, float | int | None]:
    """How many instance-minutes of each arm were bursts, of how many; nothing where instances are not known."""
    known = instances_of(spec, sums)
    if known is None:
        return {}
    return struck_by_arm(failing(known.bad, known.total, _cut(spec)), known.total > 0)


def struck_by_arm(struck: Mask, active: Mask) -> dict[str, float | int | None]:
    """The same from ``[minutes, arms, instances]``."""
    return {
        f"{what}_{arm.value}": int(mask[:, i].sum())
        for i, arm in enumerate(ARMS)
        for what, mask in (("bursts", struck), ("instance_minutes", active))
    }


def rate_bursts(spec: GateSpec, sums: Sums) -> StageBursts:
    """:func:`bursts_in_stage` of a rate."""
    known = instances_of(spec, sums)
    if known is None:
        return StageBursts(0, 0.0)
    return bursts_in_stage(failing(known.bad, known.total, _cut(spec)), known.total > 0, sums)


def _cut(spec: GateSpec) -> float:
    """The limit that the cut between calm and burst takes notice of."""
    return 0.0 if _ratio(spec) is not None else bad_limit(spec)


def _ratio(spec: GateSpec) -> float | None:
    """The ratio of a relative rule; None for an absolute one."""
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT and COLUMNS[spec.measure].paired is not None:
        return 1.0 + spec.limit / 100.0
    return None


def _fleet(spec: GateSpec, sums: Sums) -> F64:
    """log E since each closed minute of the whole fleet, one bet a minute."""
    columns, ratio = COLUMNS[spec.measure], _ratio(spec)
    bad, total = sums.by_minute(columns.bad), sums.by_minute(columns.total)
    if ratio is None or columns.paired is None:
        return by_minute_limit(bad, total, bad_limit(spec))
    worse, better = (sums.by_minute(name) for name in columns.paired)
    return by_minute_ratio(worse, better, bad - worse, total, ratio)


def _opening_whole(spec: GateSpec, sums: Sums) -> float:
    """log E of "more than half of the first minute's requests failed, and more than the baseline's"."""
    columns = COLUMNS[spec.measure]
    assert columns.paired is not None
    bad, total = sums.in_opening(columns.bad), sums.in_opening(columns.total)
    worse, better = (sums.in_opening(name) for name in columns.paired)
    broken = bernoulli(max(LARGEST_BURST, bad_limit(spec) if _ratio(spec) is None else 0.0), "above")
    return float(min(broken.log_e(bad, total), _unlike(spec, bad, worse, better)))


def _unlike(spec: GateSpec, bad: int, worse: int, better: int) -> F64:
    """log E of "worse than the baseline" on the pairs of the first minute.

    That minute is never outweighed by later ones, so an incident of both arms must not enter it.
    """
    ratio = _ratio(spec)
    if ratio is None:
        return paired(0.0, "above").log_e(worse, better, 0)
    return paired_ratio(ratio, "above").log_e(worse, better, bad - worse)


def _opening_rest(known: Instances, limit: float | None, ratio: float) -> float:
    """log E of the first minute whichever instance of the candidate is left out; 0 where none would remain."""
    bad, total = known.opening_bad[CANDIDATE], known.opening_total[CANDIDATE]
    active = total > 0
    if int(active.sum()) < 2:
        return 0.0
    rest_bad, rest = bad.sum() - bad[active], total.sum() - total[active]
    base_bad, base = known.opening_bad[BASELINE].sum(), known.opening_total[BASELINE].sum()
    log_e = share(ratio).log_e_at(
        rest_bad, np.full(len(rest), base_bad, np.float64), rest / np.maximum(rest + base, 1)
    )
    if limit is not None:
        log_e = np.minimum(log_e, bernoulli(limit, "above").log_e(rest_bad, rest))
    return float(log_e.min())


def _without_instances(spec: GateSpec, sums: Sums) -> dict[str, float]:
    """The same from counts of the whole fleet alone, for what is not counted by instance: changes are a pair's."""
    columns, ratio = COLUMNS[spec.measure], _ratio(spec)
    bad, total = sums.by_minute(columns.bad), sums.by_minute(columns.total)
    first_bad, first = sums.in_opening(columns.bad), sums.in_opening(columns.total)
    worse, better = (sums.in_opening(name) for name in columns.paired) if columns.paired is not None else (0, 0)
    if ratio is not None and columns.paired is not None:
        opening = _unlike(spec, first_bad, worse, better)
        only, spared = (sums.by_minute(name) for name in columns.paired)
        fleet = log_e_ratio(only, spared, bad - only, total, ratio)
    else:
        opening = bernoulli(bad_limit(spec), "above").log_e(first_bad, first)
        if columns.paired is not None:
            opening = np.minimum(opening, _unlike(spec, first_bad, worse, better))
        fleet = log_e_absolute(bad, total, bad_limit(spec))
    return {"opening": float(opening), "fleet": float(fleet)}
