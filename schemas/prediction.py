"""PredictionEvent: one answer, or failure to answer, of one arm to one request.

Law: arm (which version answered) and role (what became of the answer) are independent. In the shadow
stage the candidate's answers are ``shadow``; at later stages some are ``primary`` and the baseline is
mirrored, so that every request stays paired. The router stamps arm, role, time, latency and status: a
candidate never grades itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique


@unique
class Arm(StrEnum):
    """Which version answered."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@unique
class Role(StrEnum):
    """What became of the answer: the user saw it, or it was thrown away."""

    PRIMARY = "primary"
    SHADOW = "shadow"


@unique
class Status(StrEnum):
    """How the call ended, as the router saw it.

    ``ERROR`` and ``TIMEOUT`` are failures of the arm. ``SHED`` means that the router did not ask (overload,
    concurrency bound): evidence that is missing, never evidence of anything good or bad.
    """

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    SHED = "shed"


#: Order of the enum symbols in the ``.avsc`` and of the codes in :class:`~paritygate.schemas.columns.EventBatch`.
ARMS: tuple[Arm, ...] = (Arm.BASELINE, Arm.CANDIDATE)
ROLES: tuple[Role, ...] = (Role.PRIMARY, Role.SHADOW)
STATUSES: tuple[Status, ...] = (Status.OK, Status.ERROR, Status.TIMEOUT, Status.SHED)

#: Longest request id in UTF-8 bytes. Longer ids are refused: they are keys of bounded tables.
MAX_REQUEST_ID_BYTES = 256
#: Longest ``output`` in UTF-8 bytes that the publisher sends; longer outputs become a counted stub.
MAX_OUTPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionEvent:
    """One answer of one arm to one request.

    ``event_at_ms``: when the request reached the router, UTC epoch milliseconds; the same for both arms.
    ``latency_ms``: service time of this arm in milliseconds, finite and >= 0; for a timeout, the time waited.
    ``label`` / ``confidence``: the two fields of the output that are compared for every pair; ``None`` where
    the output has none. ``output`` is the whole answer as JSON text, empty where there was none.
    ``segments`` maps dimension to value (``{"geography": "EWR"}``). ``measures`` carries extra numbers such
    as ``completion_tokens``.
    """

    request_id: str
    rollout_id: str
    arm: Arm
    role: Role
    event_at_ms: int
    latency_ms: float
    status: Status
    model_version: str
    label: str | None = None
    confidence: float | None = None
    output: str = ""
    endpoint: str = ""
    instance_id: str = ""
    trace_id: str = ""
    error_type: str = ""
    segments: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
