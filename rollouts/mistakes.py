"""Mistakes: the common mistakes of rollouts, looked for in a plan.

Law: what a plan must have by default is refused where it is missing, and can be told away only in the file itself;
what only weakens it is a warning. What no plan can be (without shadow stage, canary, owner, rollback condition, or
review of a high impact) is refused by :class:`~paritygate.rollouts.plan.RolloutPlan` when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from paritygate.gates.reasons import duration
from paritygate.rollouts.finding import Finding, Mistake, refuse, warn
from paritygate.rollouts.more_time import LOW_PERCENT
from paritygate.rollouts.plan import GATES_KEY, RolloutPlan
from paritygate.rollouts.yaml_source import Path, YamlSource
from paritygate.schemas.errors import PlanError

#: The measure that says how many answers other programs can use.
VALIDATION: Final = "schema_validation_pass_rate"
#: A stage should not show the candidate to more than so many times the users of the one before.
LARGEST_JUMP: Final = 5.0
#: Nor the first one to more than so much of the traffic, in percent.
LARGEST_FIRST_PERCENT: Final = 5
#: Fewer pairs than this are hardly traffic.
FEW_PAIRS: Final = 100
#: Where only segments above this ratio of the requests are proven, few plans have one.
LARGEST_PROVEN_RATIO: Final = 0.5
#: A gate that lets so many answers be broken validates little.
LEAST_VALID_RATIO: Final = 0.9
#: A candidate that answers nothing for longer has had its users wait too long.
LONG_SILENCE_S: Final = 600
#: What takes long under pressure, and is no routing change.
_SLOW = re.compile(r"\b(?:re-?deploy|re-?build|re-?train|re-?load|re-?install|drain|restor)\w*", re.IGNORECASE)


def mistakes(plan: RolloutPlan, source: YamlSource) -> Iterator[Finding]:
    """Every common mistake in a plan. ``source``: the text that it was read from."""
    yield from _segments(plan)
    yield from _validation(plan)
    yield from _rollback(plan)
    yield from _stages(plan)
    if plan.impact == "high" and not plan.spend_more_time_when and ("spend_more_time_when",) not in source.values:
        what = "high, and no stage lasts longer for it: name trust_or_money in spend_more_time_when, or write []"
        yield warn(("impact",), what, Mistake.TOO_QUICK)


def require_policy(plan: RolloutPlan, source: YamlSource) -> None:
    """Refuse a plan that is not to begin, whatever the traffic.

    :raises PlanError: the first common mistake that the default policy forbids, with its place.
    """
    for found in mistakes(plan, source):
        if found.refused:
            line, column = source.place_of_value(found.path)
            path = ".".join(map(str, found.path))
            raise PlanError(found.said, file=source.file, line=line, column=column, path=path)


def settle_s(plan: RolloutPlan) -> float:
    """Seconds until the first window of a stage is counted."""
    return (plan.join.window_ms + plan.join.grace_ms) / 1000.0


def _segments(plan: RolloutPlan) -> Iterator[Finding]:
    if not plan.segments:
        what = "none declared: harm that an average hides will not be looked for"
        yield warn(("segments",), what, Mistake.NO_SEGMENTS)
    elif plan.prove_segments_above_ratio > LARGEST_PROVEN_RATIO:
        what = f"no segment below {plan.prove_segments_above_ratio:.0%} of the requests is proven by itself"
        yield warn(("prove_segments_above_ratio",), what, Mistake.NO_SEGMENTS)


def _validation(plan: RolloutPlan) -> Iterator[Finding]:
    if not plan.output.machine_consumed:
        return
    gates = [g for g in plan.gates if g.measure == VALIDATION]
    required = [g for g in gates if g.required]
    if not required:
        path: Path = (GATES_KEY, gates[0].name, "advisory") if gates else (GATES_KEY,)
        what = f"require {VALIDATION}: {{minimum: 0.995}}, or write output: {{machine_consumed: false}}"
        yield refuse(path, f"{what} where no program reads the answers", Mistake.NO_VALIDATION)
        return
    strictest = max(required, key=lambda g: g.limit)
    if strictest.limit < LEAST_VALID_RATIO:
        what = f"{1 - strictest.limit:.0%} of the answers may be broken"
        yield warn((GATES_KEY, strictest.name, strictest.rule.value), what, Mistake.NO_VALIDATION)
    if not plan.output.required and plan.output.json_schema is None:
        what = "is empty, and there is no json_schema: hardly any answer would be called broken"
        yield warn(("output", "required"), what, Mistake.NO_VALIDATION)


def _rollback(plan: RolloutPlan) -> Iterator[Finding]:
    if plan.baseline.version == plan.candidate.version:
        what = "is the baseline's, too: a rollback would change nothing (right for a run of A against A)"
        yield warn(("candidate", "version"), what, Mistake.NO_WARM_ROLLBACK)
    if found := _SLOW.search(plan.rollback_condition):
        what = f'says "{found.group()}": a rollback is a routing change to a version that still runs'
        yield warn(("rollback_condition",), what, Mistake.NO_WARM_ROLLBACK)
    if plan.candidate_silent_seconds > LONG_SILENCE_S:
        wait = duration(plan.candidate_silent_seconds * 1000)
        what = f"users wait {wait} until a silent candidate is taken back"
        yield warn(("candidate_silent_seconds",), what, Mistake.NO_WARM_ROLLBACK)


def _stages(plan: RolloutPlan) -> Iterator[Finding]:
    settle_ms = settle_s(plan) * 1000.0
    for i, stage in enumerate(plan.ladder.stages[:-1]):
        mistake = Mistake.TOO_QUICK if stage.weight else Mistake.NO_SHADOW
        if stage.minimum_ms < settle_ms:
            what = f"is shorter than window_ms + grace_ms ({settle_s(plan):g} s), so this floor binds nothing"
            yield warn(("stages", i, "minimum_seconds"), what, mistake)
        if stage.minimum_pairs < FEW_PAIRS:
            what = f"{stage.minimum_pairs} requests are hardly traffic; ask for {FEW_PAIRS} or more"
            yield warn(("stages", i, "minimum_pairs"), what, mistake)
    live = [(i, s) for i, s in enumerate(plan.ladder.stages) if s.weight]
    first, weight = live[0][0], live[0][1].weight
    if weight > LARGEST_FIRST_PERCENT:
        what = f"the first users are {weight} % of all; begin with {LARGEST_FIRST_PERCENT} % or less"
        yield warn(("stages", first, "weight"), what, Mistake.TOO_QUICK)
    for (i, below), (j, here) in pairwise(live):
        if here.weight > LARGEST_JUMP * below.weight:
            times = f"{here.weight / below.weight:g} times the stage before"
            what = f"{times}; at most {LARGEST_JUMP:g} times is careful"
            yield warn(("stages", j, "weight"), what, Mistake.TOO_QUICK)
        if below.weight <= LOW_PERCENT and settle_ms <= below.minimum_ms < here.minimum_ms:
            low, high = (f"{duration(stage.minimum_ms)} at {stage.weight} %" for stage in (below, here))
            what = f"{low}, {high}: the lower one is to last at least as long"
            yield warn(("stages", i, "minimum_seconds"), what, Mistake.TOO_QUICK)
