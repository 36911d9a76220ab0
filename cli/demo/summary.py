"""The result of one scenario: what was decided, at what cost, and whether it ended as it must."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from paritygate.cli.demo.scenarios import Scenario
from paritygate.schemas.decision import Action, GateDecision


@dataclass(slots=True, kw_only=True)
class Summary:
    """What ``--json`` writes.

    ``rollback_latency_ms``: from the first live failure after which the evidence was decidable to weight 0
    at the router; ``None`` where no user was ever exposed. ``events_per_s``: prediction events published
    per second of traffic. ``orphans``: requests whose other arm never came.
    """

    scenario: str
    rollout_id: str
    final_stage: str
    final_action: str
    reason: str
    worst_segment: str | None
    pairs: int
    orphans: int
    duplicates: int
    late: int
    dead_letters: int
    exposed_requests: int
    decisions: list[dict[str, Any]] = field(default_factory=list)
    rollback_latency_ms: float | None = None
    events_per_s: float = 0.0
    latency_p95_ratio: dict[str, float | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the scenario ended as its table says."""
        return not self.problems

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}


def summarise(
    scenario: Scenario,
    decisions: list[GateDecision],
    *,
    dead_letters: int,
    rollback_latency_ms: float | None,
    events_per_s: float,
) -> Summary:
    """Judge a finished run by its recorded decisions (oldest first, at least the first one)."""
    last = decisions[-1]
    final = next((d for d in reversed(decisions) if d.action is not Action.HOLD), last)
    rolled_back = final.action is Action.ROLLBACK
    counts = last.counts
    summary = Summary(
        scenario=scenario.name,
        rollout_id=last.rollout_id,
        final_stage=final.from_stage if rolled_back else final.stage,
        final_action=final.action.value,
        reason=final.reason,
        worst_segment=final.worst_segment,
        pairs=counts.get("pairs", 0),
        orphans=counts.get("missing_candidate", 0) + counts.get("missing_baseline", 0),
        duplicates=counts.get("duplicate", 0),
        late=counts.get("late", 0),
        dead_letters=dead_letters,
        exposed_requests=last.exposed_requests,
        rollback_latency_ms=rollback_latency_ms,
        events_per_s=round(events_per_s, 1),
        latency_p95_ratio=_ratio(final),
        decisions=[
            {
                "sequence": d.sequence, "action": d.action.value, "stage": d.stage, "weight": d.weight,
                "reason": d.reason, "at_ms": d.at_ms,
            }
            for d in decisions
        ],
    )  # fmt: skip
    summary.problems = list(_problems(scenario, summary, final))
    return summary


def _ratio(decision: GateDecision) -> dict[str, float | None]:
    for verdict in decision.verdicts:
        if verdict.gate == "latency_p95_ms":
            return {k: verdict.numbers.get(k) for k in ("ratio", "ratio_low", "ratio_high")}
    return {}


def _problems(scenario: Scenario, summary: Summary, final: GateDecision) -> list[str]:
    found = []
    if (summary.final_action, summary.final_stage) != (scenario.final_action, scenario.final_stage):
        found.append(
            f"ended with {summary.final_action} at {summary.final_stage}, "
            f"not {scenario.final_action} at {scenario.final_stage}"
        )
    if not scenario.exposed and summary.exposed_requests:
        found.append(f"{summary.exposed_requests} users were exposed, none should be")
    if scenario.worst_segment and summary.worst_segment != scenario.worst_segment:
        found.append(f"worst segment is {summary.worst_segment}, not {scenario.worst_segment}")
    found += [f"the reason does not name {w}: {final.reason}" for w in scenario.reason_has if w not in final.reason]
    if scenario.name == "same":
        if summary.worst_segment is not None:
            found.append(f"segment {summary.worst_segment} was flagged in an A/A run")
        low, high = summary.latency_p95_ratio.get("ratio_low"), summary.latency_p95_ratio.get("ratio_high")
        if low is None or high is None or not low <= 1 <= high:
            found.append(f"the p95 ratio's interval [{low}, {high}] does not contain 1 in an A/A run")
    if scenario.name == "canary-only":
        if not summary.exposed_requests:
            found.append("no exposed request was counted although the candidate answered users")
        if summary.rollback_latency_ms is None or summary.rollback_latency_ms > 2000:
            found.append(f"weight 0 took {summary.rollback_latency_ms} ms, more than 2,000")
    return found
