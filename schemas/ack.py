"""RouterAck: what a router really applied, on ``router.acks.v1``."""

from __future__ import annotations

from typing import Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from paritygate.schemas.decision import first_problem
from paritygate.schemas.errors import DecodeError


class RouterAck(BaseModel):
    """One router says which decision it applied, and when by its own clock.

    ``sequence`` is -1 before the first decision. ``state``: ``applied``, or why the weight is 0 whatever that
    decision says: ``lapsed`` (its lease has ended and no newer one has come), ``killed`` (a person turned this
    router's kill switch), ``breaker`` (this router sees the candidate fail).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    schema_version: int = 1
    rollout_id: str
    router_id: str
    sequence: int
    weight: int
    applied_at_ms: int
    state: str = "applied"

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an acknowledgement; raises :class:`DecodeError` when it is none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise DecodeError(f"not a router acknowledgement: {first_problem(e)}") from None
