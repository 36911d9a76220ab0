"""GateDecision: the record on the control topic that routers obey. JSON, so that any language reads it.

Law: per rollout, ``sequence`` rises by one and ``previous`` is the digest of the decision before, so that
two deciders cannot both be believed and nothing can be taken out. A decision holds the numbers and offsets
it rests on; the same log gives the same bytes.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum, unique
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paritygate.schemas.errors import DecodeError


@unique
class Action(StrEnum):
    """What routers are to do."""

    HOLD = "hold"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


#: What decisions of earlier builds had not; left out where it says nothing, so that their digests stay.
_LATER = ("lease_ms", "lease_until_ms")


class _Record(BaseModel):
    # frozen: a decision is a fact. hide_input: payloads must not leak into error texts.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class VerdictRecord(_Record):
    """What one gate said, with the numbers it rests on."""

    gate: str
    verdict: str
    reason: str
    required: bool = True
    segment: str = "all"
    numbers: dict[str, float | int | None] = Field(default_factory=dict)


class SourceOffsets(_Record):
    """Offsets ``[first, next)`` of one topic partition that were taken into account."""

    topic: str
    partition: int
    first: int
    next: int


class GateDecision(_Record):
    """One step of one rollout.

    ``stage`` and ``weight`` (whole percent of live traffic to the candidate) are those in force *after* this
    decision. ``at_ms`` is event time (the watermark of the evidence), never the decider's clock.
    ``windows_next`` and ``commands_next`` are positions in ``windows.v1`` and ``rollouts.v1``: the decision
    follows from exactly the records before them. ``lease_until_ms``: a router gives the candidate no traffic after
    this instant unless a newer decision has come; it is ``lease_ms`` after the event time up to which every
    partition's evidence was seen. 0, and left out of the bytes: no lease.
    """

    schema_version: int = 1
    rollout_id: str
    sequence: Annotated[int, Field(ge=0)]
    previous: str = ""
    action: Action
    stage: str
    weight: Annotated[int, Field(ge=0, le=100)]
    from_stage: str
    reason_code: str
    reason: str
    at_ms: int
    baseline_version: str
    candidate_version: str
    policy_digest: str
    evidence_digest: str
    verdicts: tuple[VerdictRecord, ...] = ()
    worst_segment: str | None = None
    exposed_requests: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    windows_next: int = 0
    commands_next: int = 0
    sources: tuple[SourceOffsets, ...] = ()
    lease_ms: Annotated[int, Field(ge=0)] = 0
    lease_until_ms: Annotated[int, Field(ge=0)] = 0

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces. The same decision is always the same bytes."""
        plain = self.model_dump(mode="json")
        for name in _LATER:
            if plain[name] == 0:
                del plain[name]
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)

    def digest(self) -> str:
        """SHA-256 of :meth:`to_bytes` in hex; the next decision's ``previous``."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def decision_id(self) -> str:
        """Hash of (rollout, sequence, evidence digest): a re-emission after a crash has the same id."""
        text = f"{self.rollout_id}\n{self.sequence}\n{self.evidence_digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a decision.

        :raises DecodeError: not JSON, unknown keys, wrong types, NaN, or a weight outside 0..100.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise DecodeError(f"not a gate decision: {first_problem(e)}") from None


def first_problem(error: ValidationError) -> str:
    """``path: what`` of the first problem of a pydantic error, without the input (it may be private)."""
    problem: Any = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(p) for p in problem['loc']) or 'record'}: {problem['msg']}"
