"""Rate gates over many rollouts at once: `gates/rates.py` on arrays ``[runs, looks]``.

Law: the e-values are those of the product's own evidence classes; only what combines them is written anew
for arrays, and a test compares the two on the same counts. Equal counts are evaluated once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating.outcome import F64, I64, Mask
from calibrating.traffic import MINUTE, Windows
from paritygate.comparators.evidence.bernoulli import bernoulli
from paritygate.comparators.evidence.minutes import log_e_absolute, log_e_ratio
from paritygate.comparators.evidence.mixture import log_mixture, start_log_weights, uniform
from paritygate.comparators.evidence.paired import paired, paired_ratio
from paritygate.comparators.evidence.share import share
from paritygate.gates.bursts import FLEET_WEIGHTS
from paritygate.gates.evidence import STAGE_LOG_WEIGHT, WHOLE_LOG_WEIGHT
from paritygate.gates.findings import bad_limit, log_e_worse
from paritygate.gates.measures import Rule
from paritygate.gates.segment_proof import SegmentCounts, log_e_ok
from paritygate.gates.segments import ALL_LOG_WEIGHT, family_log_weight
from paritygate.gates.spec import CHANGE_RATES, GateSpec

#: E >= 20, as rounded by `gates.evidence.reached`.
TARGET: Final = round(math.log(20.0), 6)
#: Most panes; where there would be more, their width doubles, as in `rollouts/ledger.py`.
MOST_PANES: Final = 24
LARGEST_TABLE: Final = 1 << 22
#: Measures of which the baseline has a rate, too.
PAIRED_MEASURES: Final = ("error_rate", "timeout_rate", "schema_validation_pass_rate")


@dataclass(frozen=True, slots=True)
class Said:
    """What a gate said at each look: ``[runs, looks]``."""

    log_e_bad: F64
    log_e_ok: F64
    failed: Mask
    passed: Mask


def distinct(log_e: Callable[..., F64], *counts: I64) -> F64:
    """``log_e`` of integer arrays, evaluated once for equal rows."""
    arrays = np.broadcast_arrays(*counts)
    key: I64 = np.zeros(arrays[0].shape, np.int64)
    sizes = [int(array.max()) + 1 for array in arrays]
    for array, size in zip(arrays, sizes, strict=True):
        key = (key * size + array).astype(np.int64)
    span = math.prod(sizes)
    if span > max(LARGEST_TABLE, key.size):
        found, back = np.unique(key, return_inverse=True)
    else:  # A table of all keys saves the sort.
        there = np.zeros(span, np.bool_)
        there[key] = True
        found = np.flatnonzero(there)
        place = np.empty(span, np.int32)
        place[found] = np.arange(len(found))
        back = place[key].astype(np.int64)
    columns: list[I64] = []
    for size in reversed(sizes):
        found, column = np.divmod(found, size)
        columns.insert(0, column)
    values: F64 = log_e(*columns)[back].reshape(key.shape)
    return values


def assess(spec: GateSpec, windows: Windows, cells: Windows | None = None) -> Said:
    """Judge a rate gate at every look; ``cells`` are the same windows by segment of one dimension."""
    seen = {name: np.cumsum(getattr(windows, name), axis=1) for name in Windows.__slots__}
    bad = seen["worse"] + seen["both"]
    relative = spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT
    paired_measure = spec.measure in PAIRED_MEASURES
    limit, ratio = bad_limit(spec), 1.0 + spec.limit / 100.0
    live = np.full(bad.shape, -np.inf)
    if relative:
        above = paired_ratio(ratio, "above").log_e

        def overall(worse: I64, better: I64, both: I64) -> F64:
            return _floored(distinct(above, worse, better, both), worse + both, spec)

        if spec.tolerate_bursts:
            mixed = _by_minute(spec, windows, seen)
        else:
            mixed, _ = over_starts(overall, seen["worse"], seen["better"], seen["both"])
        tests = [mixed, _share(windows, ratio, spec)]
    else:
        tested = bernoulli(limit, "above").log_e

        def absolute(bad: I64, total: I64) -> F64:
            return _floored(distinct(tested, bad, total), bad, spec)

        everything, onset = over_starts(absolute, bad, seen["total"])
        if spec.tolerate_bursts:
            everything = _by_minute(spec, windows, seen)
        tests = [everything]
        if paired_measure:
            live, live_onset = over_starts(absolute, seen["live_bad"], seen["live"])
            tests.append(live)
            onset = np.where(live > everything, live_onset, onset)
    log_all = log_mixture(uniform(len(tests)), np.stack(tests, axis=-1))
    segments = _segments(spec, cells, limit, ratio) if cells is not None else None
    told = np.zeros_like(segments) if segments is not None and spec.tolerate_bursts else segments
    # Without segments a burst-tolerant gate is like any other.
    log_e_bad = _with_all(log_all, told)
    reached = log_e_bad >= TARGET
    failed = reached
    if not relative and paired_measure and reached.any():
        failed = reached & ~_environment(spec, windows, seen, told, onset)
    if relative:
        log_e_ok = distinct(paired_ratio(ratio, "below").log_e, seen["worse"], seen["better"], seen["both"])
    else:
        log_e_ok = distinct(bernoulli(limit, "below").log_e, bad, seen["total"])
    proven = (log_e_ok >= TARGET) & (seen["total"] >= spec.minimum_samples) & (live < math.log(20.0) / 2.0)
    proven &= _segments_proven(spec, cells, bad.shape)
    passed: Mask = proven & ~reached & ~_outstanding(segments, cells, bad.shape)
    return Said(log_e_bad, log_e_ok, failed, passed)


def _floored(log_e: F64, bad: I64, spec: GateSpec) -> F64:
    return np.where(bad >= spec.minimum_bad_events, log_e, np.minimum(log_e, 0.0))


def over_starts(log_e: Callable[..., F64], *seen: I64 | F64) -> tuple[F64, I64]:
    """Mixture over onsets: the rollout's start, the stage's (the same here), and the starts of panes.

    And the onset that says most, as the number of windows before it.
    """
    looks = seen[0].shape[1]
    whole = log_e(*seen)
    mixed: F64 = np.logaddexp(whole + WHOLE_LOG_WEIGHT, whole + STAGE_LOG_WEIGHT)
    loudest, onset = np.round(whole + WHOLE_LOG_WEIGHT, 6), np.zeros(whole.shape, np.int64)
    weights = start_log_weights(MOST_PANES) - math.log(2.0)
    width, begin = 1, 0
    while begin < looks:
        end = min(MOST_PANES * width, looks)
        for start in range(width, end, width):
            part = slice(max(start, begin), end)
            later = log_e(*(s[:, part] - s[:, start - 1 : start] for s in seen)) + weights[start // width - 1]
            mixed[:, part] = np.logaddexp(mixed[:, part], later)
            louder = np.round(later, 6) > loudest[:, part]
            loudest[:, part] = np.where(louder, np.round(later, 6), loudest[:, part])
            onset[:, part] = np.where(louder, start, onset[:, part])
        begin, width = end, 2 * width
    return mixed, onset


def _by_minute(spec: GateSpec, windows: Windows, seen: dict[str, I64]) -> F64:
    """The first minute by its requests, and all closed minutes as such."""
    per_minute = MINUTE // int(windows.total[0, 0])
    looks = windows.total.shape[1]
    relative, ratio, limit = spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT, 1.0 + spec.limit / 100.0, bad_limit(spec)
    worse, better, both, total = (seen[name] for name in ("worse", "better", "both", "total"))
    ends = np.arange(per_minute - 1, looks, per_minute)
    minutes = [np.diff(counts[:, ends], axis=1, prepend=0) for counts in (worse, better, both, total)]
    first = [counts[:, np.minimum(np.arange(looks), per_minute - 1)] for counts in (worse, better, both, total)]
    if relative:
        opening = distinct(paired_ratio(ratio, "above").log_e, *first[:3])
    else:
        opening = distinct(bernoulli(limit, "above").log_e, first[0] + first[2], first[3])
        if spec.measure in PAIRED_MEASURES:
            opening = np.minimum(opening, distinct(lambda w, b: paired(0.0, "above").log_e(w, b, 0), *first[:2]))
    closed = np.zeros(total.shape)
    for count, end in enumerate(ends, start=1):
        w, b, x, n = (counts[:, :count] for counts in minutes)
        log_e = log_e_ratio(w, b, x, n, ratio) if relative else log_e_absolute(w + x, n, limit)
        closed[:, end : end + per_minute] = log_e[:, None]
    log_e_bad = log_mixture(np.log(list(FLEET_WEIGHTS.values())), np.stack([opening, closed], axis=-1))
    # The opening's bad ones count twice here as in the gate: only in whether there are enough of them.
    enough = np.zeros(total.shape, np.int64)
    enough[:, ends] = np.cumsum(minutes[0] + minutes[2], axis=1)
    enough = np.maximum.accumulate(enough, axis=1) + first[0] + first[2]
    return _floored(log_e_bad, enough, spec)


def pane_width(look: int) -> int:
    """Windows per pane at a look."""
    width = 1
    while look // width >= MOST_PANES:
        width *= 2
    return width


def _share(windows: Windows, ratio: float, spec: GateSpec) -> F64:
    """The share test of live errors, on the windows that have one."""
    bad, other = windows.live_bad, windows.live_baseline_bad
    told = (bad + other) > 0
    if not windows.live.any():
        return np.zeros(bad.shape)
    evidence = share(ratio)
    part = windows.live[told] / np.maximum(windows.live[told] + windows.live_baseline[told], 1)
    wealth = np.zeros((*bad.shape, len(uniform())))
    wealth[told] = evidence.gains(bad[told].astype(np.float64), other[told].astype(np.float64), part)
    log_e = log_mixture(uniform(), np.cumsum(wealth, axis=1))
    return _floored(log_e, np.cumsum(bad, axis=1), spec)


def _segments(spec: GateSpec, cells: Windows, limit: float, ratio: float) -> F64:
    """log E of every segment, ``[runs, looks, segments]``."""
    seen = {name: np.cumsum(getattr(cells, name), axis=1) for name in ("total", "worse", "better", "both")}
    bad, worse = seen["worse"] + seen["both"], seen["worse"]
    if spec.measure in ("label_change_rate", "output_change_rate"):
        absolute = distinct(bernoulli(spec.segment_limit, "above").log_e, bad, seen["total"])
        return _floored(np.where(bad > 0, absolute, -np.inf), bad, spec)
    if spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        found = distinct(paired_ratio(ratio, "above").log_e, worse, seen["better"], seen["both"])
        found = np.where(bad + seen["better"] > 0, found, -np.inf)
    else:
        parity = distinct(log_e_worse, worse, seen["better"])
        parity = np.where(worse + seen["better"] > 0, parity, -np.inf)
        absolute = np.where(worse > 0, distinct(bernoulli(limit, "above").log_e, bad, seen["total"]), -np.inf)
        found = np.minimum(parity, absolute)
    return _floored(found, worse, spec)


def _with_all(log_all: F64, segments: F64 | None) -> F64:
    if segments is None:
        return log_all + ALL_LOG_WEIGHT
    count = segments.shape[-1]
    weight = family_log_weight(1, count)
    top = np.maximum(segments.max(axis=-1), -1e300)
    with np.errstate(divide="ignore"):
        inside = np.log(np.exp(segments - top[..., None]).sum(axis=-1)) + top + weight
    mixed: F64 = np.logaddexp(log_all + ALL_LOG_WEIGHT, inside)
    return mixed


def _environment(spec: GateSpec, windows: Windows, seen: dict[str, I64], segments: F64 | None, onset: I64) -> Mask:
    """Whether only absolute tests speak while the baseline is above the limit itself since the same onset."""
    live = np.zeros(seen["worse"].shape)
    if spec.measure == "error_rate":
        live = _share(windows, 1.0, spec)
    told = _with_all(live, segments) >= TARGET

    def unlike(worse: I64, better: I64) -> F64:
        return distinct(lambda w, b: paired(0.0, "above").log_e(w, b, 0), worse, better)

    parity, _ = over_starts(unlike, seen["worse"], seen["better"])
    bad, total = (
        counts - np.where(onset > 0, np.take_along_axis(counts, np.maximum(onset - 1, 0), axis=1), 0)
        for counts in (seen["better"] + seen["both"], seen["total"])
    )
    found: Mask = (bad > bad_limit(spec) * total) & ~told & ~(parity >= TARGET)
    return found


def _segments_proven(spec: GateSpec, cells: Windows | None, shape: tuple[int, ...]) -> Mask:
    """Whether every segment with 20 % of the requests is proven by itself."""
    proven = np.ones(shape, np.bool_)
    if cells is None:
        return proven
    seen = {name: np.cumsum(getattr(cells, name), axis=1) for name in ("total", "worse", "better", "both")}
    large = seen["total"] >= 0.2 * seen["total"].sum(axis=-1, keepdims=True)
    changes = spec.measure in CHANGE_RATES
    for segment in np.flatnonzero(large.any(axis=(0, 1))).tolist():
        worse, better, both, total = (seen[n][..., segment] for n in ("worse", "better", "both", "total"))

        def kept(worse: I64, better: I64, both: I64, total: I64) -> F64:
            if changes:
                return log_e_ok(spec, SegmentCounts(worse + both, total))
            counts = SegmentCounts(worse + both, total, worse, better, total, better + both, total)
            return log_e_ok(spec, counts)

        proven &= ~large[..., segment] | (distinct(kept, worse, better, both, total) >= TARGET)
    return proven


def _outstanding(segments: F64 | None, cells: Windows | None, shape: tuple[int, ...]) -> Mask:
    """Whether e-BH rejects a segment, or a large one (5 % of the requests) stands out alone."""
    if segments is None or cells is None:
        return np.zeros(shape, np.bool_)
    count = segments.shape[-1]
    bar = math.log(count * 20.0) - np.log(np.arange(1, count + 1))
    rejected = (-np.sort(-segments, axis=-1) >= bar).any(axis=-1)
    total = np.cumsum(cells.total, axis=1)
    large = total >= 0.05 * total.sum(axis=-1, keepdims=True)
    found: Mask = rejected | (large & (segments >= TARGET)).any(axis=-1)
    return found
