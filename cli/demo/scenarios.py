"""The demo's scenarios: what is put into the candidate's serving path, and how each must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run of the demo.

    ``final_stage`` / ``final_action``: how it must end; for a rollback the stage it was rolled back *from*.
    ``exposed``: whether users may have seen answers of the candidate. ``worst_segment`` / ``reason_has``:
    words that the decision must hold. ``traffic_s``: after this long without an end the run has failed.
    """

    name: str
    about: str
    final_stage: str
    final_action: str
    exposed: bool
    traffic_s: float = 200.0
    worst_segment: str | None = None
    reason_has: tuple[str, ...] = ()


SCENARIOS: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario(
            name="healthy", about="the real candidate, with the weather features",
            final_stage="100", final_action="promote", exposed=True,
        ),
        Scenario(
            name="same", about="candidate = baseline (A/A): both arms must look alike",
            final_stage="100", final_action="promote", exposed=True,
        ),
        Scenario(
            name="segment", about="answers flip or fail for one carrier tier at one origin",
            final_stage="shadow", final_action="rollback", exposed=False,
            worst_segment="carrier_tier=low_cost & origin=EWR",
        ),
        Scenario(
            name="latency",
            about="the candidate's p95 is 30 % longer than the baseline's (a call takes 1.42 times its own time)",
            final_stage="shadow", final_action="rollback", exposed=False, reason_has=("latency_p95_ms",),
        ),
        Scenario(
            name="schema", about="2 % of the outputs miss confidence or put it outside 0..1",
            final_stage="shadow", final_action="rollback", exposed=False,
            reason_has=("schema_validation_pass_rate", "confidence"),
        ),
        Scenario(
            name="canary-only", about="good in shadow, fails under live load from 5 % on",
            final_stage="5", final_action="rollback", exposed=True, reason_has=("error_rate",),
        ),
    )
}  # fmt: skip

#: ``make demo`` without a scenario: a hidden fault is caught, then the mended candidate climbs.
STORY: tuple[str, ...] = ("segment", "healthy")
