"""The contract's rules on values: what a record that decodes must still fulfil.

Law: one rule, one sentence, naming the record, the field and the rule, never the value; writers and readers
are held to the same rules. The columnar decoder applies the prediction rules as array masks and asks this
file for the sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite

from paritygate.schemas.errors import InvalidRecordError
from paritygate.schemas.outcome import Outcome
from paritygate.schemas.platform import PlatformEvent
from paritygate.schemas.prediction import MAX_REQUEST_ID_BYTES, PredictionEvent
from paritygate.schemas.report import Cells, Histograms, WindowReport

#: Last instant that is taken for a time: the end of the year 9999. Arithmetic on it cannot overflow int64.
MAX_AT_MS = 253_402_300_799_999
#: Largest count; what an Avro long holds.
MAX_COUNT = 2**63 - 1
#: Longest value of an event record in bytes (1 MB).
MAX_EVENT_BYTES = 1_000_000
#: Longest value of a window report in bytes: the limit of its topic.
MAX_REPORT_BYTES = 8 << 20


def check_prediction(event: PredictionEvent) -> None:
    """Raise :class:`InvalidRecordError` where a prediction event breaks the contract."""
    _check_request_id("PredictionEvent", event.request_id)
    _check_filled("PredictionEvent.rollout_id", event.rollout_id)
    _check_at("PredictionEvent.event_at_ms", event.event_at_ms)
    if not 0 <= event.latency_ms < inf:
        raise InvalidRecordError("PredictionEvent.latency_ms must be finite and not negative")
    if event.confidence is not None and not isfinite(event.confidence):
        raise InvalidRecordError("PredictionEvent.confidence must be finite, or null where there is none")
    for value in event.measures.values():
        if not isfinite(value):
            raise InvalidRecordError("PredictionEvent.measures must hold finite numbers only")


def check_outcome(outcome: Outcome) -> None:
    """Raise :class:`InvalidRecordError` where an outcome breaks the contract."""
    _check_request_id("Outcome", outcome.request_id)
    _check_filled("Outcome.rollout_id", outcome.rollout_id)
    _check_filled("Outcome.measure", outcome.measure)
    _check_at("Outcome.event_at_ms", outcome.event_at_ms)
    for field, score in (("baseline", outcome.baseline), ("candidate", outcome.candidate)):
        if score is not None and not 0 <= score <= 1:
            raise InvalidRecordError(f"Outcome.{field} must lie in 0..1, or be null where there is no score")


def check_platform(event: PlatformEvent) -> None:
    """Raise :class:`InvalidRecordError` where a platform event breaks the contract."""
    _check_filled("PlatformEvent.rollout_id", event.rollout_id)
    _check_filled("PlatformEvent.instance_id", event.instance_id)
    _check_at("PlatformEvent.event_at_ms", event.event_at_ms)
    _check_counts(
        "PlatformEvent",
        {
            "running_ms": event.running_ms,
            "gpu_ooms": event.gpu_ooms,
            "restarts": event.restarts,
            "memory_bytes": event.memory_bytes,
            "dropped_events": event.dropped_events,
        },
    )


def check_report(report: WindowReport) -> None:
    """Raise :class:`InvalidRecordError` where a window report breaks the contract."""
    _check_filled("WindowReport.rollout_id", report.rollout_id)
    _check_counts(
        "WindowReport",
        {
            "partition": report.partition,
            "generation": report.generation,
            "revision": report.revision,
            "acks_next": report.acks_next,
        },
    )
    if not 0 <= report.partition < report.partitions:
        raise InvalidRecordError("WindowReport.partition must lie below partitions")
    if not 0 <= report.window_start_ms < report.window_end_ms <= MAX_AT_MS:
        raise InvalidRecordError("WindowReport.window_end_ms must lie after window_start_ms, both being times")
    dimensions, names = len(report.dimensions), len(report.count_names)
    cells = report.cells
    if isinstance(cells, Cells):
        follow = cells.counts.shape == (len(cells), names) and all(len(v) == dimensions for v in cells.values)
    else:
        follow = all(len(c.values) == dimensions and len(c.counts) == names for c in cells)
    if not follow:
        raise InvalidRecordError("WindowReport.cells must follow dimensions and count_names in length")
    if not isinstance(report.histograms, Histograms) and any(
        len(h.index) != len(h.counts) for h in report.histograms
    ):
        raise InvalidRecordError("WindowReport.histograms must have one count per bucket number")


def _check_request_id(record: str, request_id: str) -> None:
    if not request_id:
        raise InvalidRecordError(f"{record}.request_id must not be empty")
    # A character has at most 4 bytes, so that most ids need no encoding here.
    if len(request_id) * 4 > MAX_REQUEST_ID_BYTES and len(request_id.encode()) > MAX_REQUEST_ID_BYTES:
        raise InvalidRecordError(f"{record}.request_id must have at most {MAX_REQUEST_ID_BYTES} bytes")


def _check_filled(place: str, text: str) -> None:
    if not text:
        raise InvalidRecordError(f"{place} must not be empty")


def _check_at(place: str, at_ms: int) -> None:
    if not 0 <= at_ms <= MAX_AT_MS:
        raise InvalidRecordError(f"{place} must be a time in epoch milliseconds, not negative, before year 10000")


def _check_counts(record: str, counts: Mapping[str, int]) -> None:
    for field, count in counts.items():
        if not 0 <= count <= MAX_COUNT:
            raise InvalidRecordError(f"{record}.{field} must be a count, not negative and within 64 bits")
