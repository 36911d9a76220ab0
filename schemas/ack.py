"""RouterAck: what a router really applied, on ``router.acks.v1``."""

from __future__ import annotations

from typing import Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paritygate.schemas.decision import first_problem
from paritygate.schemas.errors import DecodeError

#: ``state`` of a router that obeys, and of one that follows no more and is not waited for.
APPLIED: Final = "applied"
LEFT: Final = "left"

_CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Refusal(BaseModel):
    """The newest decision about its rollout that a router read and did not obey, and why.

    ``offset``: of ``decisions.v1``. ``count``: how many it has refused since it started.
    """

    model_config = _CONFIG

    offset: int = Field(ge=0)
    reason: str
    count: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.count:,}, the last at offset {self.offset}: {self.reason}"


class RouterAck(BaseModel):
    """One router says which decision it applied, and when by its own clock.

    ``sequence`` is -1 before the first decision. ``state``: ``applied``, or why the weight is 0 whatever that
    decision says: ``lapsed`` (its lease has ended and no newer one has come), ``killed`` (a person turned this
    router's kill switch), ``breaker`` (this router sees the candidate fail). ``left``: it follows no more.
    ``refused``: None where it has refused nothing since it started.
    """

    model_config = _CONFIG

    schema_version: int = 1
    rollout_id: str
    router_id: str
    sequence: int
    weight: int
    applied_at_ms: int
    state: str = APPLIED
    refused: Refusal | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON; without what it does not say, so that earlier readers can read it."""
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an acknowledgement; raises :class:`DecodeError` when it is none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise DecodeError(f"not a router acknowledgement: {first_problem(e)}") from None
