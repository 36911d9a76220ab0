"""Small plans, commands and window reports, built by hand, for the laws of this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paritygate.comparators.tally import COUNT_NAMES
from paritygate.rollouts.plan import RolloutPlan
from paritygate.schemas.command import Command, CommandKind
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.report import Cell, SourceRange, WindowReport

WINDOW_MS = 1000
#: Start of the first window; the operator's clock is far from event time, as in a replay of old traffic.
ORIGIN_MS = 1_700_000_000_000
ISSUED_AT_MS = 1_900_000_000_000
PARTITIONS = 2


def plain_plan(rollout: str = "r1", service: str = "fraud", **changes: Any) -> dict[str, Any]:
    """A plan whose gates a healthy candidate proves within a few windows."""
    return {
        "rollout": rollout,
        "service": service,
        "baseline": {"version": "v1"},
        "candidate": {"version": "v2"},
        "owner": "ann",
        "rollback_condition": "any gate fails",
        "stages": [
            {"weight": 0, "minimum_seconds": 2, "minimum_pairs": 100},
            {"weight": 5, "minimum_seconds": 2, "minimum_pairs": 100},
            {"weight": 50, "minimum_seconds": 2, "minimum_pairs": 100},
            {"weight": 100, "minimum_seconds": 0, "minimum_pairs": 1},
        ],
        "promotion_gates": {"error_rate": {"maximum": 0.1}, "schema_validation_pass_rate": {"minimum": 0.9}},
        "segments": ["origin"],
        **changes,
    }


def plan(**changes: Any) -> RolloutPlan:
    return RolloutPlan.from_plain(plain_plan(**changes))


def command(kind: str, rollout: str = "r1", **plan_changes: Any) -> Command:
    """A command; a start carries the plan of its rollout."""
    body = plain_plan(**{"rollout": rollout, **plan_changes}) if kind == "start" else None
    return Command(kind=CommandKind(kind), rollout_id=rollout, actor="ann", issued_at_ms=ISSUED_AT_MS, plan=body)


def report(
    window: int,
    partition: int = 0,
    *,
    rollout: str = "r1",
    requests: int = 60,
    errors: int = 0,
    invalid: int = 0,
    live: int = 0,
    lost: dict[str, int] | None = None,
    totals: dict[str, int] | None = None,
    generation: int = 1,
    revision: int = 0,
    partitions: int = PARTITIONS,
    origin: str = "EWR",
) -> WindowReport:
    """A closed window: paired requests, of which some failed, were invalid, or were served by the candidate.

    ``lost``: counts of what was not paired (``missing_candidate``, ``missing_baseline``, ``shed``).
    """
    lost = lost or {}
    missing = lost.get("missing_candidate", 0)
    checked = requests - errors
    counts = {
        "requests": requests + missing,
        "pairs": requests,
        "candidate_errors": errors + missing,
        "candidate_only_errors": errors + missing,
        "baseline_checked": requests,
        "candidate_checked": checked,
        "candidate_invalid": invalid,
        "candidate_only_invalid": invalid,
        "labels_compared": checked,
        "live_candidate": live,
        "live_candidate_errors": min(errors, live),
        "live_baseline": requests - live,
        **lost,
    }
    start = ORIGIN_MS + window * WINDOW_MS
    cells = (
        (Cell(values=(origin,), counts=tuple(counts.get(n, 0) for n in COUNT_NAMES)),)
        if any(counts.values())
        else ()
    )
    return WindowReport(
        rollout_id=rollout,
        partition=partition,
        partitions=partitions,
        generation=generation,
        revision=revision,
        window_start_ms=start,
        window_end_ms=start + WINDOW_MS,
        watermark_ms=start + WINDOW_MS,
        sources=(
            SourceRange(topic="predictions.primary.v1", partition=partition, first=0, next=(window + 1) * 60),
        ),
        dimensions=("origin",),
        count_names=COUNT_NAMES,
        cells=cells,
        histograms=(),
        totals={"exposed": live, **(totals or {})} if live or totals else {},
    )


def windows(first: int, last: int, **of: Any) -> list[WindowReport]:
    """Reports of the windows ``first`` to ``last`` (exclusive) of every partition, window by window."""
    return [report(w, p, **of) for w in range(first, last) for p in range(PARTITIONS)]


def essence(decisions: Sequence[GateDecision]) -> list[tuple[Any, ...]]:
    """What decisions say, without the positions at which they were made."""
    return [
        (d.rollout_id, d.sequence, d.action, d.stage, d.weight, d.reason_code, d.reason, d.at_ms, d.evidence_digest)
        for d in decisions
    ]
