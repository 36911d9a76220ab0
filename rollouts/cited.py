"""Cited: the newest examples of each rollout that name a trace, for the span of the decision that comes of them.

Law: they say where to look and decide nothing; a decision is the same without them. Memory: a few ids a rollout.
"""

from __future__ import annotations

from typing import Final

from paritygate.schemas.report import Example, WindowReport

#: Of one rollout; a span holds 128 links by default, and people look at a few.
MAX_CITED: Final = 16


class Cited:
    """The newest of the reports that it was given, each request once."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Example]] = {}

    def take(self, report: WindowReport) -> None:
        """Keep what the report brings; of too many those that were told last."""
        for example in report.examples:
            if example.trace_id:
                found = self._found.setdefault(report.rollout_id, {})
                found.pop(example.request_id, None)  # a window told again is as new as its report
                found[example.request_id] = example
                if len(found) > MAX_CITED:
                    del found[next(iter(found))]

    def of(self, rollout_id: str) -> tuple[Example, ...]:
        """The examples of a rollout, the newest last."""
        return tuple(self._found.get(rollout_id, {}).values())
