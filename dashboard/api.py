"""API: the same content as the pages as JSON, and the document that describes it.

Law: what the document promises is what is answered: both come from the models here. Unknown keys of a request are
passed over, for controllers add some with every version.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from paritygate.dashboard.board import Entry, known
from paritygate.dashboard.freshness import Look, complaints, sources
from paritygate.dashboard.trends import COLUMNS, column, marks_of, points_of
from paritygate.dashboard.verdict import verdict_of
from paritygate.rollouts.review import Review
from paritygate.schemas.ack import Refusal


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class SourceModel(_Answer):
    """One source and how fresh it is."""

    name: str
    about: str
    at_ms: int | None
    state: Literal["fresh", "quiet", "behind", "stale", "away"]
    note: str


class VerdictModel(_Answer):
    """For Argo Rollouts' web metric: ``jsonPath: "{$.verdict}"``."""

    rollout: str
    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str
    outcome: str
    stage: str
    weight: int = Field(ge=0, le=100)
    sequence: int = Field(ge=0)
    at_ms: int
    stale: bool


class RolloutSummary(_Answer):
    """Where a rollout stands."""

    rollout: str
    service: str | None
    owner: str | None
    outcome: Literal["running", "paused", "promoted", "rolled back", "abandoned"]
    action: Literal["hold", "promote", "rollback"]
    stage: str
    weight: int = Field(ge=0, le=100)
    sequence: int = Field(ge=0)
    reason: str
    at_ms: int
    decided_at_ms: int | None
    exposed_requests: int
    worst_segment: str | None
    baseline_version: str
    candidate_version: str


class RolloutList(_Answer):
    """All rollouts, open ones first."""

    rollouts: tuple[RolloutSummary, ...]
    sources: tuple[SourceModel, ...]
    complaints: tuple[str, ...]


class RouterModel(_Answer):
    """What a router said last."""

    router_id: str
    sequence: int
    weight: int
    state: str
    applied_at_ms: int
    heard_at_ms: int
    refused: Refusal | None


class RolloutModel(_Answer):
    """One rollout: its newest decision as recorded, and the review of its evidence (null where it was not read)."""

    summary: RolloutSummary
    verdict: VerdictModel
    decision: dict[str, Any]
    plan: dict[str, Any] | None
    routers: tuple[RouterModel, ...]
    review: dict[str, Any] | None
    complaints: tuple[str, ...]


class StageMark(_Answer):
    """Where a stage began, in event time."""

    at_ms: int
    stage: str
    weight: int = Field(ge=0, le=100)


Column = tuple[float | None, ...]


class TrendModel(_Answer):
    """Both arms over time: one number a pane of ``pane_ms`` in each column, null where there is none, or never."""

    rollout: str
    pane_ms: int
    stages: tuple[StageMark, ...]
    at_ms: tuple[int, ...]
    compared_per_s: Column
    baseline_live_per_s: Column
    candidate_live_per_s: Column
    baseline_p50_ms: Column
    candidate_p50_ms: Column
    baseline_p95_ms: Column
    candidate_p95_ms: Column
    baseline_error_ratio: Column
    candidate_error_ratio: Column
    baseline_timeout_ratio: Column
    candidate_timeout_ratio: Column


class HookModel(BaseModel):
    """What Flagger posts. ``metadata.rollout`` names the rollout; without it, ``name`` does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    canary_weight: int | None = Field(default=None, alias="canaryWeight")
    metadata: dict[str, str] = Field(default_factory=dict)


class HookAnswer(_Answer):
    """``go`` and the status say the same: 200 go on, 403 wait."""

    rollout: str
    go: bool
    reason: str


class ErrorModel(_Answer):
    """What was wrong with the question."""

    error: str


class HealthModel(_Answer):
    """``ready``: the broker answers and the topics have been read."""

    ready: bool
    complaints: tuple[str, ...]


def summary_of(entry: Entry) -> RolloutSummary:
    """Where a rollout that has decided stands."""
    d, plan = entry.decisions[-1], entry.plan
    return RolloutSummary.model_validate(
        {
            "rollout": entry.rollout_id, "service": plan and plan.service, "owner": plan and plan.owner,
            "outcome": entry.outcome, "action": d.action.value, "stage": d.stage, "weight": d.weight,
            "sequence": d.sequence, "reason": d.reason, "at_ms": d.at_ms, "decided_at_ms": entry.decided_at_ms,
            "exposed_requests": d.exposed_requests, "worst_segment": d.worst_segment,
            "baseline_version": d.baseline_version, "candidate_version": d.candidate_version,
        }
    )  # fmt: skip


def verdict_model(entry: Entry, told: tuple[str, ...]) -> VerdictModel:
    """The verdict of a rollout; ``told``: what is stale."""
    d, found = entry.decisions[-1], verdict_of(entry, told)
    return VerdictModel.model_validate(
        {
            "rollout": entry.rollout_id, "verdict": found.verdict, "reason": found.reason, "outcome": entry.outcome,
            "stage": d.stage, "weight": d.weight, "sequence": d.sequence, "at_ms": d.at_ms, "stale": bool(told),
        }
    )  # fmt: skip


def list_model(look: Look) -> RolloutList:
    """All rollouts."""
    rows = [
        SourceModel.model_validate(
            {"name": s.name, "about": s.about, "at_ms": s.at_ms, "state": s.state, "note": s.note}
        )
        for s in sources(look)
    ]
    return RolloutList(
        rollouts=tuple(summary_of(e) for e in known(look.board.entries)),
        sources=tuple(rows),
        complaints=complaints(None, look),
    )


def rollout_model(entry: Entry, review: Review | None, told: tuple[str, ...]) -> RolloutModel:
    """One rollout with all that the page shows."""
    routers = tuple(
        RouterModel(
            router_id=name, sequence=a.ack.sequence, weight=a.ack.weight, state=a.ack.state,
            applied_at_ms=a.ack.applied_at_ms, heard_at_ms=a.at_ms, refused=a.ack.refused,
        )
        for name, a in sorted(entry.routers.items())
    )  # fmt: skip
    plain = None
    if review is not None:
        plain = {k: v for k, v in asdict(review).items() if k not in {"samples", "origin"}}
    return RolloutModel(
        summary=summary_of(entry),
        verdict=verdict_model(entry, told),
        decision=entry.decisions[-1].model_dump(mode="json"),
        plan=None if entry.plan is None else entry.plan.to_plain(),
        routers=routers,
        review=plain,
        complaints=told,
    )


def trend_model(entry: Entry) -> TrendModel:
    """One rollout over time; without a pane as long as no window was read."""
    points = points_of(entry)
    return TrendModel.model_validate(
        {
            "rollout": entry.rollout_id,
            "pane_ms": entry.trend.pane_ms if entry.trend else 0,
            "stages": tuple(asdict(mark) for mark in marks_of(entry)),
            **{name: column(points, name) for name in COLUMNS},
        }
    )
