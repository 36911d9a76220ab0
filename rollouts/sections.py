"""Sections of a rollout plan: the mappings below its top level, each with its defaults and their reason.

Law: unknown keys and wrong types are refused; nothing is converted in silence. What may be left out has a
default here and nowhere else, and :meth:`RolloutPlan.to_plain` writes it out.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from paritygate.comparators.diff import DiffRules
from paritygate.comparators.validation import OutputRules, OutputValidator
from paritygate.rollouts.complaint import problem
from paritygate.schemas.errors import ConfigError

#: As ``Command.rollout_id``: it stands in keys, file names and metric labels.
ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=ID)]
#: A list in the file; strict mode would want a tuple.
_LISTED = Field(strict=False)
Names = Annotated[tuple[Id, ...], _LISTED]
Texts = Annotated[tuple[str, ...], _LISTED]

SHADOW: Final = "shadow"


class Section(BaseModel):
    """A mapping of the plan: frozen, strict, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class VersionSection(Section):
    """The version behind one arm."""

    version: str = Field(min_length=1, max_length=256, description="the immutable id of what is served")


class StageSection(Section):
    """One rung of the ladder, and what it takes to leave it upward.

    ``minimum_seconds`` is event time in the stage. ``minimum_pairs`` are paired requests in the stage.
    ``maximum_seconds``: after so long without proof, ``on_timeout`` of the plan applies; None = never.
    ``approval``: whether a person must approve of leaving it upward once all of that is proven.
    """

    name: str = Field(
        default="", max_length=64, pattern=rf"(?:{ID})|^$", description="default: shadow, or the weight"
    )
    weight: int = Field(ge=0, le=100, description="whole percent of live traffic to the candidate")
    minimum_seconds: int = Field(default=900, ge=0, le=30 * 86_400)
    minimum_pairs: int = Field(default=1000, ge=1, le=10**9)
    maximum_seconds: int | None = Field(default=None, ge=1, le=90 * 86_400)
    approval: Literal["none", "required"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _name_by_weight(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "") == "" and type(data.get("weight")) is int:
            return {**data, "name": str(data["weight"]) if data["weight"] else SHADOW}
        return data

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without approvals the digest is that of the builds that knew none: what is recorded stays readable.
        return {k: v for k, v in plain(self).items() if (k, v) != ("approval", "none")}

    @model_validator(mode="after")
    def _floor_below_ceiling(self) -> StageSection:
        if self.maximum_seconds is not None and self.maximum_seconds <= self.minimum_seconds:
            raise problem(
                ("maximum_seconds",), f"must be greater than minimum_seconds, which is {self.minimum_seconds}"
            )
        return self


#: More time at lower percentages, where the blast radius is small and traffic is scarce.
DEFAULT_STAGES: Final[tuple[StageSection, ...]] = tuple(
    StageSection(name=name, weight=weight, minimum_seconds=seconds, minimum_pairs=2000)
    for name, weight, seconds in (
        (SHADOW, 0, 1800),
        ("1", 1, 1800),
        ("5", 5, 1800),
        ("25", 25, 900),
        ("50", 50, 900),
        ("100", 100, 0),
    )
)


class JoinSection(Section):
    """How answers are paired; the meaning of each is in ``comparators.settings.JoinSettings``."""

    window_ms: int = Field(default=1000, ge=100, le=3_600_000)
    grace_ms: int = Field(default=2000, ge=0, le=600_000)
    lateness_ms: int = Field(default=500, ge=0, le=600_000)
    dedupe_ms: int = Field(default=60_000, ge=1, le=3_600_000)
    retain_ms: int = Field(default=2000, ge=0, le=600_000)
    max_future_ms: int = Field(default=5_000, ge=0, le=86_400_000)
    max_pending: int = Field(default=1 << 18, ge=1, le=1 << 24)
    max_values_per_dimension: int = Field(default=50, ge=1, le=1000)
    max_cells: int = Field(default=2000, ge=1, le=20_000)
    max_examples: int = Field(default=8, ge=0, le=100)


class OutputSection(Section):
    """What a well-formed answer looks like.

    ``required``: keys the output must have. ``labels``: the values that the label may take, empty = any.
    ``json_schema``: a JSON Schema for the whole output, on top of the other rules. ``machine_consumed``: whether
    programs read the outputs; then a gate on their validation is required.
    """

    required: Texts = ("prediction", "confidence", "model_version")
    labels: Texts = ()
    confidence_field: str = "confidence"
    label_field: str = "prediction"
    json_schema: dict[str, Any] | None = None
    machine_consumed: bool = Field(
        default=True, description="whether programs read the answers; then schema_validation_pass_rate is required"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in plain(self).items() if (k, v) != ("machine_consumed", True)}

    @field_validator("json_schema")
    @classmethod
    def _compiles(cls, json_schema: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            OutputValidator(OutputRules(json_schema=json_schema))
        except ConfigError as e:
            raise problem((), str(e)) from None
        return json_schema

    def rules(self) -> OutputRules:
        """The same for the validator."""
        return OutputRules(**self.model_dump(exclude={"machine_consumed"}))


class DiffSection(Section):
    """When two outputs count as different.

    ``ignore``: JSON Pointers, ``*`` for any one key or index, below which nothing is compared. ``unordered``:
    pointers of lists whose order means nothing. Numbers are equal within ``absolute_tolerance`` (their own
    unit) or within ``relative_tolerance`` (a ratio of the larger one).
    """

    ignore: Texts = ("/model_version",)
    unordered: Texts = ()
    absolute_tolerance: float = Field(default=0.0, ge=0)
    relative_tolerance: float = Field(default=0.0, ge=0, le=1)

    @field_validator("ignore", "unordered")
    @classmethod
    def _pointers(cls, pointers: tuple[str, ...]) -> tuple[str, ...]:
        for i, pointer in enumerate(pointers):
            if not pointer.startswith("/"):
                raise problem((i,), f'"{pointer}" is not a JSON Pointer: it starts with "/"')
        return pointers

    def rules(self) -> DiffRules:
        """The same for the differ."""
        return DiffRules(**self.model_dump())
