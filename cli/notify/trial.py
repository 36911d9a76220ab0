"""``paritygate notify --test``: one made-up message to each target, before it matters."""

from __future__ import annotations

import time
from collections.abc import Sequence

from paritygate.cli.console import note, print_line
from paritygate.cli.notify.address import DeliveryError
from paritygate.cli.notify.change import Change, Kind, Severity
from paritygate.cli.notify.config import Target
from paritygate.cli.notify.courier import send
from paritygate.schemas.decision import Action, GateDecision


def try_targets(targets: Sequence[Target]) -> bool:
    """Send to each target once; True when all have taken it."""
    change = Change(Kind.STARTED, Severity.INFO, _made_up(int(time.time() * 1000)))
    taken = True
    for target in targets:
        try:
            send(target, change)
        except DeliveryError as e:
            note(f"{target.name}: {e}")
            taken = False
        else:
            print_line(f"{target.name}: {target.url} has taken a test message")
    return taken


def _made_up(at_ms: int) -> GateDecision:
    return GateDecision(
        rollout_id="test-message",
        sequence=0,
        action=Action.HOLD,
        stage="shadow",
        weight=0,
        from_stage="shadow",
        reason_code="started",
        reason="a test message of paritygate notify: there is no such rollout",
        at_ms=at_ms,
        baseline_version="0",
        candidate_version="0",
        policy_digest="",
        evidence_digest=str(at_ms),
    )
