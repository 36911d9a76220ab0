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
    ROLLBACK = "rollback"


class Command(BaseModel):
    """One command of one operator about one rollout.

    ``plan`` (only for ``start``) is the whole plan as plain data, defaults filled in, so that the log alone
    re-derives every decision. ``issued_at_ms`` is the operator's clock: shown, never used to decide.
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

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a command.

        :raises DecodeError: not JSON, unknown kind or keys, a rollout id with odd characters.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise DecodeError(f"not a rollout command: {first_problem(e)}") from None
