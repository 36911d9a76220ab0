"""Commands on ``rollouts.v1``: what operators say. JSON; first writer in log order wins."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paritygate.schemas.decision import first_problem
from paritygate.schemas.errors import DecodeError


@unique
class CommandKind(StrEnum):
    """What the operator wants."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    PROMOTE = "promote"  # by force: without proof
    ROLLBACK = "rollback"
    ABANDON = "abandon"
    ACKNOWLEDGE = "acknowledge"


#: What a command of a later build may carry more; left out where it says nothing, so that the bytes of the kinds
#: that were always there stay what they were.
_LATER = ("stage", "sequence")


class Command(BaseModel):
    """One command of one operator about one rollout.

    ``plan`` (only for ``start``) is the whole plan as plain data, defaults filled in, so that the log alone
    re-derives every decision. ``issued_at_ms`` is the operator's clock: shown, never used to decide.
    ``stage`` (for ``approve`` and ``promote``) is the stage that the operator saw the rollout in: the command
    speaks of leaving that one and of no other. ``sequence`` (for ``acknowledge``) is that of the decision seen.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    schema_version: int = 1
    kind: CommandKind
    rollout_id: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    actor: str = Field(min_length=1)
    reason: str = ""
    issued_at_ms: int
    plan: dict[str, Any] | None = None
    stage: str | None = Field(default=None, min_length=1, max_length=64)
    sequence: int | None = Field(default=None, ge=0)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        plain = self.model_dump(mode="json")
        for name in _LATER:
            if plain[name] is None:
                del plain[name]
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a command.

        :raises DecodeError: not JSON, unknown kind or keys, a rollout id with odd characters.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise DecodeError(f"not a rollout command: {first_problem(e)}") from None
