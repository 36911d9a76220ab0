"""Decisions as a router gets them, with nothing in them that a test does not ask for."""

from __future__ import annotations

from typing import Any

from paritygate.schemas.decision import Action, GateDecision


def decision(weight: int = 5, action: Action = Action.PROMOTE, **changes: Any) -> GateDecision:
    """A decision of rollout ``r1`` for ``weight`` percent."""
    given: dict[str, Any] = {
        "rollout_id": "r1",
        "sequence": 4,
        "action": action,
        "stage": str(weight),
        "weight": weight,
        "from_stage": "1",
        "reason_code": "test",
        "reason": "ok",
        "at_ms": 1,
        "baseline_version": "v1",
        "candidate_version": "v2",
        "policy_digest": "p",
        "evidence_digest": "e",
    }
    return GateDecision(**(given | changes))
