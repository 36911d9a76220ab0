"""Outcome: what a reviewer, a KPI or the world said later about the answers to one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One score of one request, per arm that was scored.

    ``measure``: name of the measure, e.g. ``human_review_score``; higher is better, values in [0, 1].
    ``baseline`` / ``candidate``: the score of that arm's answer, ``None`` where it was not scored. Both
    present make a paired score, the only kind that a ``minimum_delta`` gate uses.
    ``event_at_ms``: when the score became known (UTC epoch milliseconds); it decides the window.
    ``segments``: the request's dimensions, as on the prediction event.
    """

    request_id: str
    rollout_id: str
    measure: str
    event_at_ms: int
    baseline: float | None = None
    candidate: float | None = None
    segments: Mapping[str, str] = field(default_factory=dict)
