"""Exchange: one request and what both arms made of it.

Law: both events of an exchange carry the same request id, ``event_at_ms`` and segments, so that they fall
into the same window and meet in the join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paritygate.producers.answer import AnswerFields, AnswerText, read_answer
from paritygate.producers.call import CallResult
from paritygate.schemas.prediction import Arm, PredictionEvent, Role, Status

UNSERIALISABLE = "unserialisable_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both ends of one request, for ``on_pair``; an arm that was not asked has the status SHED."""

    request_id: str
    event_at_ms: int
    primary: Arm
    segments: Mapping[str, str]
    baseline: CallResult
    candidate: CallResult


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request on its way; the router fills in ``results`` as the arms answer."""

    rollout_id: str
    request_id: str
    primary: Arm
    event_at_ms: int
    endpoint: str
    segments: Mapping[str, str]
    trace_id: str
    instance_id: str
    results: dict[Arm, CallResult] = field(default_factory=dict)

    def pair(self) -> Pair | None:
        """The pair once both arms have ended, else None."""
        if len(self.results) < 2:
            return None
        return Pair(
            request_id=self.request_id,
            event_at_ms=self.event_at_ms,
            primary=self.primary,
            segments=self.segments,
            baseline=self.results[Arm.BASELINE],
            candidate=self.results[Arm.CANDIDATE],
        )

    def event(self, arm: Arm, model_version: str, result: CallResult, fields: AnswerFields) -> PredictionEvent:
        """The prediction event of one arm. An answer that cannot be written as JSON is an error of the arm."""
        status, error_type, text = result.status, result.error_type, _NOTHING
        if status is Status.OK:
            try:
                text = read_answer(result.answer, fields)
            except Exception:  # whatever a strange answer object raises when it is read
                status, error_type = Status.ERROR, UNSERIALISABLE
        return PredictionEvent(
            request_id=self.request_id,
            rollout_id=self.rollout_id,
            arm=arm,
            role=Role.PRIMARY if arm is self.primary else Role.SHADOW,
            event_at_ms=self.event_at_ms,
            latency_ms=result.latency_ms,
            status=status,
            model_version=model_version,
            label=text.label,
            confidence=text.confidence,
            output=text.output,
            endpoint=self.endpoint,
            instance_id=self.instance_id,
            trace_id=self.trace_id,
            error_type=error_type,
            segments=self.segments,
            measures=text.measures,
        )


_NOTHING = AnswerText(label=None, confidence=None, measures={}, output="")
