"""OutcomeReporter: late scores of answers (a reviewer's, a KPI, the true label) to the outcomes topic.

Law: the record carries the request id of the prediction events, so it lands in their partition and meets
them there; an answer that was not scored stays None and is never taken for a score of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from paritygate.producers.clock import now_ms
from paritygate.schemas.outcome import Outcome


class PublishesOutcomes(Protocol):
    """What the reporter uses of :class:`~paritygate.producers.publisher.PredictionPublisher`."""

    def publish_outcome(self, outcome: Outcome) -> bool:
        """Take one late score without blocking or raising."""


class OutcomeReporter:
    """Publishes the scores of one measure of one rollout, e.g. ``human_review_score``.

    ``clock``: UTC epoch milliseconds; it stamps when the score became known.
    """

    def __init__(
        self,
        publisher: PublishesOutcomes,
        *,
        rollout_id: str,
        measure: str = "human_review_score",
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._publisher, self._rollout_id, self._measure, self._clock = publisher, rollout_id, measure, clock

    def report(
        self,
        request_id: str,
        *,
        baseline: float | None = None,
        candidate: float | None = None,
        segments: Mapping[str, str] | None = None,
    ) -> bool:
        """Publish the scores (0..1, higher is better) of one request; False when it was dropped.

        Both scores together make a paired score, the only kind that a ``minimum_delta`` gate uses.
        """
        return self._publisher.publish_outcome(
            Outcome(
                request_id=request_id,
                rollout_id=self._rollout_id,
                measure=self._measure,
                event_at_ms=self._clock(),
                baseline=baseline,
                candidate=candidate,
                segments=segments or {},
            )
        )


def brier_score(probability: float, happened: bool) -> float:
    """1 - (probability - outcome)**2: the Brier score (Brier 1950) turned so that higher is better, 0..1."""
    return 1.0 - (probability - float(happened)) ** 2
