"""PlatformEvent: what the serving platform saw of one instance of one arm since its last report."""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.schemas.prediction import Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformEvent:
    """Counts of one interval of one instance; intervals of an instance never overlap.

    ``running_ms``: how long the instance ran in the interval. It is the exposure: without it "no OOM" says
    nothing. ``gpu_ooms`` and ``restarts`` count events in the interval. ``memory_bytes``: resident memory at
    its end, 0 where nobody measured it. ``dropped_events``: prediction events that the instance's publisher had
    to drop.
    """

    rollout_id: str
    arm: Arm
    model_version: str
    instance_id: str
    event_at_ms: int
    running_ms: int
    gpu_ooms: int = 0
    restarts: int = 0
    memory_bytes: int = 0
    dropped_events: int = 0
