"""RolloutPlan: one candidate's climb as it was written down before it began.

Law: a plan is complete or refused. It names an owner and a rollback condition, holds at least one required
gate, starts in the shadow, and meets live users at least once below 100 %; where its impact is high, a person
approves of at least one stage. Its digest is the digest of the
plain data with every default filled in: two files that mean the same have the same digest, and a decision
that carries it cannot be read under another plan.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
)

from paritygate.comparators.settings import LATENCY_RATIO, JoinSettings
from paritygate.gates.measures import LABEL_SHIFT
from paritygate.gates.spec import KEYS, GateError, GateSpec, parse_gates
from paritygate.rollouts.complaint import complain, did_you_mean, gate_problem, problem
from paritygate.rollouts.ladder import Ladder, Stage
from paritygate.rollouts.more_time import CIRCUMSTANCES, LOW_PERCENT, Circumstance, lengthened
from paritygate.rollouts.sections import (
    DEFAULT_STAGES,
    SHADOW,
    DiffSection,
    Id,
    JoinSection,
    Names,
    OutputSection,
    Section,
    StageSection,
    VersionSection,
)
from paritygate.rollouts.yaml_source import YamlSource, dotted, read_yaml
from paritygate.schemas.errors import PlanError

GATES_KEY: Final = "promotion_gates"
#: How long a lease is where the file does not say.
LEASE_SECONDS: Final = 300
#: A hold is repeated every 15 s (``fold.HOLD_EVERY_MS``), and a report may be 5 s on its way.
RENEWED_SECONDS: Final = 20

#: For editors; what each rule and option may be is said by ``gates.spec`` when the file is read.
_GATES_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "properties": {key: {} for key in KEYS},
        "additionalProperties": False,
    },
}


#: What plans of earlier builds had not, with what it was for them.
_LATER: Final[dict[str, Any]] = {
    "spend_more_time_when": [],
    "lease_seconds": 0,
    "acknowledgements": "known",
    "cool_down_seconds": 0,
}


class RolloutPlan(Section):
    """The content of a ``rollout.yaml``.

    ``alpha_rollback``: chance, for each gate, that it rolls back a candidate within its limit; over the whole
    rollout and all looks. ``alpha_promote``: chance, for each gate and stage, that it calls a candidate
    beyond its limit proven. ``minimum_segment_share``: segments with at least this ratio of the requests
    stop a promotion by their own evidence alone, smaller ones only when they stand out among all.
    ``prove_segments_above_ratio``: gates on rates are proven in every value of a dimension that holds at least this
    ratio of a stage's requests, too; 1 asks all requests together only, 0.05 takes about 20 times the pairs.
    ``sample_ratio``: whether users must meet the candidate as often as a stage's weight says. Only shown unless
    ``required``: where keys are users or tenants, one large key is a mismatch without any fault.
    ``spend_more_time_when``: circumstances in which the low stages last longer than written (:mod:`.more_time`).
    ``lease_seconds``: a file that does not name it has :data:`LEASE_SECONDS`, or what its windows need; a start
    command of an earlier build had none.
    """

    rollout: Id = Field(description="the id of this rollout, never used again")
    service: Id = Field(description="the service whose traffic is shifted")
    baseline: VersionSection = Field(description="the version that serves now")
    candidate: VersionSection = Field(description="the version that is to serve")
    owner: str = Field(min_length=1, max_length=256, description="who answers for this rollout")
    rollback_condition: str = Field(
        min_length=10, max_length=2000, description="in words, when this rollout is to be taken back"
    )
    impact: Literal["low", "normal", "high"] = "normal"
    stages: Annotated[tuple[StageSection, ...], Field(strict=False, max_length=8)] = DEFAULT_STAGES
    spend_more_time_when: Annotated[
        tuple[Circumstance, ...], Field(strict=False, json_schema_extra={"uniqueItems": True})
    ] = Field(
        default=(),
        description=f"each one adds minimum_seconds once more to every stage up to {LOW_PERCENT} %: "
        + "; ".join(f"{name}: {why}" for name, why in CIRCUMSTANCES.items()),
    )
    promotion_gates: Annotated[dict[str, Any], WithJsonSchema(_GATES_SCHEMA)] = Field(
        description="what the candidate must prove: gate name to rule"
    )
    segments: Annotated[Names, Field(max_length=8)] = ()
    join: JoinSection = JoinSection()
    output: OutputSection = OutputSection()
    diff: DiffSection = DiffSection()
    alpha_rollback: float = Field(default=0.05, gt=0, le=0.2)
    alpha_promote: float = Field(default=0.05, gt=0, le=0.2)
    minimum_segment_share: float = Field(default=0.05, ge=0, le=1)
    prove_segments_above_ratio: float = Field(default=0.2, gt=0, le=1)
    sample_ratio: Literal["advisory", "required"] = "advisory"
    on_timeout: Literal["hold", "rollback"] = "hold"
    no_data_seconds: int = Field(default=600, ge=1, le=86_400)
    candidate_silent_seconds: int = Field(default=60, ge=1, le=86_400)
    lease_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 86_400,
        json_schema_extra={"default": LEASE_SECONDS},
        description="in a live stage below 100 %, how old the evidence may get before routers put the weight to 0 "
        "by themselves; 0: never",
    )
    acknowledgements: Literal["known", "required", "ignored"] = Field(
        default="known",
        description="which routers must have applied a stage before it is left upward: those known to be live, "
        "these and at least one, or none",
    )
    cool_down_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 86_400,
        description="for how long after a rollback of the service this rollout may not climb, in event time",
    )

    @field_validator("stages")
    @classmethod
    def _a_ladder(cls, stages: tuple[StageSection, ...]) -> tuple[StageSection, ...]:
        # Not min_length: pydantic would report it in place of the error of an entry.
        if len(stages) < 3:
            raise problem((), "no canary: needs at least shadow, one stage of live traffic below 100 %, and 100 %")
        if stages[0].weight != 0 or stages[0].name != SHADOW:
            raise problem((0,), "no shadow stage: the first must be shadow with weight 0, proof comes before users")
        for i in range(1, len(stages)):
            below, here = stages[i - 1], stages[i]
            if here.weight <= below.weight:
                raise problem(
                    (i, "weight"), f"must be greater than {below.weight}, the weight of the stage before it"
                )
            if here.name in {s.name for s in stages[:i]}:
                raise problem((i, "name"), f'the name "{here.name}" stands twice')
        if stages[-1].weight != 100:
            raise problem((len(stages) - 1, "weight"), "the last stage must have weight 100")
        return stages

    @field_validator("spend_more_time_when")
    @classmethod
    def _each_circumstance_once(cls, found: tuple[Circumstance, ...]) -> tuple[Circumstance, ...]:
        for i, name in enumerate(found):
            if name in found[:i]:
                raise problem((i,), f'"{name}" stands twice')
        # In one order, whatever the file's: the same meaning is the same digest.
        return tuple(name for name in CIRCUMSTANCES if name in found)

    @field_validator("lease_seconds")
    @classmethod
    def _renewed_in_time(cls, seconds: int, info: ValidationInfo) -> int:
        least = _least_lease_seconds(info.data["join"]) if "join" in info.data else 0
        if 0 < seconds < least:
            what = (
                f"must be at least {least} with these windows, or a healthy rollout would lose its lease; 0: none"
            )
            raise problem((), what)
        return seconds

    @field_validator("segments")
    @classmethod
    def _each_once(cls, segments: tuple[str, ...]) -> tuple[str, ...]:
        for i, name in enumerate(segments):
            if name in segments[:i]:
                raise problem((i,), f'"{name}" stands twice')
        return segments

    @field_validator("promotion_gates")
    @classmethod
    def _gates_hold(cls, gates: dict[str, Any]) -> dict[str, Any]:
        try:
            specs = parse_gates(gates)
        except GateError as e:
            raise problem(e.path, gate_problem(e.what)) from None
        if not any(g.required for g in specs):
            raise problem((), "no required gate: a rollout without one could never be rolled back")
        return {g.name: _plain_gate(g) for g in specs}

    @classmethod
    def from_yaml(cls, text: str, *, file: str = "<plan>") -> Self:
        """Read a ``rollout.yaml``.

        :raises PlanError: it cannot be used; the text is ``file:line:column path: what, did you mean …``.
        """
        source = read_yaml(text, file=file)
        plan = cls._checked(source)
        if "lease_seconds" not in source.plain:
            lease = max(LEASE_SECONDS, _least_lease_seconds(plan.join))
            plan = cls._checked(replace(source, plain={**source.plain, "lease_seconds": lease}))
        # Not in from_plain: a start that an earlier build accepted must stay readable.
        if plan.impact == "high" and not plan.reviewed:
            line, column = source.place_of_value(("impact",))
            what = "high needs a review: write approval: required in at least one stage before the last"
            raise PlanError(what, file=file, line=line, column=column, path="impact")
        return plan

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, file: str = "<plan>") -> Self:
        """Read plain data, as a ``start`` command carries it.

        :raises PlanError: it cannot be used.
        """
        return cls._checked(YamlSource(file, dict(plain), {}, {}))

    @classmethod
    def _checked(cls, source: YamlSource) -> Self:
        if not isinstance(source.plain, dict):
            raise PlanError("a rollout plan is a mapping", file=source.file, line=1, column=1)
        try:
            return cls.model_validate(source.plain)
        except ValidationError as e:
            raise complain(e, cls, source) from None

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON data with every default filled in; :meth:`from_plain` reads it back to an equal plan."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without any the digest is that of the builds that knew none: what is recorded stays readable.
        return {k: v for k, v in plain(self).items() if k not in _LATER or v != _LATER[k]}

    def digest(self) -> str:
        """SHA-256 in hex of the canonical JSON of :meth:`to_plain`; a decision's ``policy_digest``."""
        return self.plan_digest

    @cached_property
    def plan_digest(self) -> str:
        """What :meth:`digest` returns; every decision is checked against it, so it is computed once."""
        return hashlib.sha256(orjson.dumps(self.to_plain(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def gates(self) -> tuple[GateSpec, ...]:
        """The gates, in the order of the file."""
        return parse_gates(self.promotion_gates)

    @cached_property
    def ladder(self) -> Ladder:
        """The stages as they are obeyed: the low ones longer than written, where the plan asks for it."""
        return Ladder(tuple(lengthened(stage, self.spend_more_time_when) for stage in self.written_stages))

    @property
    def written_stages(self) -> tuple[Stage, ...]:
        """The stages with the times that stand in the file."""
        return tuple(
            Stage(
                name=s.name,
                weight=s.weight,
                minimum_ms=s.minimum_seconds * 1000,
                minimum_pairs=s.minimum_pairs,
                maximum_ms=None if s.maximum_seconds is None else s.maximum_seconds * 1000,
                approval=s.approval == "required",
            )
            for s in self.stages
        )

    @property
    def reviewed(self) -> bool:
        """Its impact is high, and a person approves of a stage: its end asks for a review."""
        return self.impact == "high" and any(s.approval == "required" for s in self.stages[:-1])

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        :raises KeyError: the ladder has none.
        """
        return self.ladder.stage(name)

    def _latency_ratio(self) -> float:
        """What the candidate's latency may be by the first required gate that compares latencies, else 1.1."""
        ratios = [1.0 + g.limit / 100.0 for g in self.gates if g.required and g.latency_shifts()]
        return ratios[0] if ratios else LATENCY_RATIO

    def join_settings(self) -> JoinSettings:
        """What the join needs to know of this plan."""
        shifts = dict.fromkeys(shift for gate in self.gates for shift in gate.latency_shifts())
        return JoinSettings(
            rollout_id=self.rollout,
            dimensions=self.segments,
            latency_shifts=tuple(shifts),
            latency_ratio=self._latency_ratio(),
            instances=any(gate.tolerate_bursts for gate in self.gates),
            numbers=tuple(dict.fromkeys(rule for gate in self.gates if (rule := gate.number_rule()) is not None)),
            label_shares=any(gate.measure == LABEL_SHIFT for gate in self.gates),
            output_rules=self.output.rules(),
            diff_rules=self.diff.rules(),
            **self.join.model_dump(),
        )


def _least_lease_seconds(join: JoinSection) -> int:
    """Twice what a healthy rollout takes at most from one decision's evidence to the next decision."""
    return 2 * (RENEWED_SECONDS + math.ceil((join.window_ms + join.grace_ms + join.lateness_ms) / 1000))


def parse_gate_file(text: str, *, file: str = "<gates>") -> tuple[GateSpec, ...]:
    """Gates of a file that holds nothing but ``promotion_gates:``, for checking gates before there is a plan.

    :raises PlanError: another key, no gates, or a gate that cannot be used.
    """
    source = read_yaml(text, file=file)
    plain = source.plain if isinstance(source.plain, dict) else {}
    for key in plain:
        if key != GATES_KEY:
            line, column = source.place_of_key((key,))
            what = "unknown key" + did_you_mean(key, [GATES_KEY])
            raise PlanError(what, file=file, line=line, column=column, path=key)
    if not isinstance(plain.get(GATES_KEY), dict):
        line, column = source.place_of_value((GATES_KEY,))
        raise PlanError("must be a mapping of gates", file=file, line=line, column=column, path=GATES_KEY)
    try:
        return parse_gates(plain[GATES_KEY])
    except GateError as e:
        path = (GATES_KEY, *e.path)
        line, column = (source.place_of_key if "unknown" in e.what else source.place_of_value)(path)
        raise PlanError(gate_problem(e.what), file=file, line=line, column=column, path=dotted(path)) from None


def _plain_gate(gate: GateSpec) -> dict[str, Any]:
    """A gate with its defaults written out; ``parse_gates`` reads it back to an equal one."""
    options = {
        "max_rate_to_exclude_per_hour": gate.max_rate_to_exclude_per_hour,
        "segment_maximum": gate.segment_maximum,
        "source": gate.source,
        "cap": gate.cap,
        "tolerate_bursts": gate.tolerate_bursts or None,  # left out as it was before there was such an option
        "max_bursts_to_exclude_per_hour": gate.max_bursts_to_exclude_per_hour,
        "alpha_rollback": gate.alpha_rollback,
        "alpha_promote": gate.alpha_promote,
    }
    return {
        "measure": gate.measure,
        gate.rule.value: gate.limit,
        "advisory": not gate.required,
        "minimum_bad_events": gate.minimum_bad_events,
        "minimum_samples": gate.minimum_samples,
        **{key: value for key, value in options.items() if value is not None},
    }


def plan_json_schema() -> dict[str, Any]:
    """JSON Schema of ``rollout.yaml``, for editors; committed as ``docs/reference/rollout.schema.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "made from rollouts/plan.py",
        **RolloutPlan.model_json_schema(),
        "title": "paritygate rollout plan",
    }
