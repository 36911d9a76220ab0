"""View: what people are shown of one decision, the same on the page and in the terminal.

Law: it needs the decision and the plain plan that stands in the start command, nothing else, so that a machine with
the base install alone shows what the page shows. No number is computed: what a row holds was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from paritygate.gates.measures import Kind, Rule, measure_named
from paritygate.schemas.decision import Action, GateDecision, VerdictRecord

_RANK: Final = {"fail": 0, "error": 1, "inconclusive": 2, "pass": 3}
_MAXIMA: Final = (Rule.MAXIMUM, Rule.MAXIMUM_DELTA, Rule.MAXIMUM_REGRESSION_PERCENT)
Bounded = tuple[float | None, float | None, float | None]


@unique
class RungState(StrEnum):
    """Where the candidate is from a rung; ``FELL``: it was rolled back from here."""

    CLIMBED = "climbed"
    HERE = "stands here"
    FELL = "rolled back from here"
    AHEAD = "to come"


@dataclass(frozen=True, slots=True)
class RungView:
    """One rung: its name with its weight, and where the candidate is from it."""

    label: str
    state: RungState


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLine:
    """What a plan declares of one gate; of a check that always runs, only its name.

    ``unit``: of the value that is judged. ``limit``: in that unit, None where no single number stands for it.
    ``at_most``: whether the value must stay below; None of checks. ``declared``: the rule in words.
    """

    gate: str
    measure: str
    declared: str
    unit: str = ""
    limit: float | None = None
    at_most: bool | None = None
    kind: Kind | None = None
    rule: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One verdict: ``value`` with its bounds in ``line.unit``, None where it had none."""

    line: GateLine
    required: bool
    verdict: str
    segment: str
    reason: str
    value: float | None
    low: float | None
    high: float | None


def where(decision: GateDecision) -> str:
    """What follows the action in the sentence: ``at 5 (5 % of live traffic): reason``."""
    live = f"{decision.weight} % of live traffic" if decision.weight else "no live traffic"
    return f"at {decision.stage} ({live}): {decision.reason}"


def rungs(stages: Iterable[tuple[str, int]], decision: GateDecision) -> tuple[RungView, ...]:
    """The ladder of (name, weight) as it stands after ``decision``."""
    told = tuple(stages)
    names = [name for name, _ in told]
    back = decision.action is Action.ROLLBACK
    stage = decision.from_stage if back else decision.stage
    here = names.index(stage) if stage in names else -1

    def state(place: int) -> RungState:
        if place == here:
            return RungState.FELL if back else RungState.HERE
        return RungState.CLIMBED if place < here else RungState.AHEAD

    return tuple(RungView(_label(name, weight), state(i)) for i, (name, weight) in enumerate(told))


def _label(name: str, weight: int) -> str:
    if not weight:
        return name
    return f"{weight} %" if name == str(weight) else f"{name} ({weight} %)"


def lines_of(plan: Mapping[str, Any] | None) -> dict[str, GateLine]:
    """The gates of a plan as it stands in its start command; what cannot be read is left out."""
    gates = plan.get("promotion_gates") if plan is not None else None
    found = {}
    for name, entry in (gates if isinstance(gates, Mapping) else {}).items():
        rules = [rule for rule in Rule if rule.value in entry] if isinstance(entry, Mapping) else []
        if len(rules) == 1 and isinstance(entry[rules[0].value], int | float):
            measure, source = str(entry.get("measure", name)), entry.get("source")
            found[str(name)] = line(str(name), measure, rules[0], float(entry[rules[0].value]), source)
    return found


def line(gate: str, measure: str, rule: Rule, limit: float, source: str | None) -> GateLine:
    """One declared gate; ``limit`` as in the plan."""
    known = measure_named(measure, source)
    relative = rule is Rule.MAXIMUM_REGRESSION_PERCENT
    # A rate is recorded as it is, its relative limit as percent of another rate: no line can stand for that.
    drawn = not (relative and known.kind is Kind.RATE)
    return GateLine(
        gate=gate,
        measure=measure,
        declared=f"{rule.value} {limit:g}",
        unit="%" if relative and drawn else known.unit,
        limit=limit if drawn else None,
        at_most=rule in _MAXIMA if drawn else None,
        kind=known.kind,
        rule=rule,
    )


def check_line(name: str) -> GateLine:
    """A check that no plan declares."""
    return GateLine(gate=name, measure=name, declared="always asked")


def rows(decision: GateDecision, lines: Mapping[str, GateLine]) -> tuple[GateRow, ...]:
    """The verdicts of a decision, the worst first, required ones before advisory ones."""
    return tuple(_row(v, lines) for v in _worst_first(decision.verdicts))


def _worst_first(verdicts: Sequence[VerdictRecord]) -> list[VerdictRecord]:
    return sorted(verdicts, key=lambda v: (_RANK.get(v.verdict, 4), not v.required))


def _row(verdict: VerdictRecord, lines: Mapping[str, GateLine]) -> GateRow:
    told = lines.get(verdict.gate) or check_line(verdict.gate)
    value, low, high = bounded(told, verdict.numbers)
    return GateRow(
        line=told, required=verdict.required, verdict=verdict.verdict, segment=verdict.segment,
        reason=verdict.reason, value=value, low=low, high=high,
    )  # fmt: skip


def bounded(told: GateLine, numbers: Mapping[str, float | int | None]) -> Bounded:
    """The value that a verdict speaks of, with its bounds: since the onset where it names one."""
    since = "onset_" if "onset_value" in numbers or "onset_ratio" in numbers else ""
    if f"{since}ratio" in numbers:
        ratios = [numbers.get(f"{since}{name}") for name in ("ratio", "ratio_low", "ratio_high")]
        value, low, high = (None if x is None else 100.0 * (x - 1.0) for x in ratios)
        return value, low, high
    value, low, high = (numbers.get(f"{since}{name}") for name in ("value", "low", "high"))
    if told.kind is Kind.NUMBER and told.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        return value, None, None  # its bounds are of another quantity than its percent
    total, bad = numbers.get("whole_total"), numbers.get("whole_bad")
    if value is None and total and bad is not None:
        # Nothing in the stage yet: the rollout's own rate.
        value = 1.0 - bad / total if told.rule is Rule.MINIMUM else bad / total
    return value, low, high
