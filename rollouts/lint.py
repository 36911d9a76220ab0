"""Lint: what is wrong with a plan that can be read: contradictions, and what can never be decided.

Law: a refusal names something that cannot work as written, or that the default policy forbids; everything that only
may be unwise is a warning. The common mistakes of rollouts are those of :mod:`~paritygate.rollouts.mistakes`.
Each finding stands at a place in the file. Without a rate of requests only running time has a rate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final

from paritygate.gates.measures import QUANTILES, Kind, Rule
from paritygate.gates.power import Sample, needed
from paritygate.gates.reasons import percent
from paritygate.gates.spec import GateSpec
from paritygate.gates.truth import Truth
from paritygate.rollouts.finding import Finding, refuse, warn
from paritygate.rollouts.forecast import Decidable, forecast
from paritygate.rollouts.mistakes import mistakes, settle_s
from paritygate.rollouts.more_time import LOW_PERCENT
from paritygate.rollouts.plan import GATES_KEY, RolloutPlan
from paritygate.rollouts.yaml_source import Path, YamlSource

#: Live stages that all last so long will meet the bursts of single instances.
LONG_STAGE_S: Final = 600
#: Beyond this chance of error a verdict is no proof.
LARGEST_ALPHA: Final = 0.1
#: More scored pairs than this are rarely to be had.
MANY_SCORED: Final = 3000.0
#: Fewer bad events than this let chance alone roll a candidate back early.
FEW_EVENTS: Final = 2


def lint(
    plan: RolloutPlan, source: YamlSource, requests_per_second: float | None = None, truth: Truth | None = None
) -> tuple[Finding, ...]:
    """Everything found, refusals first, each kind in the order of the file.

    ``source``: the text the plan was read from. ``requests_per_second``: None leaves out what depends on it.
    """
    assumed = truth or Truth()
    found = [*mistakes(plan, source), *_gates(plan, source, assumed), *_stages(plan), *_whole(plan)]
    if requests_per_second is None:
        found += [*_never(plan, assumed), *_time(plan, 1.0, assumed, (Sample.HOURS,))]
    else:
        found += _time(plan, requests_per_second, assumed)
    return tuple(sorted(found, key=lambda f: (not f.refused, source.place_of_value(f.path))))


def _gates(plan: RolloutPlan, source: YamlSource, truth: Truth) -> Iterator[Finding]:
    for gate in plan.gates:
        path: Path = (GATES_KEY, gate.name)
        if gate.segment_maximum is not None and gate.segment_maximum < gate.limit:
            what = f"is below maximum ({gate.limit:g}): when every segment keeps it, all together do, unasked"
            yield refuse((*path, "segment_maximum"), what)
        if gate.kind is Kind.EVENTS and gate.max_rate_to_exclude_per_hour is None:
            what = "without max_rate_to_exclude_per_hour a minute without events counts as proof; write e.g. 1"
            yield warn(path, what)
        if gate.kind is Kind.RATE:
            yield from _rate_floors(gate, path, source, truth, plan.alpha_promote)
        if gate.kind is Kind.OUTCOME:
            need = needed(gate, truth, plan.alpha_promote)
            if need.p90 is not None and need.p90 > MANY_SCORED:
                what = f"this margin takes about {need.p90:,.0f} scored pairs in every stage"
                yield warn((*path, gate.rule.value), f"{what}; widen it or score a large paired sample")
        for alpha in ("alpha_rollback", "alpha_promote"):
            if (getattr(gate, alpha) or 0.0) > LARGEST_ALPHA:
                yield warn((*path, alpha), f"is a chance of error above {LARGEST_ALPHA:g}: hardly a proof")
    yield from _ordered(plan)
    yield from _implied(plan)
    yield from _bursts(plan, source)


def _rate_floors(
    gate: GateSpec, path: Path, source: YamlSource, truth: Truth, alpha_promote: float
) -> Iterator[Finding]:
    floor = (*path, "minimum_samples")
    clean = needed(gate, _without_failures(truth), alpha_promote).p50
    # Only a floor that was written down is spoken of: the default is no promise.
    if floor in source.values and clean is not None and gate.minimum_samples < clean:
        what = f"binds nothing: without a single failure the proof takes {clean:,.0f} observations"
        yield warn(floor, what)
    if gate.minimum_bad_events < FEW_EVENTS:
        what = "a single bad event may roll back; write 2 or more unless one is one too many"
        yield warn((*path, "minimum_bad_events"), what)


def _without_failures(truth: Truth) -> Truth:
    clean = truth
    for name in ("error_rate", "timeout_rate", "invalid_rate", "label_change_rate", "output_change_rate"):
        clean = clean.with_assumption(name, 0.0)
    return clean


def _bursts(plan: RolloutPlan, source: YamlSource) -> Iterator[Finding]:
    """Long stages, and no gate that bears what one instance does in a minute."""
    live = [s for s in plan.ladder.stages[:-1] if s.weight]
    burdened = [g for g in plan.gates if g.required and g.kind in {Kind.RATE, Kind.LATENCY}]
    # Written out as false it is a choice, and none to be reminded of.
    if not burdened or any((GATES_KEY, g.name, "tolerate_bursts") in source.values for g in burdened):
        return
    if all(s.minimum_ms >= LONG_STAGE_S * 1000 for s in live):
        minutes = min(s.minimum_ms for s in live) // 60_000
        what = (
            f"{minutes} minutes and more in every live stage: one instance that fails for a minute will roll back"
        )
        yield warn((GATES_KEY, burdened[0].name), f"{what}; write tolerate_bursts: true to bear that")


def _ordered(plan: RolloutPlan) -> Iterator[Finding]:
    """Limits in ms of two quantiles: the higher quantile cannot have the lower limit and mean anything."""
    limits = [g for g in plan.gates if g.kind is Kind.LATENCY and g.rule is Rule.MAXIMUM]
    limits.sort(key=lambda g: QUANTILES[g.measure])
    for lower, higher in pairwise(limits):
        if lower.measure != higher.measure and lower.limit > higher.limit:
            what = f"is above the limit of {higher.name} ({higher.limit:g}): it can never be the one that fails"
            yield refuse((GATES_KEY, lower.name, lower.rule.value), what)


def _implied(plan: RolloutPlan) -> Iterator[Finding]:
    """Required gates that say less than another one on the same measure by the same rule."""
    required = [g for g in plan.gates if g.required]
    for gate in required:
        tighter = [g for g in required if (g.measure, g.rule) == (gate.measure, gate.rule) and _tighter(g, gate)]
        if tighter:
            what = f"says less than {tighter[0].name} ({tighter[0].limit:g}), which is required too"
            yield warn((GATES_KEY, gate.name, gate.rule.value), what)


def _tighter(one: GateSpec, other: GateSpec) -> bool:
    if one.cap != other.cap:
        return False  # means of values held to different caps say different things
    at_least = one.rule in (Rule.MINIMUM, Rule.MINIMUM_DELTA)
    return one.limit > other.limit if at_least else one.limit < other.limit


def _stages(plan: RolloutPlan) -> Iterator[Finding]:
    *below, last = enumerate(plan.ladder.stages)
    path: Path = ("stages", last[0])
    if last[1].maximum_ms is not None:
        yield warn((*path, "maximum_seconds"), "does nothing in the last stage: nothing stands above it")
    if last[1].approval:
        yield warn((*path, "approval"), "does nothing in the last stage: nothing stands above it")
    for i, stage in below:
        if stage.maximum_ms is not None and stage.maximum_ms <= settle_s(plan) * 1000.0:
            what = f"ends before the first window is counted ({settle_s(plan):g} s: window_ms + grace_ms)"
            yield refuse(("stages", i, "maximum_seconds"), what)


def _whole(plan: RolloutPlan) -> Iterator[Finding]:
    if plan.spend_more_time_when and all(s.minimum_ms == 0 for s in plan.ladder.stages if s.weight <= LOW_PERCENT):
        what = f"does nothing: no stage up to {LOW_PERCENT} % has minimum_seconds"
        yield warn(("spend_more_time_when",), what)
    for alpha in ("alpha_rollback", "alpha_promote"):
        if getattr(plan, alpha) > LARGEST_ALPHA:
            yield warn((alpha,), f"is a chance of error above {LARGEST_ALPHA:g}: hardly a proof")
    if plan.on_timeout == "rollback" and all(s.maximum_seconds is None for s in plan.stages[:-1]):
        yield warn(("on_timeout",), "does nothing: no stage that can be left has maximum_seconds")
    settle = settle_s(plan)
    if plan.no_data_seconds <= settle:
        what = f"is not longer than window_ms + grace_ms ({settle:g} s): every look would find no data"
        yield refuse(("no_data_seconds",), what)
    if plan.candidate_silent_seconds <= settle:
        what = f"is not longer than window_ms + grace_ms ({settle:g} s): a pause of the traffic may roll back"
        yield warn(("candidate_silent_seconds",), what)


def _never(plan: RolloutPlan, truth: Truth) -> Iterator[Finding]:
    """Limits that the assumed candidate does not keep; without traffic that is all there is to say."""
    for gate in plan.gates:
        if not needed(gate, truth, plan.alpha_promote).provable:
            what = "is never proven for the healthy candidate assumed here (see 'paritygate plan power')"
            yield warn((GATES_KEY, gate.name, gate.rule.value), what)


def _time(
    plan: RolloutPlan, requests_per_second: float, truth: Truth, samples: Collection[Sample] = tuple(Sample)
) -> Iterator[Finding]:
    """Gates and floors against the time that a stage has; ``samples``: of what, the rate being known."""
    rules = {gate.name: gate.rule.value for gate in plan.gates}
    never: set[str] = set()
    for i, stage in enumerate(forecast(plan, requests_per_second, truth)):
        if Sample.PAIRS in samples and stage.floor_too_late:
            what = f"does not come within maximum_seconds at {requests_per_second:g} requests/s"
            yield refuse(("stages", i, "minimum_pairs"), what)
        for gate in stage.gates:
            if gate.need.sample not in samples:
                continue
            say = refuse if gate.required else warn
            if gate.decidable is Decidable.TOO_LATE:
                what = f"{gate.gate} is not decidable within it in stage {stage.stage.name}: {gate.advice}"
                yield say(("stages", i, "maximum_seconds"), what)
            elif gate.decidable is Decidable.SEGMENTS_TOO_LATE:
                share = f"a segment with {percent(plan.prove_segments_above_ratio)} of the requests"
                what = (
                    f"{gate.gate} is not decidable for {share} within maximum_seconds of stage {stage.stage.name}"
                )
                yield warn(("prove_segments_above_ratio",), f"{what}: {gate.advice}")
            elif gate.decidable is Decidable.NEVER and gate.gate not in never:
                never.add(gate.gate)
                yield say((GATES_KEY, gate.gate, rules[gate.gate]), f"can never be proven: {gate.advice}")
