"""Paths: where each page is. Names from records are quoted, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode


def rollout(rollout_id: str, rest: str = "") -> str:
    """The page of a rollout, or ``rest`` below it."""
    below = f"/{rest}" if rest else ""
    return f"/rollouts/{quote(rollout_id, safe='')}{below}"


def segment(rollout_id: str, where: Iterable[tuple[str, str]]) -> str:
    """The page of one segment."""
    return f"{rollout(rollout_id, 'segment')}?{urlencode(list(where))}"


def example(rollout_id: str, request_id: str) -> str:
    """The page of one request pair."""
    return f"{rollout(rollout_id, 'example')}?{urlencode({'request': request_id})}"


def decision(rollout_id: str, sequence: int) -> str:
    """The page that explains one decision."""
    return rollout(rollout_id, f"decisions/{sequence}")


def api(rollout_id: str) -> str:
    """The rollout as JSON."""
    return f"/v1{rollout(rollout_id)}"


def trend_json(rollout_id: str) -> str:
    """The numbers over time as JSON."""
    return f"{api(rollout_id)}/trend"
