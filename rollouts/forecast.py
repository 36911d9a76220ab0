"""Forecast: before a rollout begins, how long each of its stages takes, and which gates cannot be decided in it.

Law: arithmetic on the plan, the rate of requests and the assumed truth; nothing is measured and nothing is
random. A required gate that is not decided within ``maximum_seconds`` with chance 9/10 makes the plan one
that waits for its own timeout. The last stage has nothing above it, so it needs no proof and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from paritygate.gates.measures import Kind
from paritygate.gates.power import Need, Sample, live_needed, needed, per_second, provable_limit
from paritygate.gates.reasons import duration
from paritygate.gates.spec import GateSpec
from paritygate.gates.truth import Truth
from paritygate.rollouts.ladder import Stage
from paritygate.rollouts.plan import RolloutPlan

#: What a stage without ``maximum_seconds`` may take before its gates count as better loosened.
DAY_MS: Final = 86_400_000


@unique
class Decidable(StrEnum):
    """Whether a gate will be proven in a stage, at the assumed truth."""

    DECIDABLE = "decidable"
    TOO_LATE = "not decidable within maximum_seconds"
    SEGMENTS_TOO_LATE = "not decidable within maximum_seconds in segments at the declared share"
    NEVER = "never (limit not provable)"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateForecast:
    """One gate in one stage. Times are ms of event time from the start of the stage; None = never.

    ``live_p90_ms``: what the same proof would take from live answers alone, without mirroring; None where
    that cannot be said. ``advice``: what to change, empty where nothing needs it. A gate on a rate is to be proven
    in large segments too; what is told is the time of one that just holds the declared share.
    """

    gate: str
    required: bool
    need: Need
    p50_ms: int | None
    p90_ms: int | None
    live_p90_ms: int | None
    decidable: Decidable
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    """One stage. ``floor_ms``: what ``minimum_seconds`` and ``minimum_pairs`` take; ``p50_ms`` / ``p90_ms``:
    until the slowest required gate is proven and the floors are met, None = never.
    """

    stage: Stage
    floor_ms: int
    p50_ms: int | None
    p90_ms: int | None
    gates: tuple[GateForecast, ...]

    @property
    def undecidable(self) -> tuple[GateForecast, ...]:
        """Required gates that the stage does not decide. Segments may be larger than the smallest that counts."""
        late = (Decidable.TOO_LATE, Decidable.NEVER)
        return tuple(g for g in self.gates if g.required and g.decidable in late)

    @property
    def floor_too_late(self) -> bool:
        """Whether the floors alone outlast the stage."""
        return self.stage.maximum_ms is not None and self.floor_ms > self.stage.maximum_ms


def forecast(
    plan: RolloutPlan, requests_per_second: float, truth: Truth | None = None
) -> tuple[StageForecast, ...]:
    """Every stage but the last.

    ``requests_per_second``: of the service as a whole, both arms. Every request is mirrored, so the evidence
    of pairs grows at this rate in every stage.
    """
    assumed = truth or Truth()
    return tuple(_stage(_Case(plan, stage, requests_per_second, assumed)) for stage in plan.ladder.stages[:-1])


@dataclass(frozen=True, slots=True)
class _Case:
    """One stage of a plan under an assumed truth; ``rate`` in requests per second."""

    plan: RolloutPlan
    stage: Stage
    rate: float
    truth: Truth

    @property
    def segment_ratio(self) -> float:
        """Part of the requests in the smallest segment that is to be proven; 1 where none is."""
        return self.plan.prove_segments_above_ratio if self.plan.segments else 1.0

    @property
    def settle_ms(self) -> int:
        """A request counts when its window has closed: width of the window and grace."""
        return self.plan.join.window_ms + self.plan.join.grace_ms

    def speed(self, need: Need) -> float:
        """Observations per second."""
        return per_second(need.sample, self.truth, self.rate)

    def ms(self, observations: float | None, speed: float, late_ms: int = 0) -> int | None:
        """When so many observations at ``speed`` per second are counted, the last of them ``late_ms`` late."""
        if observations is None:
            return None
        return math.ceil(observations / speed * 1000.0 - 1e-6) + self.settle_ms + late_ms


def _stage(case: _Case) -> StageForecast:
    gates = tuple(_gate(case, spec) for spec in case.plan.gates)
    stage = case.stage
    pairs_ms = case.ms(stage.minimum_pairs, case.rate * case.truth.mirror_ratio) or 0
    floor_ms = max(stage.minimum_ms, pairs_ms)
    required = [g for g in gates if g.required]
    return StageForecast(
        stage=stage,
        floor_ms=floor_ms,
        p50_ms=_latest(floor_ms, [g.p50_ms for g in required]),
        p90_ms=_latest(floor_ms, [g.p90_ms for g in required]),
        gates=gates,
    )


def _gate(case: _Case, spec: GateSpec) -> GateForecast:
    alpha, most_ms = case.plan.alpha_promote, case.stage.maximum_ms
    need, together = needed(spec, case.truth, alpha, case.segment_ratio), needed(spec, case.truth, alpha)
    late_ms = math.ceil(case.truth.scored_delay_seconds * 1000.0) if need.sample is Sample.SCORED_PAIRS else 0
    p50_ms, p90_ms = (case.ms(n, case.speed(need), late_ms) for n in (need.p50, need.p90))
    live = live_needed(spec, case.truth, case.stage.weight, alpha)
    decidable = Decidable.DECIDABLE
    if p90_ms is None:
        decidable = Decidable.NEVER
    elif most_ms is not None and p90_ms > most_ms:
        alone_ms = case.ms(together.p90, case.speed(need), late_ms)
        in_time = alone_ms is not None and alone_ms <= most_ms
        decidable = Decidable.SEGMENTS_TOO_LATE if in_time else Decidable.TOO_LATE
    return GateForecast(
        gate=spec.name,
        required=spec.required,
        need=need,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        live_p90_ms=None if live is None else case.ms(_longer(live.p90, need, together), case.rate),
        decidable=decidable,
        advice="" if decidable is Decidable.DECIDABLE else _advice(case, spec, need, p90_ms),
    )


def _longer(live_p90: float | None, need: Need, together: Need) -> float | None:
    """Segments take live answers as much longer as they take pairs."""
    if live_p90 is None or need.p90 is None or not together.p90:
        return live_p90
    return live_p90 * need.p90 / together.p90


def _advice(case: _Case, spec: GateSpec, need: Need, p90_ms: int | None) -> str:
    """What would make the gate decidable: a wider limit, a longer stage, more traffic, more scores."""
    budget_ms = max((case.stage.maximum_ms or DAY_MS) - case.settle_ms, 0)
    most = budget_ms / 1000.0 * case.speed(need)
    ways: list[str] = []
    limit = provable_limit(spec, case.truth, case.plan.alpha_promote, most, case.segment_ratio)
    if limit is not None:
        ways.append(f"a wider limit ({spec.rule}: {limit:g})")
    if p90_ms is not None:
        ways.append(f"a longer stage (maximum_seconds: {_rounded_up(p90_ms / 1000.0)})")
        if budget_ms > 0:
            ways.append(_faster(spec, case.rate, case.truth, (p90_ms - case.settle_ms) / budget_ms))
    if not ways:
        return "the candidate assumed here does not keep the limit: change the limit or the assumption"
    return "needs " + " or ".join(ways)


def _faster(spec: GateSpec, rate: float, truth: Truth, factor: float) -> str:
    if spec.kind is Kind.EVENTS:
        rate_per_hour = (spec.max_rate_to_exclude_per_hour or 0.0) * factor
        instances = math.ceil(truth.instances * factor)
        return f"{instances:,} instances or max_rate_to_exclude_per_hour: {_two_digits(rate_per_hour):g}"
    if spec.kind is Kind.OUTCOME and truth.scored_ratio * factor <= 1.0:
        return f"a paired sample of {_two_digits(100.0 * truth.scored_ratio * factor):g} % scored"
    return f"more traffic ({_two_digits(rate * factor):.10g} requests/s)"


def _latest(floor_ms: int, times: list[int | None]) -> int | None:
    known = [t for t in times if t is not None]
    return max([floor_ms, *known]) if len(known) == len(times) else None


def _two_digits(value: float) -> float:
    """Rounded up to two significant digits."""
    if value <= 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 12)


def _rounded_up(value: float) -> int:
    return math.ceil(_two_digits(value) - 1e-9)


def shown(ms: int | None) -> str:
    """A time of a forecast in words."""
    return "never" if ms is None else duration(ms)
